"""Plots of a comparison: pass@k, the quality-diversity front, and how far each arm moved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..metrics import Interval
from .report import Comparison


def plot(comparison: Comparison, folder: Path) -> None:
    """Write ``report.png`` and ``report.svg``; nothing where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = comparison.rows()
    bars = [name for name in ("effective right", "entropy", "KL to start", "Gain", "Drop") if name in rows["start"]]
    figure: Any = pyplot.figure(figsize=(12, 7.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    curves, front = above.subplots(1, 2)
    styles = {label: "grey" if label == "start" else f"C{i - 1}" for i, label in enumerate(rows)}
    _curves(curves, comparison, rows, styles)
    _front(front, comparison, rows, styles)
    for number, (axis, name) in enumerate(zip(below.subplots(1, len(bars)), bars, strict=True)):
        _bars(axis, name, rows, styles, named=number == 0)
    figure.savefig(folder / "report.png", dpi=130)
    figure.savefig(folder / "report.svg")
    pyplot.close(figure)


def _curves(axis: Any, comparison: Comparison, rows: Any, styles: dict[str, str]) -> None:
    ks = list(comparison.plan.pass_at)
    for label, row in rows.items():
        values = [row[f"pass@{k}"] for k in ks]
        line = "--" if label == "start" else "-"
        axis.plot(ks, [v.value for v in values], marker="o", linestyle=line, color=styles[label], label=label)
        axis.fill_between(ks, [v.low for v in values], [v.high for v in values], alpha=0.12, color=styles[label])
    axis.set(xscale="log", xticks=ks, xticklabels=[str(k) for k in ks], xlabel="k", ylabel="pass@k")
    axis.minorticks_off()
    axis.legend(fontsize=8)


def _front(axis: Any, comparison: Comparison, rows: Any, styles: dict[str, str]) -> None:
    """Quality against diversity, with a line through what nothing else beats in both."""
    first = f"pass@{comparison.plan.pass_at[0]}"
    for label, row in rows.items():
        quality, variety = row[first], row["distinct right"]
        axis.errorbar(
            variety.value, quality.value, xerr=_arms(variety), yerr=_arms(quality), marker="o", color=styles[label]
        )
        axis.annotate(label, (variety.value, quality.value), fontsize=7, xytext=(4, 4), textcoords="offset points")
    best = sorted((rows[label]["distinct right"].value, rows[label][first].value) for label in comparison.front())
    axis.plot([x for x, _ in best], [y for _, y in best], color="black", linewidth=0.8, linestyle=":")
    axis.set(xlabel=f"distinct right solutions of {comparison.plan.samples} samples", ylabel=first)
    axis.set_title("quality and diversity: up and right is better", fontsize=9)


def _bars(axis: Any, name: str, rows: Any, styles: dict[str, str], named: bool) -> None:
    shown = {place: row[name] for place, row in enumerate(rows.values()) if not math.isnan(row[name].value)}
    errors = [[_arms(v)[side][0] for v in shown.values()] for side in (0, 1)]
    colors = [list(styles.values())[place] for place in shown]
    axis.barh(list(shown), [v.value for v in shown.values()], xerr=errors, color=colors)
    axis.set_yticks(range(len(rows)), list(rows) if named else [""] * len(rows), fontsize=7)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_title(name, fontsize=9)


def _arms(value: Interval) -> list[list[float]]:
    """Lengths of the error bar below and above."""
    return [[max(value.value - value.low, 0.0)], [max(value.high - value.value, 0.0)]]
