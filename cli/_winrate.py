"""`palaestra eval --judge`: how often a judge prefers the model to each of the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ._likeness import _number, _plain, _table


def write_win_rates(
    folder: Path, url: str, name: str, rubric: str, plays: Any, others: Mapping[str, Any]
) -> dict[str, Any]:
    """Ask the judge server and save ``win_rate.json``.

    Args:
        folder: of the report.
        url: judge server; name: judge on it; rubric: what it goes by; empty for the server's defaults.
        plays: played groups of the model.
        others: reference model -> its played groups on the same tasks.
    """
    from ..judges import JudgeClient
    from ..judges.errors import JudgeError
    from ..trainer.winrate import win_rate_report

    client = JudgeClient(url, judge=name or None)
    try:
        found = {other: win_rate_report(client, plays, played, rubric or None) for other, played in others.items()}
    except JudgeError as error:
        typer.echo(f"error: no win rate: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        client.close()
    table = {other: _plain({**row, "interval": _interval(row)}) for other, row in found.items()}
    (folder / "win_rate.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
    return table


def _interval(row: Mapping[str, Any]) -> Any:
    return None if row["interval"] is None else row["interval"].model_dump()


def show_win_rates(found: Mapping[str, Any]) -> None:
    """Print the rates."""
    if not found:
        return
    from rich.console import Console

    columns = ("against", "win rate", "± error", "95 % over tasks", "n", "unscored", "first slot", "length", "theirs")
    table = _table("preferred by the judge", columns)
    for other, row in found.items():
        over = row["interval"]
        table.add_row(
            other,
            _number(row["win_rate"]),
            _number(row["standard_error"]),
            "–" if over is None else f"{over['low']:.3f} to {over['high']:.3f}",
            f"{row['n']:.0f}",
            f"{row['unscored']:.0f}",
            _number(row["first_slot"]),
            *("–" if row[key] is None else f"{row[key]:.0f}" for key in ("mean_length", "reference_length")),
        )
    Console().print(table)
