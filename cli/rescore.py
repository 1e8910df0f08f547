"""`palaestra rescore`: a replay log checked, or its groups ranked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("rescore")
    def rescore(
        log: Annotated[
            Path, typer.Argument(help="Replay log: a folder of a judge server's --log, or one file.", exists=True)
        ],
        check: Annotated[
            bool, typer.Option("--check", help="Verify the hash chain and read every verdict again.")
        ] = False,
        estimator: Annotated[str, typer.Option(help="wins, bt, ls_margin, lmm or auto.")] = "auto",
        reward: Annotated[str, typer.Option(help="quantile_z, quantile, theta_z or theta.")] = "quantile_z",
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a group.")] = False,
    ) -> None:
        """Work on judge verdicts that are there already; no judge is asked.

        Examples: `palaestra rescore replay/ --check` -- `palaestra rescore replay/ --estimator bt --json`
        """
        if check:
            _check(log, as_json)
            return
        from ..judges.rescore import rescore as rank_again

        results = rank_again(log, estimator=estimator, reward=reward)
        if as_json:
            for result in results:
                typer.echo(json.dumps(result, default=str))
            return
        from rich.console import Console

        from ..judges.bracket import ranking_table

        for result in results:
            Console().print(ranking_table(str(result["group"]), result["ranking"], result["stats"]))


def _check(log: Path, as_json: bool) -> None:
    from ..judges.replay import check_log

    report = check_log(log)
    if as_json:
        typer.echo(json.dumps({"ok": report.ok, **vars(report)}))
    else:
        for line in [*report.broken_chain, *report.different]:
            typer.echo(line)
        state = (
            "whole and readable"
            if report.ok
            else f"{len(report.broken_chain)} broken, {len(report.different)} different"
        )
        typer.echo(f"{report.records} records: {state}\nhash of the last one: {report.head}")
    if not report.ok:
        raise typer.Exit(1)
