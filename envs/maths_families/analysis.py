"""Calculus: derivatives, integrals, limits, extrema."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from .base import Problem, distinct, family, latex, nonzero, polynomial, value_at, whole


def derived(coefficients: list[int]) -> list[int]:
    """The derivative of a polynomial, highest power first."""
    degree = len(coefficients) - 1
    return [c * (degree - n) for n, c in enumerate(coefficients[:-1])] or [0]


@family
def derivative(rng: np.random.Generator, level: int) -> Problem:
    """The derivative of a polynomial at a point."""
    coefficients = [nonzero(rng, 3 + level) for _ in range(2 + level)]
    at = nonzero(rng, 1 + level)
    return f"Let $f(x) = {polynomial(coefficients)}$. Compute $f'({at})$.", latex(value_at(derived(coefficients), at))


@family
def differentiate(rng: np.random.Generator, level: int) -> Problem:
    """The derivative of a polynomial, or of a product of two from level 4 on, as a polynomial."""
    first = [nonzero(rng, 4 + level) for _ in range(3 + level // 2)]
    if level < 4:
        return f"Differentiate $f(x) = {polynomial(first)}$.", polynomial(derived(first))
    a, b = nonzero(rng, 4), nonzero(rng, 6)
    multiplied = [a * c for c in first] + [0]
    multiplied = [s + t for s, t in zip(multiplied, [0, *(b * c for c in first)], strict=True)]
    text = f"({polynomial([a, b])})({polynomial(first)})"
    return f"Differentiate $f(x) = {text}$ and multiply out.", polynomial(derived(multiplied))


@family
def definite_integral(rng: np.random.Generator, level: int) -> Problem:
    """The integral of a polynomial between whole numbers."""
    coefficients = [nonzero(rng, 3 + 2 * level) for _ in range(2 + level // 2)]
    low = whole(rng, -2 - level, 1)
    high = low + whole(rng, 1, 3 + level // 2)
    degree = len(coefficients)
    primitive = [Fraction(c, degree - n) for n, c in enumerate(coefficients)]
    value = sum((c * (Fraction(high) ** (degree - n) - Fraction(low) ** (degree - n)) for n, c in enumerate(primitive)))
    text = f"\\int_{{{low}}}^{{{high}}} \\left({polynomial(coefficients)}\\right) dx"
    return f"Compute ${text}$.", latex(value)


@family
def limit(rng: np.random.Generator, level: int) -> Problem:
    """A limit of a rational function, at a common root or at infinity."""
    if rng.integers(2):
        r, s, t = distinct(rng, 3, -4 - level, 4 + level)
        a = whole(rng, 1, level)
        above, below = polynomial([a, -a * (r + s), a * r * s]), polynomial([1, -(r + t), r * t])
        where, value = str(r), Fraction(a * (r - s), r - t)
    else:
        top = [nonzero(rng, 4 + 2 * level) for _ in range(2 + (level + 1) // 2)]
        bottom = [nonzero(rng, 4 + 2 * level) for _ in top]
        above, below = polynomial(top), polynomial(bottom)
        where, value = "\\infty", Fraction(top[0], bottom[0])
    return f"Compute $\\lim_{{x \\to {where}}} \\frac{{{above}}}{{{below}}}$.", latex(value)


@family
def tangent_line(rng: np.random.Generator, level: int) -> Problem:
    """The tangent of a polynomial, as an equation."""
    coefficients = [nonzero(rng, 2 + level) for _ in range(3 + level // 3)]
    at = nonzero(rng, 1 + level // 2)
    slope = int(value_at(derived(coefficients), at))
    line = polynomial([slope, int(value_at(coefficients, at)) - slope * at])
    text = f"tangent line to $y = {polynomial(coefficients)}$ at $x = {at}$"
    return f"Find the equation of the {text} in the form $y = mx + b$.", f"y = {line}"


@family
def extremum(rng: np.random.Generator, level: int) -> Problem:
    """The largest or smallest value of a quadratic, on an interval from level 3 on."""
    a, b, c = nonzero(rng, 1 + level), nonzero(rng, 6 + level), whole(rng, -9 - level, 9 + level)
    text = polynomial([a, b, c])
    if level < 3:
        kind = "minimum" if a > 0 else "maximum"
        return f"Find the {kind} value of ${text}$ for real $x$.", latex(c - Fraction(b * b, 4 * a))
    low = whole(rng, -5, 3)
    high = low + whole(rng, 1, 6)
    peak = Fraction(-b, 2 * a)
    values = [value_at([a, b, c], x) for x in (low, high, *((peak,) if low < peak < high else ()))]
    kind, value = ("maximum", max(values)) if rng.integers(2) else ("minimum", min(values))
    return f"Find the {kind} value of ${text}$ for ${low} \\le x \\le {high}$.", latex(value)


@family
def area_between(rng: np.random.Generator, level: int) -> Problem:
    """The area between a parabola and a line."""
    r, s = sorted(distinct(rng, 2, -3 - level, 3 + level))
    a, m, k = nonzero(rng, level), whole(rng, -3, 3), whole(rng, -5, 5)
    parabola, line = polynomial([a, m - a * (r + s), k + a * r * s]), polynomial([m, k])
    value = Fraction(abs(a) * (s - r) ** 3, 6)
    return f"Find the area of the region enclosed by $y = {parabola}$ and $y = {line}$.", latex(value)
