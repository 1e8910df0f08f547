"""Win rate against a fixed reference."""

from __future__ import annotations

import math
from collections.abc import Sequence


def win_rate_error(w: float, n: int) -> float:
    """Standard error sqrt(w (1-w) / n)."""
    return math.sqrt(w * (1 - w) / n) if n else float("nan")


def win_rate(outcomes: Sequence[float | None], lengths: Sequence[int] = ()) -> dict[str, float]:
    """Share of wins, ties counting half (arXiv 2305.14387).

    Args:
        outcomes: 1 win, 0.5 tie, 0 loss, None = the comparison could not be judged (it leaves n and is counted). Where
            both presentation orders were judged, give their mean.
        lengths: response lengths; judges favour long ones, so their mean belongs beside the rate.

    Returns:
        win_rate, standard_error, half95 (half width of a 95 % interval), n, unscored, and mean_length if given.
    """
    scored = [o for o in outcomes if o is not None]
    bad = [o for o in scored if not 0 <= o <= 1]
    if bad:
        raise ValueError(f"win_rate outcomes must be in [0, 1] or None, found {bad[0]}")
    n = len(scored)
    rate = sum(scored) / n if n else float("nan")
    error = win_rate_error(rate, n)
    table = {"win_rate": rate, "standard_error": error, "half95": 1.96 * error, "n": float(n)}
    table["unscored"] = float(len(outcomes) - n)
    if len(lengths):
        table["mean_length"] = sum(lengths) / len(lengths)
    return table
