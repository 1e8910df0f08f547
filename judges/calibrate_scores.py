"""How far can a judge's scores be trusted? Its rewards on labelled responses, against the labels.

A row is a response with a label, and the judge's reward once it was asked:

    {"id": "r1", "prompt": text, "response": text, "label": true | false | number, "reward": 0.7 | null}

Labels are booleans, or numbers on any scale (higher is better). A reward of null is a failure: counted and left out.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .calibrate import Share, binned, correlation, kappa, read_rows

MAX_LEVELS = 12
"""With more different labels than this they are a measurement, and agreement level by level means nothing."""


@dataclass(frozen=True, slots=True)
class LabelledScore:
    """A response, its label, and the judge's reward (0 to 1, None when the judge failed); ``group`` is its prompt."""

    id: str
    response: str
    label: float
    reward: float | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """What was measured.

    Attributes:
        items: labelled responses; ``scored`` of them have a reward.
        levels: the different labels, lowest first; empty when there are more than `MAX_LEVELS`.
        agreement: share of responses whose reward, rounded to the nearest level, is the label.
        kappa: Cohen's kappa of these levels: agreement beyond chance.
        weighted_kappa: the same with quadratic weights, for which a near miss is no full one.
        order: share of pairs with different labels that the rewards order the same way (half for equal rewards);
            pairs of one prompt where there are any, else of the whole set. For two levels this is the area under the
            ROC curve.
        order_within_prompts: whether ``order`` compares responses to the same prompt.
        spearman: rank correlation of reward and label; ``pearson`` the linear one.
        bias: mean of reward minus label, both on 0 to 1; positive is lenient.
        length_correlation: correlation of reward and log length; ``label_length_correlation`` that of the labels.
        length_beyond_labels: correlation of reward and log length among responses of equal label (partial).
        confusion: label -> level given -> responses.
        by_reward: (mean reward, mean label on 0 to 1, responses) in bins of rising reward.
        by_length: (mean log length, mean of reward minus label, responses) in bins of rising length.
    """

    items: int
    scored: int
    levels: tuple[float, ...]
    agreement: Share
    kappa: float | None
    weighted_kappa: float | None
    order: Share
    order_within_prompts: bool
    spearman: float | None
    pearson: float | None
    bias: float | None
    length_correlation: float | None
    label_length_correlation: float | None
    length_beyond_labels: float | None
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)
    by_reward: tuple[tuple[float, float, int], ...] = ()
    by_length: tuple[tuple[float, float, int], ...] = ()

    def warnings(self) -> list[str]:
        """What a person should look at before training on these scores."""
        found = []
        if self.scored < self.items:
            found.append(f"{self.items - self.scored} of {self.items} responses have no score and were left out")
        if self.scored and self.spearman is None:
            found.append("rewards or labels are all the same; nothing can be told")
        if self.order.low is not None and self.order.low <= 0.5:
            found.append("the order of the rewards is no better than chance")
        if self.kappa is not None and self.kappa < 0.4:
            found.append(f"agreement beyond chance is weak (kappa {self.kappa:.2f})")
        if self.bias is not None and abs(self.bias) > 0.15:
            found.append(
                f"the judge is {'lenient' if self.bias > 0 else 'strict'} by {abs(self.bias):.2f} of the scale"
            )
        if self.length_beyond_labels is not None and self.length_beyond_labels > 0.2:
            found.append(f"longer responses score higher than their labels ({self.length_beyond_labels:+.2f})")
        if 0 < self.scored < 100:
            found.append(f"{self.scored} responses give wide intervals; a few hundred are better")
        return found


def calibrate_scores(rows: Sequence[LabelledScore], scale: tuple[float, float] | None = None) -> ScoreCalibration:
    """Measure a judge's rewards against labels; see :class:`ScoreCalibration`.

    Args:
        rows: labelled responses.
        scale: labels that mean reward 0 and reward 1; the lowest and the highest label when None.

    Raises:
        ValueError: a label outside the scale.
    """
    scored = [row for row in rows if row.reward is not None]
    found = (min(r.label for r in rows), max(r.label for r in rows)) if rows else (0.0, 0.0)
    low, high = scale or found
    if not low <= found[0] <= found[1] <= high:
        raise ValueError(f"labels run from {found[0]:g} to {found[1]:g}, outside the scale {low:g} to {high:g}")
    span = high - low
    reward = np.array([row.reward for row in scored], dtype=float)
    label = np.array([(row.label - low) / span if span else 0.0 for row in scored])
    length = np.log1p([len(row.response) for row in scored])
    different = sorted({row.label for row in rows})
    levels = tuple(different) if 1 < len(different) <= MAX_LEVELS else ()
    confusion = _confusion(scored, levels, low, span)
    hits = sum(confusion[name].get(name, 0) for name in confusion)
    order, within = _order(scored)
    return ScoreCalibration(
        items=len(rows),
        scored=len(scored),
        levels=levels,
        agreement=Share.of(hits, len(scored)) if levels else Share(None),
        kappa=kappa(confusion) if levels else None,
        weighted_kappa=_weighted_kappa(confusion, levels) if levels else None,
        order=order,
        order_within_prompts=within,
        spearman=correlation(_ranks(reward), _ranks(label)),
        pearson=correlation(reward, label),
        bias=float((reward - label).mean()) if len(scored) and span else None,
        length_correlation=correlation(reward, length),
        label_length_correlation=correlation(label, length),
        length_beyond_labels=_partial(reward, length, label),
        confusion=confusion,
        by_reward=binned(reward, label) if span else (),
        by_length=binned(length, reward - label) if span else (),
    )


def read_scores(lines: Iterable[str]) -> list[LabelledScore]:
    """Rows from JSON lines; ``reward`` may be missing when the judge is still to be asked.

    Raises:
        ValueError: naming the line and what is wrong with it.
    """

    def parse(row: dict[str, Any], id: str) -> LabelledScore:
        response = row["response"]
        if not isinstance(response, str):
            raise ValueError(f"response must be a text, got {type(response).__name__}")
        group = json.dumps(row.get("prompt", ""), sort_keys=True)
        return LabelledScore(id, response, _label(row["label"]), _reward(row.get("reward")), group)

    return read_rows(lines, parse, '{"response": text, "label": true or a number}')


def _label(value: Any) -> float:
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        raise ValueError(f"label={value!r} must be true, false or a finite number")
    return float(value)


def _reward(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"reward={value!r} must be a number from 0 to 1, or null for a failure")
    return float(value)


def _confusion(
    rows: Sequence[LabelledScore], levels: Sequence[float], low: float, span: float
) -> dict[str, dict[str, int]]:
    """label -> nearest level of the reward -> responses; a reward half-way goes to the higher level."""
    names = [f"{level:g}" for level in levels]
    table = {name: dict.fromkeys(names, 0) for name in names}
    for row in rows if levels else ():
        wanted = low + span * (row.reward or 0.0)
        nearest = min(levels, key=lambda level: (abs(level - wanted), -level))
        table[f"{row.label:g}"][f"{nearest:g}"] += 1
    return table


def _weighted_kappa(confusion: dict[str, dict[str, int]], levels: Sequence[float]) -> float | None:
    table = np.array([list(line.values()) for line in confusion.values()], dtype=float)
    total = table.sum()
    if total == 0:
        return None
    cost = np.subtract.outer(np.array(levels), np.array(levels)) ** 2
    chance = float((cost * np.outer(table.sum(axis=1), table.sum(axis=0))).sum() / total**2)
    return None if chance == 0 else 1 - float((cost * table).sum() / total) / chance


def _order(rows: Sequence[LabelledScore]) -> tuple[Share, bool]:
    """Pairs with different labels that are ordered right, within prompts if possible.

    The interval takes the responses, not the pairs, as the independent observations.
    """
    groups: dict[str, list[LabelledScore]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    within = [pair for group in groups.values() for pair in _pairs(group)] if len(groups) > 1 else []
    pairs = within or _pairs(rows)
    if not pairs:
        return Share(None), bool(within)
    right = sum(pairs) / len(pairs)
    effective = min(len(pairs), len(rows))
    interval = Share.of(right * effective, effective)
    return Share(right, interval.low, interval.high, len(pairs)), bool(within)


def _pairs(rows: Sequence[LabelledScore]) -> list[float]:
    """1, 1/2 or 0 for every pair with different labels."""
    label = np.array([row.label for row in rows], dtype=float)
    reward = np.array([row.reward or 0.0 for row in rows])
    a, b = np.triu_indices(len(rows), k=1)
    agree = np.sign(label[a] - label[b]) * np.sign(reward[a] - reward[b])
    return list((agree[label[a] != label[b]] + 1) / 2)


def _ranks(values: np.ndarray) -> np.ndarray:
    from .ranking import average_ranks

    return average_ranks(values)


def _partial(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float | None:
    """Correlation of x and y after both were fitted to ``given`` by least squares."""
    if len(x) < 4 or given.std() == 0:
        return correlation(x, y)
    centred = given - given.mean()

    def rest(values: np.ndarray) -> np.ndarray:
        slope = (values * centred).sum() / (centred**2).sum()
        left = values - values.mean() - slope * centred
        return np.where(np.abs(left) < 1e-12, 0.0, left)

    return correlation(rest(x), rest(y))
