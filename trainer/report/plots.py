"""Plots as inline SVG: readable in print and by colour-blind people (Okabe-Ito colours, and a marker per series)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .page import Raw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Series:
    """One line of a plot: x and y of equal length, with optional lower and upper bounds of y."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def _figure(width: float = 7.2, height: float = 3.4) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(drawn: Figure, label: str) -> Raw:
    from html import escape

    import matplotlib

    buffer = io.StringIO()
    # A fixed salt and no date: the same numbers give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "palaestra", "svg.fonttype": "path"}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    return Raw(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label, quote=True)}" ', 1))


def curves(
    series: Sequence[Series],
    xlabel: str,
    ylabel: str,
    target: float | None = None,
    ylim: tuple[float, float] | None = None,
    small: bool = False,
) -> Raw:
    """Lines over x, with bands where bounds are given and a dotted line at `target`; `small` to stand beside others."""
    drawn = _figure(4.6, 2.7) if small else _figure()
    axes = drawn.add_subplot()
    for index, one in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(
            one.x,
            one.y,
            DASHES[index % len(DASHES)],
            color=colour,
            marker=MARKERS[index % len(MARKERS)],
            markersize=4,
            linewidth=1.6,
            label=one.name,
        )
        if one.low is not None and one.high is not None:
            axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.15, linewidth=0)
    if all(float(x).is_integer() for one in series for x in one.x):
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if target is not None:
        axes.axhline(target, color="#666666", linestyle=":", linewidth=1.2)
        axes.annotate(
            f"target {target:g}", (0.005, target), xycoords=("axes fraction", "data"), fontsize=8, va="bottom"
        )
    _finish(axes, xlabel, ylabel, ylim, legend=len(series) > 1)
    return _svg(drawn, f"{ylabel} against {xlabel}: {', '.join(one.name for one in series)}")


def intervals(
    names: Sequence[str], groups: Sequence[Series], ylabel: str, ylim: tuple[float, float] | None = None
) -> Raw:
    """Points with intervals at named positions: `groups` are series over positions 0..len(names)-1."""
    drawn = _figure()
    axes = drawn.add_subplot()
    for index, one in enumerate(groups):
        shift = (index - (len(groups) - 1) / 2) * 0.16
        low = one.low if one.low is not None else one.y
        high = one.high if one.high is not None else one.y
        errors = [
            [y - lo for y, lo in zip(one.y, low, strict=True)],
            [hi - y for y, hi in zip(one.y, high, strict=True)],
        ]
        axes.errorbar(
            [x + shift for x in one.x],
            one.y,
            yerr=errors,
            fmt=MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            capsize=3,
            label=one.name,
        )
    axes.set_xticks(range(len(names)), names)
    _finish(axes, "", ylabel, ylim, legend=len(groups) > 1)
    return _svg(drawn, f"{ylabel}: {', '.join(one.name for one in groups)}")


def _finish(axes, xlabel: str, ylabel: str, ylim: tuple[float, float] | None, legend: bool) -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if ylim is not None:
        axes.set_ylim(*ylim)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False, fontsize=9)
