"""The report of a comparison of objectives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..view.rollouts import number_of
from .of_run import interval_text
from .page import Page, Raw, details, figure, heading, note, preformatted, table
from .plots import Series, intervals


def comparison_page(folder: Path, report: dict[str, Any]) -> Page:
    """The page of a comparison folder.

    Args:
        folder: with report.md.
        report: its report.json: rows, differences, front and notes.
    """
    rows = {str(label): row for label, row in dict(report["rows"]).items() if isinstance(row, dict)}
    labels = [label for label in rows if label != "start"]
    page = Page(
        f"Compared: {', '.join(labels) or 'nothing yet'}", "objectives from one start, on the same tasks and seeds"
    )
    try:
        page.add(note((folder / "report.md").read_text(encoding="utf-8").split("\n\n")[0]))
    except OSError:
        page.add(note("Intervals: 95 %, bootstrap over seeds and tasks."))
    ks = [column for column in next(iter(rows.values()), {}) if column.startswith("pass@")]
    points = [_points(label, row, ks) for label, row in rows.items()]
    points = [one for one in points if one.x]
    if ks and points:
        caption = "Held-out tasks; bars are 95 % bootstrap intervals over seeds and tasks."
        page.add(figure(intervals(ks, points, "share right", ylim=(0, 1)), caption))
    page.add(_cells(rows, "95 % intervals in brackets; spending is the mean of a run in training."))
    differences = {str(k): v for k, v in (report.get("differences") or {}).items() if isinstance(v, dict)}
    if differences:
        first = labels[0]
        page.add(heading(f"Difference from {first}"))
        page.add(_cells(differences, "On the same seeds and tasks. An interval that holds 0 shows no difference."))
    page.add(*(note(str(one)) for one in report.get("notes") or []))
    page.add(*_runs(folder))
    return page


def _cells(rows: dict[str, dict[str, Any]], caption: str) -> Raw:
    """A table with a column an objective: there are few of them, so that it fits a printed page."""
    measures = list(dict.fromkeys(column for row in rows.values() for column in row))
    body = [[measure, *(_cell(row.get(measure)) for row in rows.values())] for measure in measures]
    return table(["", *rows], body, caption)


def _cell(value: Any) -> str | None:
    if isinstance(value, dict):
        return interval_text(value)
    number = number_of(value)
    return None if number is None else f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _points(label: str, row: dict[str, Any], ks: list[str]) -> Series:
    kept = [(i, row[k]) for i, k in enumerate(ks) if isinstance(row.get(k), dict)]
    return Series(label, [i for i, _ in kept], *([e[side] for _, e in kept] for side in ("value", "low", "high")))


def _runs(folder: Path) -> list[Raw]:
    """Where the runs behind the table lie, for those who want to look at them."""
    found = sorted(path.parent.relative_to(folder) for path in folder.glob("*/*/metrics.jsonl"))
    found += sorted(path.parent.relative_to(folder) for path in folder.glob("*/metrics.jsonl"))
    if not found:
        return []
    listed = "\n".join(str(path) for path in found)
    return [heading("Runs"), details(f"{len(found)} run folders; `palaestra view` shows them", preformatted(listed))]
