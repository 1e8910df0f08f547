"""`palaestra check`: test environments against the whole contract."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        help="Test environments against the whole contract: Gymnasium's rules, seeding, gold and worthless answers, "
        "hostile replies, forks, feedback that must not tell the answer.\n\n"
        "Examples: `palaestra check palaestra/Countdown-v0`, `palaestra check my/Mul-v0 --import my_envs --set hi=9`, "
        "`palaestra check --all`"
    )
    def check(
        envs: Annotated[list[str] | None, typer.Argument(help="Ids of environments.")] = None,
        every: Annotated[bool, typer.Option("--all", help="Check every registered environment.")] = False,
        imports: Annotated[
            list[str] | None,
            typer.Option("--import", help="Module or file to import first."),
        ] = None,
        knobs: Annotated[list[str] | None, typer.Option("--set", help="A knob as name=value; JSON values.")] = None,
        leak_seeds: Annotated[int, typer.Option(help="Tasks for the leak test.")] = 20,
        as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    ) -> None:
        from ..envs.check import check as run
        from ..envs.registry import list_envs
        from ._envs import import_all, parse_knobs, progress

        import_all(imports)
        ids = [entry.id for entry in list_envs()] if every else list(envs or [])
        if not ids:
            raise typer.BadParameter("name an environment, or give --all")
        settings = parse_knobs(knobs)
        reports = []
        for id in ids:
            with progress(f"checking {id}", quiet=as_json) as say:
                reports.append(run(id, leak_seeds=leak_seeds, on_rule=say, **settings))
            if not as_json:
                _print(reports[-1])
        if as_json:
            typer.echo(json.dumps([{**asdict(report), "ok": report.ok} for report in reports], indent=2))
        if not all(report.ok for report in reports):
            raise typer.Exit(1)


def _print(report) -> None:  # type: ignore[no-untyped-def]
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    marks = {True: "[green]ok[/green]  ", False: "[red]FAIL[/red]", None: "[yellow]skip[/yellow]"}
    console.print(f"[bold]{escape(report.env_id)}[/bold]")
    for finding in report.findings:
        detail = f"\n       {escape(finding.detail)}" if finding.detail else ""
        console.print(f"  {marks[finding.ok]} {escape(finding.rule)}{detail}", highlight=False)
