"""One page of pictures for a calibration: confusion, position or order, confidence, length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .calibrate import Calibration, Share
from .calibrate_scores import ScoreCalibration


def plot_calibration(result: Calibration, path: str | Path, title: str = "") -> None:
    """Draw a calibration.

    Args:
        result: what was measured.
        path: picture to write; the ending picks the format (png, svg, pdf).
        title: name of the judge.

    Raises:
        ImportError: without matplotlib.
    """
    figure = _figure(title or "Judge calibration")
    (confusion, position), (margin, length) = figure.subplots(2, 2)
    _matrix(confusion, result.confusion)
    kappa = "-" if result.kappa is None else f"{result.kappa:.2f}"
    confusion.set_title(f"agreement {_percent(result.agreement)}, kappa {kappa}")

    shares = (result.p_first, result.accuracy_first, result.accuracy_second)
    names = ("first slot wins", "right when better\nis first", "right when better\nis second")
    for place, share in enumerate(shares):
        if share.value is not None and share.low is not None and share.high is not None:
            reach = [[share.value - share.low], [share.high - share.value]]
            position.bar(place, share.value, yerr=reach, capsize=4, color="C0" if place else "C1")
    position.axhline(0.5, color="grey", linestyle=":")
    position.set(ylim=(0, 1), xticks=range(3), title="position")
    position.set_xticklabels(names)

    for axes, bins, name, label in (
        (margin, result.by_margin, "score margin", "share right"),
        (length, result.by_length, "log length ratio a : b", "share of a preferred"),
    ):
        if bins:
            axes.plot([x for x, _, _ in bins], [y for _, y, _ in bins], marker="o")
        else:
            axes.text(0.5, 0.5, "no scores", ha="center", transform=axes.transAxes)
        axes.axhline(0.5, color="grey", linestyle=":")
        axes.set(ylim=(0, 1.02), xlabel=name, ylabel=label)
    margin.set_title("does a larger margin mean more?")
    mine = "-" if result.length_correlation is None else f"{result.length_correlation:+.2f}"
    theirs = "-" if result.label_length_correlation is None else f"{result.label_length_correlation:+.2f}"
    length.set_title(f"length: judge {mine}, labels {theirs}")
    figure.savefig(path, dpi=120)


def plot_score_calibration(result: ScoreCalibration, path: str | Path, title: str = "") -> None:
    """Draw a calibration of scores; see `plot_calibration`."""
    figure = _figure(title or "Judge calibration")
    (confusion, order), (reliability, length) = figure.subplots(2, 2)
    if result.levels:
        _matrix(confusion, result.confusion)
        weighted = "-" if result.weighted_kappa is None else f"{result.weighted_kappa:.2f}"
        confusion.set_title(f"agreement {_percent(result.agreement)}, weighted kappa {weighted}")
    else:
        confusion.text(0.5, 0.5, "labels are a measurement", ha="center", transform=confusion.transAxes)
    named = {"order": result.order.value, "spearman": result.spearman, "pearson": result.pearson}
    shown = {name: value for name, value in named.items() if value is not None}
    order.bar(range(len(shown)), list(shown.values()))
    order.set(ylim=(min(0.0, *shown.values()) if shown else 0, 1), xticks=range(len(shown)), title="order")
    order.set_xticklabels(list(shown))
    if result.by_reward:
        reliability.plot([x for x, _, _ in result.by_reward], [y for _, y, _ in result.by_reward], marker="o")
    reliability.plot([0, 1], [0, 1], color="grey", linestyle=":")
    bias = "-" if result.bias is None else f"{result.bias:+.2f}"
    reliability.set(xlabel="reward", ylabel="mean label", title=f"is a reward what it says? (bias {bias})")
    if result.by_length:
        length.plot([x for x, _, _ in result.by_length], [y for _, y, _ in result.by_length], marker="o")
    length.axhline(0.0, color="grey", linestyle=":")
    taste = "-" if result.length_beyond_labels is None else f"{result.length_beyond_labels:+.2f}"
    length.set(xlabel="log length", ylabel="reward - label", title=f"length beyond the labels: {taste}")
    figure.savefig(path, dpi=120)


def _figure(title: str) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'palaestra[train]'") from error
    figure = Figure(figsize=(10, 8), layout="constrained")
    figure.suptitle(title)
    return figure


def _matrix(axes: Any, confusion: Mapping[str, Mapping[str, int]]) -> None:
    """Labels down, verdicts across, with the counts in the cells."""
    names = list(confusion)
    table = [[confusion[label][verdict] for verdict in names] for label in names]
    axes.imshow(table, cmap="Blues")
    for row, line in enumerate(table):
        for column, count in enumerate(line):
            dark = count > max(map(max, table)) / 2
            axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axes.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="judge", ylabel="label")
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)


def _percent(share: Share) -> str:
    return "-" if share.value is None else f"{share.value:.0%}"
