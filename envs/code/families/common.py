"""Small helpers of the families: drawing numbers, writing replies, spreading tests over visibilities."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..problem import Visibility

PUBLIC, FEEDBACK = 2, 2  # of the tests of a generated problem, the first are public, the next may be shown


def whole(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included."""
    return int(rng.integers(low, high + 1))


def choice(rng: np.random.Generator, items: Sequence[Any]) -> Any:
    """One of the items."""
    return items[int(rng.integers(len(items)))]


def numbers(rng: np.random.Generator, low: int, high: int, size: int) -> list[int]:
    """A list of whole numbers."""
    return [int(n) for n in rng.integers(low, high + 1, size)]


def letters(rng: np.random.Generator, size: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz") -> str:
    """A random word."""
    return "".join(alphabet[int(k)] for k in rng.integers(len(alphabet), size=size))


def visibility(index: int) -> Visibility:
    """Who may see the test with this index."""
    return "public" if index < PUBLIC else "feedback" if index < PUBLIC + FEEDBACK else "hidden"


def source(text: str) -> str:
    """Source text without the indentation of the place it is written in."""
    return textwrap.dedent(text).strip() + "\n"


def reply(code: str, language: str = "python") -> str:
    """A reply that holds code."""
    return f"```{language}\n{code.rstrip()}\n```"


def spin(code: str) -> str:
    """The same program, far too slow: every function of it counts to ten thousand million first."""
    lines = []
    for line in code.rstrip().split("\n"):
        lines.append(line)
        if line.startswith("def "):
            lines.append("    for _wait in range(10**10):\n        pass")
    return "\n".join(lines)
