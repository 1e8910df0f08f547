"""How far can a judge be trusted? Its verdicts on labelled pairs, against the labels.

A row is a pair with a label and what the judge said each time it was asked:

    {"id": "p1", "a": text, "b": text, "label": "a" | "b" | "tie",
     "orders": [{"first": "a", "winner": "a" | "b" | "tie" | null, "score_first": 7, "score_second": 5}]}

Calls that failed are counted and left out; they are neither right nor wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

Side = Literal["a", "b", "tie"]
SIDES: tuple[Side, ...] = ("a", "b", "tie")
MARGIN_BINS = 6

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Look:
    """One time the judge was asked: what was shown first, what it said; ``winner`` is None when the call failed."""

    first: Literal["a", "b"]
    winner: Side | None
    score_a: float | None = None
    score_b: float | None = None


@dataclass(frozen=True, slots=True)
class LabelledComparison:
    """A pair, the label of people (or of an objective test), and the looks of the judge."""

    id: str
    a: str
    b: str
    label: Side
    looks: tuple[Look, ...] = ()

    @property
    def verdict(self) -> Side | None:
        """The winner all scored looks agree on, a tie when they do not, None without a scored look."""
        winners = {look.winner for look in self.looks if look.winner is not None}
        if not winners:
            return None
        return winners.pop() if len(winners) == 1 else "tie"

    @property
    def margin(self) -> float | None:
        """Mean score of a minus mean score of b over scored looks; None without scores."""
        margins = [
            look.score_a - look.score_b
            for look in self.looks
            if look.winner is not None and look.score_a is not None and look.score_b is not None
        ]
        return sum(margins) / len(margins) if margins else None


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % Wilson interval; ``value`` is None when there is nothing to count."""

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0

    @classmethod
    def of(cls, hits: float, count: int) -> Share:
        """``hits`` out of ``count``.

        >>> share = Share.of(8, 10)
        >>> share.value, round(share.low, 3), round(share.high, 3)
        (0.8, 0.49, 0.943)
        """
        if count == 0:
            return cls(None)
        z, p = 1.959964, hits / count
        centre = (p + z * z / (2 * count)) / (1 + z * z / count)
        half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
        return cls(p, max(centre - half, 0.0), min(centre + half, 1.0), count)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured.

    Attributes:
        pairs: labelled pairs; ``scored`` of them got a verdict.
        failed_calls: calls without a verdict, out of ``calls``.
        agreement: share of scored pairs whose verdict is the label, ties included.
        agreement_decisive: the same among pairs where label and verdict both name a winner.
        kappa: Cohen's kappa over a, b and tie: agreement beyond chance.
        consistent: share of pairs asked in both orders in which the same response won both times.
        consistent_and_right: share of those pairs that were right both times.
        p_first: share of decisive calls won by the response shown first; 0.5 is fair when both orders were asked.
        accuracy_first: accuracy of decisive calls when the better response was shown first ...
        accuracy_second: ... and when it was shown second.
        tie_rate: share of ties among verdicts, ``label_tie_rate`` among labels.
        length_correlation: correlation of the judge's preference for a with log(length a / length b).
        label_length_correlation: the same for the labels; the difference is the judge's own taste for length.
        confusion: label -> verdict -> pairs.
        by_margin: (mean margin, share right, pairs) of decisive pairs in bins of rising score margin.
        by_length: (mean log length ratio, share of a preferred, pairs) in bins of rising length ratio.
    """

    pairs: int
    scored: int
    calls: int
    failed_calls: int
    agreement: Share
    agreement_decisive: Share
    kappa: float | None
    consistent: Share
    consistent_and_right: Share
    p_first: Share
    accuracy_first: Share
    accuracy_second: Share
    tie_rate: float | None
    label_tie_rate: float | None
    length_correlation: float | None
    label_length_correlation: float | None
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)
    by_margin: tuple[tuple[float, float, int], ...] = ()
    by_length: tuple[tuple[float, float, int], ...] = ()

    def warnings(self) -> list[str]:
        """What a person should look at before trusting this judge."""
        found = []
        if self.failed_calls:
            found.append(f"{self.failed_calls} of {self.calls} calls failed and were left out")
        if self.p_first.low is not None and not self.p_first.low <= 0.5 <= (self.p_first.high or 0):
            found.append(f"position bias: the first response wins {self.p_first.value:.0%} of decisive calls")
        if self.kappa is not None and self.kappa < 0.4:
            found.append(f"agreement beyond chance is weak (kappa {self.kappa:.2f})")
        mine, theirs = self.length_correlation, self.label_length_correlation
        if mine is not None and theirs is not None and mine - theirs > 0.1:
            found.append(f"longer responses win more often than the labels ask for ({mine:+.2f} against {theirs:+.2f})")
        if 0 < self.scored < 100:
            found.append(f"{self.scored} pairs give wide intervals; a few hundred are better")
        return found


def calibrate(rows: Sequence[LabelledComparison]) -> Calibration:
    """Measure a judge against labels; see :class:`Calibration`."""
    scored = [row for row in rows if row.verdict is not None]
    looks = [(row, look) for row in rows for look in row.looks]
    valid = [(row, look) for row, look in looks if look.winner is not None]
    decisive = [row for row in scored if "tie" not in (row.label, row.verdict)]
    decisive_looks = [(row, look) for row, look in valid if look.winner != "tie"]
    judged = [(row, look) for row, look in decisive_looks if row.label != "tie"]
    both = [row for row in scored if {look.first for look in row.looks if look.winner is not None} == {"a", "b"}]
    steady = [row for row in both if len({look.winner for look in row.looks if look.winner is not None}) == 1]
    confusion = {label: dict.fromkeys(SIDES, 0) for label in SIDES}
    for row in scored:
        confusion[row.label][row.verdict or "tie"] += 1
    preferred = np.array([_preference(row.verdict or "tie") for row in scored])
    lengths = np.array([_length_ratio(row) for row in scored])
    with_margin = [row for row in decisive if row.margin is not None]
    margins = np.array([abs(row.margin or 0.0) for row in with_margin])
    right = np.array([float(row.verdict == row.label) for row in with_margin])

    def accuracy(shown_first: bool) -> Share:
        cases = [(row, look) for row, look in judged if (look.first == row.label) == shown_first]
        return Share.of(sum(look.winner == row.label for row, look in cases), len(cases))

    return Calibration(
        pairs=len(rows),
        scored=len(scored),
        calls=len(looks),
        failed_calls=len(looks) - len(valid),
        agreement=Share.of(sum(row.verdict == row.label for row in scored), len(scored)),
        agreement_decisive=Share.of(sum(row.verdict == row.label for row in decisive), len(decisive)),
        kappa=kappa(confusion),
        consistent=Share.of(len(steady), len(both)),
        consistent_and_right=Share.of(sum(row.verdict == row.label for row in steady), len(both)),
        p_first=Share.of(sum(look.winner == look.first for _, look in decisive_looks), len(decisive_looks)),
        accuracy_first=accuracy(True),
        accuracy_second=accuracy(False),
        tie_rate=_mean([row.verdict == "tie" for row in scored]),
        label_tie_rate=_mean([row.label == "tie" for row in scored]),
        length_correlation=correlation(preferred, lengths),
        label_length_correlation=correlation(np.array([_preference(row.label) for row in scored]), lengths),
        confusion={str(label): {str(v): n for v, n in line.items()} for label, line in confusion.items()},
        by_margin=binned(margins, right),
        by_length=binned(lengths, (preferred + 1) / 2),
    )


def kappa(confusion: Mapping[Any, Mapping[Any, int]]) -> float | None:
    """Cohen's kappa of a square table; None without cases, or when chance alone would agree always.

    >>> round(kappa({"x": {"x": 20, "y": 5}, "y": {"x": 10, "y": 15}}), 3)
    0.4
    """
    table = np.array([[line[name] for name in confusion] for line in confusion.values()], dtype=float)
    total = table.sum()
    if total == 0:
        return None
    chance = float((table.sum(axis=0) * table.sum(axis=1)).sum() / total**2)
    return None if chance >= 1 else (float(np.trace(table) / total) - chance) / (1 - chance)


def read_comparisons(lines: Iterable[str]) -> list[LabelledComparison]:
    """Rows from JSON lines; ``orders`` may be missing when the judge is still to be asked.

    Raises:
        ValueError: naming the line and what is wrong with it.
    """

    def parse(row: dict[str, Any], id: str) -> LabelledComparison:
        if row["label"] not in SIDES:
            raise ValueError(f"label={row['label']!r} must be 'a', 'b' or 'tie'")
        looks = tuple(look_of(order) for order in row.get("orders", ()))
        return LabelledComparison(id=id, a=_text(row, "a"), b=_text(row, "b"), label=row["label"], looks=looks)

    return read_rows(lines, parse, '{"a": text, "b": text, "label": "a"}')


def read_rows(lines: Iterable[str], parse: Callable[[dict[str, Any], str], Row], expected: str) -> list[Row]:
    """Labelled rows from JSON lines, each with an id of its own (the line's number when it has none).

    Args:
        lines: JSON lines; empty ones are passed over.
        parse: makes a row of a decoded line and its id.
        expected: what a line should look like, for the error.

    Raises:
        ValueError: naming the line and what is wrong with it.
    """
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            id = str(row.get("id", number))
            parsed = parse(row, id)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"missing field {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"line {number}: {text}; expected {expected}") from error
        if id in rows:
            raise ValueError(f"line {number}: id {id!r} appears twice")
        rows[id] = parsed
    return list(rows.values())


def look_of(order: dict[str, Any]) -> Look:
    """One entry of ``orders``, as the compare endpoint returns it."""
    first = order["first"]
    if first not in ("a", "b"):
        raise ValueError(f"orders.first={first!r} must be 'a' or 'b'")
    winner = order.get("winner") if order.get("status", "ok") == "ok" else None
    if winner is not None and winner not in SIDES:
        raise ValueError(f"orders.winner={winner!r} must be 'a', 'b', 'tie' or null")
    scores = (_finite(order.get("score_first")), _finite(order.get("score_second")))
    score_a, score_b = scores if first == "a" else scores[::-1]
    return Look(first, winner, score_a, score_b)


def _text(row: dict[str, Any], name: str) -> str:
    if not isinstance(row[name], str):
        raise ValueError(f"{name} must be a text, got {type(row[name]).__name__}")
    return row[name]


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _preference(side: Side) -> float:
    return {"a": 1.0, "b": -1.0, "tie": 0.0}[side]


def _length_ratio(row: LabelledComparison) -> float:
    return math.log((len(row.a) + 1) / (len(row.b) + 1))


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson correlation; None with fewer than three cases or without any spread."""
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def binned(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float, int], ...]:
    """Means of x and y in bins of equal size along x."""
    if not len(x):
        return ()
    parts = np.array_split(np.argsort(x, kind="stable"), min(MARGIN_BINS, len(x)))
    return tuple((float(x[part].mean()), float(y[part].mean()), len(part)) for part in parts)
