"""`palaestra epiplexity`: how much structure a policy of this size finds in an environment's right replies."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        help="Measure how much of an environment's right replies a learner can pick up in one pass (epiplexity, "
        "arXiv 2601.03220): structure and what is left, in bits. Relative to the run file's policy, optimiser and "
        "number of tasks; `--vary` compares settings of the environment at equal ones.\n\n"
        "Examples: `palaestra epiplexity sort`, `palaestra epiplexity sort --vary digits=3,4,5 --tasks 4000`"
    )
    def epiplexity(
        run_file: Annotated[str, typer.Argument(help="TOML run file, or the name of one in palaestra/configs.")],
        tasks: Annotated[int, typer.Option(min=2, help="Tasks, each shown once.")] = 2000,
        vary: Annotated[str, typer.Option(help="Knob of the environment and its values: KNOB=V1,V2.")] = "",
        settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override.")] = None,
        imports: Annotated[list[str] | None, typer.Option("--import", help="Module or file to import first.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        from ..trainer import load_config
        from ..trainer.epiplexity import epiplexity as measure
        from ._envs import import_all
        from ._likeness import _table
        from .train import find_run_file

        import_all(imports)
        knob, equals, values = vary.partition("=")
        if vary and not (equals and knob.strip() and values.strip()):
            raise typer.BadParameter(f"--vary {vary!r}: write it as KNOB=V1,V2, such as digits=3,4")
        changes = {f"{knob}={value}": [f"env.args.{knob}={value}"] for value in values.split(",") if vary} or {"": []}
        found = {}
        for label, change in changes.items():
            config = load_config(find_run_file(run_file), [*(settings or []), *change])
            found[label or config.env.id] = measure(config, tasks)
        if as_json:
            typer.echo(json.dumps({label: report.model_dump() for label, report in found.items()}))
            return
        from rich.console import Console

        columns = ("", "structure", "a reply", "95 %", "left", "first sight", "repeats")
        report = next(iter(found.values()))
        table = _table(f"{report.env}: bits, {tasks} tasks once, {report.parameters:,} parameters", columns)
        for label, row in found.items():
            each = row.structure_each
            numbers = (f"{row.structure:,.0f}", f"{each.value:.2f}", f"{each.low:.2f} to {each.high:.2f}")
            left = (f"{row.residual.value:.2f}", f"{row.first.value:.2f}", f"{row.repeats:.1%}")
            table.add_row(label, *numbers, *left)
        Console().print(table)
        if any(row.repeats > 0.02 for row in found.values()):
            typer.echo("repeats break the estimate: use fewer --tasks, or a larger task space", err=True)
