"""`palaestra train`: run a TOML run file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        help="Train an agent as a run file says. The run folder gets config.toml, metrics.jsonl, rollouts/, evals/, "
        "checkpoints/, tensorboard/ and, at the end, report.html.\n\n"
        "Examples: `palaestra train sort`, `palaestra train run.toml --set train.steps=50`, "
        "`palaestra train run.toml --resume`, `palaestra train run.toml --dry-run`",
    )
    def train(
        run_file: Annotated[str, typer.Argument(help="TOML run file, or the name of one in palaestra/configs.")],
        settings: Annotated[
            list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. train.steps=50.")
        ] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Continue the run in its folder.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and train nothing.")] = False,
        imports: Annotated[list[str] | None, typer.Option("--import", help="Module or file to import first.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line an event.")] = False,
    ) -> None:
        from ..trainer import load_config
        from ._envs import import_all
        from .report import report_of

        import_all(imports)
        config = load_config(find_run_file(run_file), settings or [])
        if dry_run:
            raise typer.Exit(_dry_run(config, as_json))
        from ..trainer import train as run

        with _progress(as_json) as watch:
            result = run(config, resume=resume, callbacks=[watch])
        if as_json:
            after = result.after.summary() if result.after else {}
            row = {"kind": "result", "folder": str(result.folder), "steps": result.steps, "stopped": result.stopped}
            typer.echo(json.dumps({**row, "checkpoint": str(result.checkpoint or ""), **after}))
        else:
            _summary(result)
        report_of(result.folder)
        if result.interrupted:
            raise typer.Exit(128 + result.interrupted)
        if result.stopped:
            typer.echo(f"error: {result.stopped}", err=True)
            raise typer.Exit(1)


def find_run_file(name: str) -> Path:
    """A path as given, or a ready run file of the package by its name.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(name)
    if path.suffix or path.exists():
        return path
    ready = {file.stem: file for file in sorted((Path(__file__).parent.parent / "configs").glob("*.toml"))}
    if name in ready:
        return ready[name]
    from ..trainer import ConfigError

    raise ConfigError(f"no run file {name!r}; give the path of a TOML file, or one of those here: {', '.join(ready)}")


def _dry_run(config: Any, as_json: bool) -> int:
    from ..trainer.config import to_toml
    from ..trainer.feasible import check_run

    problems = check_run(config)
    if as_json:
        typer.echo(json.dumps({"ok": not problems, "problems": problems, "config": config.model_dump(mode="json")}))
    else:
        typer.echo(to_toml(config))
        for problem in problems:
            typer.echo(f"problem: {problem}", err=True)
        if not problems:
            typer.echo("ready to train")
    return 1 if problems else 0


class _progress:
    """A live line with the numbers that matter, or one JSON line an event."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.bar: Any = None
        self.task: Any = None
        self.stage = ""

    def __enter__(self) -> _progress:
        if not self.as_json:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self.bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[numbers]}"),
                console=Console(stderr=True),
            )
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, event: Any) -> None:
        if self.as_json:
            line = {"kind": event.kind, "step": event.step, "total": event.total, "message": event.message}
            typer.echo(json.dumps({**line, **event.metrics}))
            return
        if event.kind in ("start", "end"):
            self.bar.console.print(event.message, highlight=False)
        elif event.kind == "eval":
            self.bar.console.print(f"step {event.step}: {_numbers(event.metrics)}", highlight=False)
        elif event.kind in ("warmup", "step"):
            if self.stage != event.kind:
                self.stage = event.kind
                name = "warm start" if event.kind == "warmup" else "training"
                self.task = self.bar.add_task(name, total=event.total, numbers="")
            shown = {k: v for k, v in event.metrics.items() if k in ("loss", "pass@1", "reward", "entropy", "unscored")}
            self.bar.update(self.task, completed=event.step, numbers=_numbers(shown))


def _numbers(values: dict[str, Any]) -> str:
    return "  ".join(f"{name.removeprefix('eval/')} {value:.3g}" for name, value in values.items())


def _summary(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("held-out", "before", "after", "95 % interval"):
        table.add_column(title)

    def row(name: str, before: Any, after: Any) -> None:
        if after is not None:
            interval = f"{after.low:.3f} to {after.high:.3f}"
            table.add_row(name, "-" if before is None else f"{before.value:.3f}", f"{after.value:.3f}", interval)

    before, after = result.before, result.after
    if after is not None:
        for k in after.pass_at:
            row(f"pass@{k}", before.pass_at.get(k) if before else None, after.pass_at[k])
        for name in ("greedy", "distinct_right"):
            row(name.replace("_", " "), getattr(before, name, None), getattr(after, name))
        Console().print(table)
        if after.unscored:
            typer.echo(f"{after.unscored} of {after.rollouts} rollouts could not be scored and are in no number")
    typer.echo(f"checkpoint: {result.checkpoint}")
