"""The table and the plots of a comparison, with intervals over seeds and tasks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import write_atomically
from ..metrics import Interval, forgetting, over_seeds
from .measure import Measurement
from .plan import Arm, Plan

TARGET = "target"


@dataclass(frozen=True)
class Comparison:
    """Measurements of a start and of every arm with every seed.

    Attributes:
        plan: what was asked for.
        arms: the arms in order; the first is the one others are compared with.
        start: the common start.
        cells: label -> seed -> measurement.
        spent: label -> seed -> tokens, judge calls, steps and seconds used.
    """

    plan: Plan
    arms: list[Arm]
    start: Measurement
    cells: dict[str, dict[int, Measurement]]
    spent: dict[str, dict[int, dict[str, float]]]

    def rows(self) -> dict[str, dict[str, Interval | float | None]]:
        """Label -> column -> value; intervals resample seeds, and tasks inside them."""
        table: dict[str, dict[str, Interval | float | None]] = {"start": self._row([self.start], None)}
        for arm in self.arms:
            table[arm.label] = self._row(list(self.cells[arm.label].values()), self.spent[arm.label])
        return table

    def _row(self, runs: list[Measurement], spent: Any) -> dict[str, Interval | float | None]:
        row: dict[str, Interval | float | None] = {}
        for k in self.plan.pass_at:
            row[f"pass@{k}"] = _interval([m.pass_at(k) for m in runs])
        row["distinct right"] = _interval([m.distinct() for m in runs])
        row["effective right"] = _interval([m.clusters() for m in runs])
        row["entropy"] = _mean([m.entropy for m in runs])
        row["KL to start"] = _mean([m.kl_to_start for m in runs])
        row["forward KL"] = _mean([m.forward_kl for m in runs])
        row["tokens a response"] = _mean([m.mean_tokens for m in runs])
        if self.start.prior:
            lost = [self._forgetting(m) for m in runs]
            row["Gain"], row["Drop"] = _mean([f[0] for f in lost]), _mean([f[1] for f in lost])
        row["unscored"] = float(sum(t.unscored for m in runs for t in m.tasks))
        if spent is not None:
            row["tokens"] = _mean([s["tokens"] for s in spent.values()])
            row["judge calls"] = _mean([s["judge_calls"] for s in spent.values()])
        return row

    def _forgetting(self, tuned: Measurement) -> tuple[float, float]:
        def accuracies(m: Measurement) -> dict[str, float]:
            return {TARGET: float(np.nanmean(m.pass_at(1))), **m.prior}

        lost = forgetting(accuracies(self.start), accuracies(tuned), TARGET)
        return lost.gain, lost.drop

    def differences(self) -> dict[str, dict[str, Interval]]:
        """Each arm minus the first one, on the same seeds and tasks."""
        first = self.cells[self.arms[0].label]
        table = {}
        for arm in self.arms[1:]:
            pairs = [(first[seed], mine) for seed, mine in self.cells[arm.label].items() if seed in first]
            columns = {}
            for name, values in self._columns().items():
                gaps = [np.asarray(values(b)) - np.asarray(values(a)) for a, b in pairs]
                columns[name] = _interval(gaps)
            table[arm.label] = columns
        return table

    def _columns(self) -> dict[str, Any]:
        ks = sorted({min(self.plan.pass_at), max(self.plan.pass_at)})
        columns: dict[str, Any] = {f"pass@{k}": (lambda m, k=k: m.pass_at(k)) for k in ks}
        return columns | {"distinct right": lambda m: m.distinct()}

    def markdown(self) -> str:
        """The report as Markdown."""
        rows = self.rows()
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        lines = [
            f"Held-out tasks: {len(self.start.tasks)}; samples a task: {self.plan.samples}; "
            f"seeds: {', '.join(map(str, self.plan.seeds))}. Intervals: 95 %, bootstrap over seeds and tasks.",
            "",
            "| | " + " | ".join(columns) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        lines += [
            f"| {label} | " + " | ".join(_shown(row.get(c)) for c in columns) + " |" for label, row in rows.items()
        ]
        gaps = self.differences()
        if gaps:
            names = list(next(iter(gaps.values())))
            lines += ["", f"Difference from {self.arms[0].label} on the same seeds and tasks:", ""]
            lines += ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
            lines += [f"| {label} | " + " | ".join(_shown(row[n]) for n in names) + " |" for label, row in gaps.items()]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write ``report.md``, ``report.json`` and, where matplotlib is installed, the plots."""
        write_atomically(folder / "report.md", self.markdown())
        data = {label: {c: _plain(v) for c, v in row.items()} for label, row in self.rows().items()}
        gaps = {label: {c: _plain(v) for c, v in row.items()} for label, row in self.differences().items()}
        write_atomically(folder / "report.json", json.dumps({"rows": data, "differences": gaps}, indent=1))
        try:
            import matplotlib
        except ImportError:
            return
        matplotlib.use("Agg")
        self._plots(folder)

    def _plots(self, folder: Path) -> None:
        from matplotlib import pyplot

        rows = self.rows()
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
        ks = list(self.plan.pass_at)
        for label, row in rows.items():
            values = [_as_interval(row[f"pass@{k}"]) for k in ks]
            style = {"color": "grey", "linestyle": "--"} if label == "start" else {}
            (line,) = left.plot(ks, [v.value for v in values], marker="o", label=label, **style)
            left.fill_between(ks, [v.low for v in values], [v.high for v in values], alpha=0.12, color=line.get_color())
            quality, variety = values[0], _as_interval(row["distinct right"])
            right.errorbar(
                variety.value,
                quality.value,
                xerr=[[variety.value - variety.low], [variety.high - variety.value]],
                yerr=[[quality.value - quality.low], [quality.high - quality.value]],
                marker="o",
                color=line.get_color(),
                label=label,
            )
        left.set(xscale="log", xticks=ks, xticklabels=[str(k) for k in ks], xlabel="k", ylabel="pass@k")
        right.set(xlabel=f"distinct right solutions of {self.plan.samples} samples", ylabel=f"pass@{ks[0]}")
        left.legend(fontsize=8)
        right.set_title("quality and diversity: up and right is better", fontsize=9)
        figure.tight_layout()
        figure.savefig(folder / "report.png", dpi=130)
        figure.savefig(folder / "report.svg")
        pyplot.close(figure)


def _interval(table: list[Any]) -> Interval:
    array = np.asarray(table, float)
    if not array.size or np.isnan(array).all():
        return Interval(math.nan, math.nan, math.nan)
    return over_seeds(array, draws=1000)


def _as_interval(value: Interval | float | None) -> Interval:
    if isinstance(value, Interval):
        return value
    number = math.nan if value is None else value
    return Interval(number, number, number)


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None and not math.isnan(v)]
    return float(np.mean(known)) if known else None


def _shown(value: Any) -> str:
    if value is None or (isinstance(value, Interval) and math.isnan(value.value)):
        return "–"
    return str(value) if isinstance(value, Interval) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return None if math.isnan(value.value) else {"value": value.value, "low": value.low, "high": value.high}
    return value
