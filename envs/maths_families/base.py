"""What families of problems are made of: the registry, draws, and how values are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import isqrt
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Problem = tuple[str, str]
Family = Callable[[np.random.Generator, int], Problem]

FAMILIES: dict[str, Family] = {}
SUBJECTS: dict[str, tuple[str, ...]] = {}  # a subject is a module of this package
LEVELS = (1, 2, 3, 4, 5)


def family(function: Family) -> Family:
    """Add a family under its function's name, and to the subject that its module is."""
    subject = function.__module__.rpartition(".")[2]
    FAMILIES[function.__name__] = function
    SUBJECTS[subject] = (*SUBJECTS.get(subject, ()), function.__name__)
    return function


def whole(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included."""
    return int(rng.integers(low, high + 1))


def nonzero(rng: np.random.Generator, size: int) -> int:
    """A whole number other than zero, at most ``size`` in absolute value."""
    return whole(rng, 1, size) * (1 if rng.integers(2) else -1)


def distinct(rng: np.random.Generator, count: int, low: int, high: int) -> list[int]:
    """Different whole numbers from ``low`` to ``high``, in no order."""
    return [int(n) for n in rng.choice(np.arange(low, high + 1), count, replace=False)]


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of some things."""
    return items[int(rng.integers(len(items)))]


def latex(value: Fraction | int) -> str:
    r"""A fraction in LaTeX.

    >>> latex(Fraction(-1, 2))
    '-\\frac{1}{2}'
    """
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    return f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def scaled(value: Fraction | int, unit: str) -> str:
    r"""A multiple of a constant or letter, as in ``\frac{3}{4}\pi``; a coefficient of 1 is left out.

    >>> scaled(-1, "x"), scaled(Fraction(3, 4), "\\pi"), scaled(0, "x")
    ('-x', '\\frac{3}{4}\\pi', '0')
    """
    if value == 0:
        return "0"
    return f"{'-' if value == -1 else ''}{unit}" if abs(value) == 1 else latex(value) + unit


def polynomial(coefficients: list[int], name: str = "x") -> str:
    """A polynomial with its highest power first; ``coefficients`` are given in that order."""
    parts: list[str] = []
    for power, c in zip(range(len(coefficients) - 1, -1, -1), coefficients, strict=True):
        if c == 0:
            continue
        size = "" if abs(c) == 1 and power else str(abs(c))
        letter = "" if power == 0 else name if power == 1 else f"{name}^{{{power}}}"
        sign = "-" if c < 0 else "+" if parts else ""
        parts.append(sign + size + letter)
    return "".join(parts) or "0"


def value_at(coefficients: list[int], x: Fraction | int) -> Fraction:
    """The value of a polynomial, highest power first."""
    total = Fraction(0)
    for c in coefficients:
        total = total * x + c
    return total


def surd(square: int, factor: Fraction | int = 1) -> str:
    r"""``factor`` times the square root of a whole number, in lowest form.

    >>> surd(12), surd(18, Fraction(1, 6)), surd(9, 2)
    ('2\\sqrt{3}', '\\frac{1}{2}\\sqrt{2}', '6')
    """
    outside = max(d for d in range(1, isqrt(square) + 1) if square % (d * d) == 0) if square else 0
    inside = square // (outside * outside) if outside else 1
    return latex(factor * outside) if inside == 1 else scaled(Fraction(factor) * outside, f"\\sqrt{{{inside}}}")
