"""Which of two models answers better, by a judge server: every pair of responses in both orders (arXiv 2305.14387)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .evaluation import Estimate, estimate
from .metrics.preference import win_rate
from .rollout import Play


def win_rate_report(client: Any, ours: Sequence[Play], theirs: Sequence[Play], rubric: Any = None) -> dict[str, Any]:
    """Have a judge compare the responses of two models to the same tasks, sample by sample.

    Args:
        client: a `palaestra.judges.JudgeClient`.
        ours: played groups of the model in question.
        theirs: played groups of the reference model, the same tasks in the same order.
        rubric: what the judge goes by; the server's default when None.

    Returns:
        ``win_rate`` with ``standard_error`` and ``half95`` over comparisons, ``interval`` (an `Estimate` over tasks),
        ``n`` and ``unscored`` comparisons (a failed rollout or judge is no loss and leaves n), ``ties``, ``first_slot``
        (how often the response shown first won: 0.5 without position bias), and the mean lengths in characters, for
        judges favour long responses.
    """
    pairs, places = [], []
    for task, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        prompt = "\n".join(message.text for message in mine.group.task.messages)
        for sample, (a, b) in enumerate(zip(mine.group.rollouts, other.group.rollouts, strict=False)):
            places.append(task)
            if not a.error and not b.error:
                row = {"id": f"{task}-{sample}", "prompt": prompt, "a": a.response, "b": b.response}
                pairs.append((len(places) - 1, row))
    outcomes: list[float | None] = [None] * len(places)
    first: list[float] = []
    for (place, _), result in zip(pairs, client.compare_sync([row for _, row in pairs], rubric=rubric), strict=True):
        points = []
        for order in result.orders:
            if order.winner is not None:
                points.append({"a": 1.0, "b": 0.0, "tie": 0.5}[order.winner])
                first.append(0.5 if order.winner == "tie" else float(order.winner == order.first))
        outcomes[place] = float(np.mean(points)) if points else None
    table: dict[str, Any] = win_rate(outcomes)
    table["ties"] = sum(o == 0.5 for o in outcomes)
    table["first_slot"] = float(np.mean(first)) if first else None
    for name, side in (("mean_length", "a"), ("reference_length", "b")):
        table[name] = float(np.mean([len(row[side]) for _, row in pairs])) if pairs else None
    table["interval"] = _over_tasks(outcomes, places)
    return table


def _over_tasks(outcomes: Sequence[float | None], places: Sequence[int]) -> Estimate | None:
    """The mean of the tasks' means, resampling tasks: samples of one task are not independent."""
    tasks: dict[int, list[float]] = {}
    for outcome, task in zip(outcomes, places, strict=True):
        if outcome is not None:
            tasks.setdefault(task, []).append(outcome)
    return estimate([float(np.mean(values)) for values in tasks.values()])
