"""`palaestra score`: score a file of responses."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("score")
    def score(
        file: Annotated[
            Path, typer.Argument(help='JSON lines: {"id", "prompt", "response", "reference"}.', exists=True)
        ],
        rubric: Annotated[str, typer.Option(help="Name of a rubric, or a JSON file with one.")] = "answer",
        url: Annotated[
            str | None, typer.Option(help="Judge server; programmatic checks in this process if not given.")
        ] = None,
        judge: Annotated[str | None, typer.Option(help="Judge of that server.")] = None,
        token_env: Annotated[str, typer.Option(help="Environment variable with the bearer token.")] = "PALAESTRA_TOKEN",
        out: Annotated[
            Path | None, typer.Option("--out", "-o", help="Write results to this file (JSON lines).")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON lines.")] = False,
    ) -> None:
        """Score every response of a file. What cannot be judged has a status and no reward.

        Exit code 3 when at least one item was not scored.

        Example: `palaestra score answers.jsonl --rubric answer --out scored.jsonl`
        """
        from ..judges.score_file import read_items, score_items

        results = score_items(read_items(file), read_rubric(rubric), url=url, judge=judge, token_env=token_env)
        lines = [json.dumps(result.model_dump(mode="json"), ensure_ascii=False) for result in results]
        if out is not None:
            out.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        if as_json:
            typer.echo("\n".join(lines))
        else:
            summarise(results)
        if any(result.reward is None for result in results):
            raise typer.Exit(3)


def read_rubric(name: str) -> Any:
    """A rubric's name, or the rubric in a JSON file of that name."""
    if not name.endswith(".json"):
        return name
    from ..judges import Rubric

    return Rubric.model_validate_json(Path(name).read_text(encoding="utf-8"))


def summarise(results: list[Any]) -> None:
    """Counts by status and the mean reward of what was scored."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(results)} items")
    table.add_column("status")
    table.add_column("items", justify="right")
    for status, count in Counter(result.status.value for result in results).most_common():
        table.add_row(status, str(count))
    rewards = [result.reward for result in results if result.reward is not None]
    console = Console()
    console.print(table)
    mean = f"{sum(rewards) / len(rewards):.4f}" if rewards else "-"
    console.print(f"mean reward of the {len(rewards)} scored: {mean}")
