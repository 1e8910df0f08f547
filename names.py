"""The known name that somebody meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a wrong one, or None when none is close.

    One of the same letters comes first: swapped letters are the commonest slip.

    Example:
        >>> nearest("gpro", ["gspo", "grpo", "dpo"])
        'grpo'
    """
    names = sorted(known)
    swapped = [other for other in names if sorted(other) == sorted(name)]
    near = difflib.get_close_matches(name, swapped or names, n=1, cutoff=0.45)
    return near[0] if near else None


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """``did you mean 'x'?``, or `otherwise` when no known name is close."""
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else otherwise
