"""The report of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...schema import Rollout
from ..view.lines import JsonLines
from ..view.rollouts import number_of
from .of_run import WIDTH, interval_text
from .page import Page, Raw, details, figure, heading, note, table, text, transcript
from .plots import Series, intervals

SHOWN = 12  # rollouts
FAMILIES = {"pass_at": "pass@{}", "pass_all": "pass^{}", "majority": "maj@{}", "area": "AUC ({})"}
SINGLE = ("greedy", "reward", "distinct_right")


def evaluation_page(folder: Path, report: dict[str, Any]) -> Page:
    """The page of an evaluation folder.

    Args:
        folder: with rollouts.jsonl.
        report: its report.json.
    """
    found_tasks = report.get("tasks")
    tasks: list[Any] = found_tasks if isinstance(found_tasks, list) else []
    page = Page(
        f"{report.get('policy')} on {report.get('env')}", f"{len(tasks)} tasks, {report.get('samples')} samples each"
    )
    said = f"{report.get('rollouts')} rollouts at temperature {report.get('temperature')}"
    page.add(text(f"{said}; {report.get('unscored')} could not be scored and are in no number."))
    found = _estimates(report)
    shares = [(name, e) for name, e in found if name.startswith(("pass@", "pass^", "maj@"))]
    if shares:
        names = [name for name, _ in shares]
        values = [[e[side] for _, e in shares] for side in ("value", "low", "high")]
        caption = f"{len(tasks)} tasks; bars are 95 % bootstrap intervals over tasks."
        page.add(
            figure(
                intervals(names, [Series("policy", list(range(len(names))), *values)], "share", ylim=(0, 1)), caption
            )
        )
    rows = [[name.replace("_", " "), interval_text(e), e.get("tasks")] for name, e in found]
    page.add(table(["metric", "value", "tasks"], rows, f"95 % bootstrap intervals over tasks in brackets. {WIDTH}"))
    page.add(*_tasks(tasks), *_rollouts(folder))
    return page


def _estimates(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    named = [
        (form.format(key), value)
        for family, form in FAMILIES.items()
        if isinstance(report.get(family), dict)
        for key, value in report[family].items()
    ]
    named += [(name, report.get(name)) for name in SINGLE]
    sides = ("value", "low", "high")
    return [
        (n, e) for n, e in named if isinstance(e, dict) and all(number_of(e.get(side)) is not None for side in sides)
    ]


def _tasks(tasks: list[Any]) -> list[Raw]:
    rows = [
        [t.get("task_id"), t.get("right"), t.get("scored"), t.get("unscored")] for t in tasks if isinstance(t, dict)
    ]
    if not rows:
        return []
    never = sum(1 for row in rows if row[2] and not row[1])
    always = sum(1 for row in rows if row[2] and row[1] == row[2])
    said = f"{always} tasks were always solved, {never} never, {len(rows) - always - never} sometimes or not scored."
    return [
        heading("Tasks"),
        text(said),
        details("each task", table(["task", "right", "scored", "unscored"], rows[:500])),
    ]


def _rollouts(folder: Path) -> list[Raw]:
    shown: list[Raw] = []
    for _, _, line in JsonLines(folder / "rollouts.jsonl").new():
        try:
            shown.append(
                transcript(Rollout.model_validate({k: v for k, v in line.items() if k in Rollout.model_fields}))
            )
        except ValueError:
            continue
        if len(shown) == SHOWN:
            break
    if not shown:
        return []
    return [heading("Rollouts"), note(f"The first {len(shown)}, not chosen; the rest is in rollouts.jsonl."), *shown]
