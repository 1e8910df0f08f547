"""`palaestra judges`: judge servers from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from . import _serve_judges, fit_partition, score


def register(app: typer.Typer) -> None:
    """Add the verb: serve, score and fit-partition under one roof, and what needs a running server."""
    judges = typer.Typer(name="judges", help="Serve judges, score files, show rankings.", no_args_is_help=True)
    _serve_judges.register_as(judges, "serve")
    score.register(judges)
    fit_partition.register(judges)
    judges.command("bracket")(bracket)
    judges.command("list")(list_judges)
    judges.command("canary")(canary)
    app.add_typer(judges)


def bracket(
    file: Annotated[
        Path, typer.Argument(help='A group as JSON: {"id", "prompt", "responses": [{"id", "response"}]}.', exists=True)
    ],
    url: Annotated[str, typer.Option(help="Judge server.")] = "http://127.0.0.1:8400",
    method: Annotated[str, typer.Option(help="auto, balanced, adaptive, single_elimination, swiss, ...")] = "auto",
    estimator: Annotated[str, typer.Option(help="auto, wins, bt, ls_margin, lmm.")] = "auto",
    rubric: Annotated[str | None, typer.Option(help="Name of a rubric, or a JSON file with one.")] = None,
    judge: Annotated[str | None, typer.Option(help="Judge of that server.")] = None,
    token_env: Annotated[str, typer.Option(help="Environment variable with the bearer token.")] = "PALAESTRA_TOKEN",
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's reply.")] = False,
) -> None:
    """Rank one group and show every match.

    Example: `palaestra judges bracket group.json --method single_elimination`
    """
    from rich.console import Console

    from ..judges.bracket import match_tree, ranking_table
    from ..judges.client import JudgeClient

    group = json.loads(file.read_text(encoding="utf-8"))
    client = JudgeClient(url, judge=judge, token=os.environ.get(token_env))
    chosen = score.read_rubric(rubric) if rubric else None
    reply = client.ranking_sync(group, method=method, estimator=estimator, rubric=chosen)
    if as_json:
        typer.echo(reply.model_dump_json())
        return
    console = Console()
    for ranking in reply.groups or []:
        rows = [row.model_dump(mode="json") for row in ranking.ranking]
        console.print(match_tree(ranking.id, [m.model_dump(mode="json") for m in ranking.matches]))
        console.print(ranking_table(ranking.id, rows, ranking.stats))


def canary(
    url: Annotated[str, typer.Option(help="Judge server.")] = "http://127.0.0.1:8400",
    judge: Annotated[str | None, typer.Option(help="Judge of that server.")] = None,
    rubric: Annotated[str | None, typer.Option(help="Name of a rubric, or a JSON file with one.")] = None,
    token_env: Annotated[str, typer.Option(help="Environment variable with the bearer token.")] = "PALAESTRA_TOKEN",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON lines.")] = False,
) -> None:
    """Try to talk a judge into a better score, in every way the probes know. Exit code 1 when one succeeds.

    Example: `palaestra judges canary --url http://127.0.0.1:8400 --judge grader`
    """
    from dataclasses import asdict

    from ..judges.canary import probe_server
    from ..judges.client import JudgeClient

    client = JudgeClient(url, judge=judge, token=os.environ.get(token_env))
    found = probe_server(client, score.read_rubric(rubric) if rubric else "quality")
    for result in found:
        if as_json:
            typer.echo(json.dumps(asdict(result)))
            continue
        word = {None: f"no score ({result.status})", True: "held", False: "FELL FOR IT"}[result.passed]
        scores = " -> ".join("-" if value is None else f"{value:.2f}" for value in (result.plain, result.attacked))
        typer.echo(f"{result.name:<16}{scores:<16}{word}")
    if any(result.passed is False for result in found):
        raise typer.Exit(1)
    if all(result.passed is None for result in found):
        raise typer.Exit(2)


def list_judges(
    url: Annotated[str, typer.Option(help="Judge server.")] = "http://127.0.0.1:8400",
    token_env: Annotated[str, typer.Option(help="Environment variable with the bearer token.")] = "PALAESTRA_TOKEN",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judges a server offers and what they can do.

    Example: `palaestra judges list --url http://127.0.0.1:8400`
    """
    from ..judges.client import JudgeClient

    found = JudgeClient(url, token=os.environ.get(token_env)).judges_sync()
    for judge in found:
        line = f"{judge.name}  {judge.kind}  {judge.model or ''}  {', '.join(judge.capabilities)}"
        typer.echo(judge.model_dump_json() if as_json else line)
