"""The table of a comparison, with intervals over seeds and tasks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import write_atomically
from ..metrics import Interval, discovery_at_k, over_seeds
from .measure import Measurement
from .plan import Arm, Plan

Value = Interval | float | None


@dataclass(frozen=True)
class Comparison:
    """Measurements of a start and of every arm with every seed; cells that are not there yet are missing.

    Attributes:
        plan: what was asked for.
        arms: the arms in order; the first is the one others are compared with.
        start: the common start.
        cells: label -> seed -> measurement.
        spent: label -> seed -> what the run used: ``tokens``, ``judge_calls``, ``steps``, ``seconds``, ``rollouts``,
            and for objectives that stop at a success ``solved_at``, the generation that brought it (nan = none did).
        failures: label -> seed -> why that run ended before its time.
    """

    plan: Plan
    arms: list[Arm]
    start: Measurement
    cells: dict[str, dict[int, Measurement]]
    spent: dict[str, dict[int, dict[str, float]]]
    failures: dict[str, dict[int, str]] = field(default_factory=dict)

    def rows(self) -> dict[str, dict[str, Value]]:
        """Label -> column -> value; intervals resample seeds, and tasks inside them."""
        table: dict[str, dict[str, Value]] = {"start": self._row([self.start])}
        for arm in self.arms:
            if self.cells.get(arm.label):
                row = self._row(list(self.cells[arm.label].values()))
                table[arm.label] = row | self._spending(list(self.spent[arm.label].values()))
        return table

    def _row(self, runs: list[Measurement]) -> dict[str, Value]:
        row: dict[str, Value] = {name: _interval(map(of, runs)) for name, of in self._columns().items()}
        row["tokens a response"] = float(np.mean([m.mean_tokens for m in runs]))
        row["unscored"] = float(sum(t.unscored for m in runs for t in m.tasks))
        return row

    def _columns(self) -> dict[str, Callable[[Measurement], Any]]:
        columns: dict[str, Any] = {f"pass@{k}": (lambda m, k=k: m.pass_at(k)) for k in self.plan.pass_at}
        columns |= {
            "distinct right": Measurement.distinct,
            "effective right": Measurement.clusters,
            "entropy": Measurement.entropy,
            "KL to start": lambda m: _numbers(m.kl),
            "forward KL": lambda m: _numbers(m.forward_kl),
            "top-1 flips": lambda m: _numbers(m.flips),
        }
        if self.start.prior:
            columns["Gain"] = lambda m: np.subtract(m.pass_at(1), self.start.pass_at(1))
            columns["Drop"] = self._drop
        return columns

    def _drop(self, tuned: Measurement) -> np.ndarray:
        """Accuracy of the start minus accuracy now on each task of the prior environments; positive = forgetting."""
        before, now = self.start.accuracies(), tuned.accuracies()
        return np.concatenate([np.subtract(before[env], now[env]) for env in before])

    def _spending(self, spent: list[dict[str, float]]) -> dict[str, Value]:
        row: dict[str, Value] = {
            key.replace("_", " "): _mean(s[key] for s in spent) for key in ("tokens", "judge_calls")
        }
        firsts = [s["solved_at"] for s in spent if "solved_at" in s]
        if firsts:
            found = [None if math.isnan(f) else int(f) for f in firsts]
            limit = int(max(s["rollouts"] for s in spent))
            row[f"discovery@{limit}"] = discovery_at_k(found, limit)
            row["first success at"] = _mean(firsts)
        return row

    def differences(self) -> dict[str, dict[str, Interval]]:
        """Each arm minus the first one, on the same seeds and tasks."""
        first = self.cells.get(self.arms[0].label, {})
        ks = sorted({min(self.plan.pass_at), max(self.plan.pass_at)})
        names = [*(f"pass@{k}" for k in ks), "distinct right", "entropy", *(["Drop"] if self.start.prior else [])]
        table = {}
        for arm in self.arms[1:]:
            pairs = [(first[seed], mine) for seed, mine in self.cells.get(arm.label, {}).items() if seed in first]
            if pairs:
                columns = {name: self._columns()[name] for name in names}
                table[arm.label] = {
                    n: _interval(np.subtract(of(b), of(a)) for a, b in pairs) for n, of in columns.items()
                }
        return table

    def front(self) -> list[str]:
        """Labels that no other one beats in both pass@1 and distinct right solutions: the quality-diversity front."""
        points = {}
        for label, row in self.rows().items():
            quality, variety = row[f"pass@{self.plan.pass_at[0]}"], row["distinct right"]
            if isinstance(quality, Interval) and isinstance(variety, Interval):
                points[label] = (quality.value, variety.value)
        return [
            label
            for label, (q, d) in points.items()
            if not any(other[0] >= q and other[1] >= d and other != (q, d) for other in points.values())
        ]

    def notes(self) -> list[str]:
        """What a reader must know to read the table right."""
        seeds = {arm.label: len(self.cells.get(arm.label, {})) for arm in self.arms}
        lines = [
            f"On the front of pass@{self.plan.pass_at[0]} and distinct right solutions: {', '.join(self.front())}."
        ]
        if any(count < len(self.plan.seeds) for count in seeds.values()):
            lines.append("Unfinished. Seeds so far: " + ", ".join(f"{label} {n}" for label, n in seeds.items()) + ".")
        for label, runs in self.failures.items():
            lines += [f"{label}, seed {seed} failed: {reason}" for seed, reason in runs.items()]
        if self.start.prior:
            never = [env for env, values in self.start.accuracies().items() if np.nansum(values) == 0]
            lines.append(
                "Drop is comparable at equal Gain only; it is the mean over tasks of: "
                + ", ".join(self.start.prior)
                + "."
            )
            if never:
                lines.append(f"The start solves nothing of {', '.join(never)}, so nothing can drop there.")
        return lines

    def markdown(self) -> str:
        """The report as Markdown."""
        rows = self.rows()
        lines = [
            f"Held-out tasks: {len(self.start.tasks)}; samples a task: {self.plan.samples}; "
            f"seeds: {', '.join(map(str, self.plan.seeds))}. Intervals: 95 %, bootstrap over seeds and tasks. "
            "Entropy in nats a token, KL in nats a response; tokens and judge calls of training, a run.",
            "",
            *_table(rows),
        ]
        gaps = self.differences()
        if gaps:
            lines += ["", f"Difference from {self.arms[0].label} on the same seeds and tasks:", "", *_table(gaps)]
        return "\n".join([*lines, "", *self.notes()]) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``report.md`` and ``report.json``."""
        write_atomically(folder / "report.md", self.markdown())
        data = {
            "rows": {label: {c: _plain(v) for c, v in row.items()} for label, row in self.rows().items()},
            "differences": {label: {c: _plain(v) for c, v in row.items()} for label, row in self.differences().items()},
            "front": self.front(),
            "notes": self.notes(),
        }
        write_atomically(folder / "report.json", json.dumps(data, indent=1))


def _table(arms: Any) -> list[str]:
    """Measures down, arms across: there are more measures than arms, and labels are short."""
    measures = list(dict.fromkeys(measure for arm in arms.values() for measure in arm))
    lines = ["| | " + " | ".join(arms) + " |", "|---" * (len(arms) + 1) + "|"]
    return lines + [f"| {m} | " + " | ".join(_shown(arm.get(m)) for arm in arms.values()) + " |" for m in measures]


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _interval(table: Iterable[Any]) -> Interval:
    array = np.asarray(list(table), float)
    if not array.size or np.isnan(array).all():
        return Interval(math.nan, math.nan, math.nan)
    return over_seeds(array, draws=1000)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None and not math.isnan(v)]
    return float(np.mean(known)) if known else None


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, Interval) and math.isnan(value.value)):
        return "–"
    if isinstance(value, Interval):
        return str(value)
    return f"{value:,.0f}" if value >= 1000 or float(value).is_integer() else f"{value:.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return None if math.isnan(value.value) else {"value": value.value, "low": value.low, "high": value.high}
    return value
