"""`palaestra compare`: several objectives from one start, with one table and plots at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        help="Train several objectives from one start, with the same tasks, budget and seeds, and compare pass@k, "
        "distinct solutions, entropy, KL to the start and forgetting. Stopped comparisons continue.\n\n"
        "Examples: `palaestra compare run.toml --objectives grpo,uniqueness --seeds 0,1,2`, "
        "`palaestra compare run.toml --objectives grpo,ds_grpo:gamma_p=0.01 --token-budget 2000000`, "
        "`palaestra compare run.toml --objectives grpo,dph --prior palaestra/Sort-v0`"
    )
    def compare(
        run_file: Annotated[str, typer.Argument(help="TOML run file, or the name of one in palaestra/configs.")],
        objectives: Annotated[str, typer.Option(help="Comma-separated; parameters as name:key=value.")],
        seeds: Annotated[str, typer.Option(help="Comma-separated training seeds.")] = "0,1,2",
        out: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("runs/compare"),
        settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override.")] = None,
        token_budget: Annotated[int, typer.Option(min=0, help="Sampled tokens a run; 0 = train.steps decides.")] = 0,
        judge_budget: Annotated[int, typer.Option(min=0, help="Judge calls a run; 0 = no limit.")] = 0,
        prior: Annotated[
            list[str] | None,
            typer.Option(help="Environment (id:knob=value) on which forgetting is measured; repeatable."),
        ] = None,
        tasks: Annotated[int, typer.Option(min=1, help="Held-out tasks.")] = 128,
        samples: Annotated[int, typer.Option(min=1, help="Samples a held-out task.")] = 16,
        imports: Annotated[list[str] | None, typer.Option("--import", help="Module or file to import first.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    ) -> None:
        from ..trainer import load_config
        from ..trainer.compare import Plan
        from ..trainer.compare import compare as run
        from ._envs import import_all
        from .report import report_of
        from .train import find_run_file

        import_all(imports)
        config = load_config(find_run_file(run_file), settings or [])
        plan = Plan(
            objectives=tuple(name for name in objectives.split(",") if name.strip()),
            seeds=_numbers(seeds),
            token_budget=token_budget,
            judge_budget=judge_budget,
            prior=tuple(prior or ()),
            samples=samples,
            tasks=tasks,
            pass_at=tuple(k for k in (1, 2, 4, 8, 16, 32, 64) if k <= samples),
        )
        comparison = run(config, plan, out, progress=lambda line: typer.echo(line, err=True))
        if as_json:
            typer.echo((out / "report.json").read_text(encoding="utf-8"))
        else:
            typer.echo(comparison.markdown())
            typer.echo(f"tables and plots: {out}", err=True)
        report_of(out)
        if comparison.failures:
            raise typer.Exit(1)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(f"--seeds {text!r}: write whole numbers with commas, such as 0,1,2") from None
