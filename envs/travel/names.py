"""Names from syllables, so that no real place and no fact learnt elsewhere appears."""

from __future__ import annotations

import numpy as np

_ONSETS = (
    "b",
    "br",
    "d",
    "dr",
    "f",
    "g",
    "gl",
    "h",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "sk",
    "t",
    "tr",
    "v",
    "z",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "io", "ou")
_CODAS = ("", "l", "m", "n", "r", "s", "th", "x")


def words(rng: np.random.Generator, count: int) -> list[str]:
    """``count`` distinct capitalised words of two or three syllables."""
    sizes = (len(_ONSETS), len(_VOWELS), len(_CODAS))
    found: dict[str, None] = {}
    while len(found) < count:
        for row in rng.integers(0, (*sizes, *sizes, 2), (2 * count, 7)).tolist():
            first = _ONSETS[row[0]] + _VOWELS[row[1]] + (_CODAS[row[2]] if row[6] else "")
            found.setdefault((first + _ONSETS[row[3]] + _VOWELS[row[4]] + _CODAS[row[5]]).capitalize())
    return list(found)[:count]
