"""One page of pictures for a calibration: confusion, position, confidence, length."""

from __future__ import annotations

from pathlib import Path

from .calibrate import SIDES, Calibration, Share


def plot_calibration(result: Calibration, path: str | Path, title: str = "") -> None:
    """Draw a calibration.

    Args:
        result: what was measured.
        path: picture to write; the ending picks the format (png, svg, pdf).
        title: name of the judge.

    Raises:
        ImportError: without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'palaestra[train]'") from error

    figure = Figure(figsize=(10, 8), layout="constrained")
    (confusion, position), (margin, length) = figure.subplots(2, 2)
    figure.suptitle(title or "Judge calibration")

    table = [[result.confusion[label][verdict] for verdict in SIDES] for label in SIDES]
    confusion.imshow(table, cmap="Blues")
    for row, line in enumerate(table):
        for column, count in enumerate(line):
            dark = count > max(map(max, table)) / 2
            confusion.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    confusion.set(xticks=range(3), yticks=range(3), xlabel="judge", ylabel="label")
    confusion.set_xticklabels(SIDES)
    confusion.set_yticklabels(SIDES)
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


def _percent(share: Share) -> str:
    return "-" if share.value is None else f"{share.value:.0%}"
