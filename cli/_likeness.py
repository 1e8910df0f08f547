"""`palaestra eval`: how alike responses are, within a model and between models, and whether a text tells its author."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..schema import Rollout

Rollouts = Mapping[str, Sequence[Rollout]]


def write_likeness(folder: Path, rollouts: Rollouts) -> dict[str, Any]:
    """Compute and save what the samples allow.

    Homogeneity needs two responses to a task, model identity two models and two tasks. Rollouts that ended in an error
    have no response and are left out.

    Args:
        folder: gets ``homogeneity.json`` and ``identity.json``.
        rollouts: model -> its rollouts on the same tasks.

    Returns:
        ``homogeneity`` and ``identity``, as far as they could be computed.
    """
    from ..trainer.metrics.reports import homogeneity_report, identity_of

    said = {name: [r for r in items if not r.error] for name, items in rollouts.items()}
    found: dict[str, Any] = {}
    for title, report in (("homogeneity", homogeneity_report), ("identity", identity_of)):
        if title == "identity" and len(said) < 2:
            continue
        try:
            found[title] = _plain(report(said))
        except ValueError:  # one response a task, or one task: there is nothing to compare
            continue
        (folder / f"{title}.json").write_text(json.dumps(found[title], indent=1), encoding="utf-8")
    return found


def _plain(value: Any) -> Any:
    """The same with None for what is undefined, which JSON has no number for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show_likeness(found: dict[str, Any]) -> None:
    """Print the reports."""
    from rich.console import Console

    console = Console()
    if "homogeneity" in found:
        report = found["homogeneity"]
        table = _table("responses to one task", ("model", "similarity", "floor", f"tasks > {report['threshold']}",
                       f"pairs > {report['threshold']}", "Vendi", "clusters", "distinct-2"))  # fmt: skip
        between = _table("between models", ("models", "similarity"))
        for name, row in report["policies"].items():
            if "vendi" in row:
                keys = ("mean", "floor", "pools_above", "pairs_above", "vendi", "clusters", "distinct_2")
                table.add_row(name, *(_number(row.get(key)) for key in keys))
            else:
                between.add_row(name.replace("|", " and "), _number(row["mean"]))
        console.print(table)
        if between.row_count:
            console.print(between)
    if "identity" in found:
        table = _table("who wrote it", ("text", "accuracy", "± error", "chance", "shuffled labels", "texts"))
        for change, row in found["identity"].items():
            shown = (_number(row[key]) for key in ("accuracy", "standard_error", "chance", "shuffled"))
            table.add_row(change, *shown, f"{row['n']:.0f}")
        console.print(table)


def _table(title: str, columns: Sequence[str]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"
