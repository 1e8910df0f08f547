"""Algebra: arithmetic, equations, inequalities, polynomials, roots, exponents and complex numbers."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np

from .base import Problem, distinct, family, latex, nonzero, pick, polynomial, scaled, surd, value_at, whole


@family
def arithmetic(rng: np.random.Generator, level: int) -> Problem:
    """Sums, differences and products of whole numbers."""
    text = str(whole(rng, 2, 10**level))
    value = int(text)
    for _ in range(level):
        n = whole(rng, 2, 10 ** min(level, 3))
        sign = "+-"[int(rng.integers(2))]
        factor = whole(rng, 2, 9 + level)
        text += f" {sign} {n} \\cdot {factor}"
        value += n * factor if sign == "+" else -n * factor
    return f"Compute ${text}$.", str(value)


@family
def fractions(rng: np.random.Generator, level: int) -> Problem:
    """A sum of fractions, in lowest terms or not."""
    parts = [Fraction(nonzero(rng, 4 + 3 * level), whole(rng, 2, 4 + 4 * level)) for _ in range(2 + level // 2)]
    return f"Compute ${' + '.join(f'({latex(p)})' for p in parts)}$ as a fraction.", latex(sum(parts, Fraction(0)))


@family
def linear_equation(rng: np.random.Generator, level: int) -> Problem:
    """One equation in one unknown."""
    size = 5 * level
    a, c = nonzero(rng, size), nonzero(rng, size)
    while a == c:
        c = nonzero(rng, size)
    b, d = whole(rng, -size, size), whole(rng, -size, size)
    return f"Solve ${polynomial([a, b])} = {polynomial([c, d])}$ for $x$.", latex(Fraction(d - b, a - c))


@family
def quadratic_roots(rng: np.random.Generator, level: int) -> Problem:
    """Both roots of a quadratic; irrational ones from level 3 on."""
    if level < 3:
        r, s = nonzero(rng, 4 + 6 * level), nonzero(rng, 4 + 6 * level)
        while r == s:
            s = nonzero(rng, 4 + 6 * level)
        coefficients, answer = [1, -(r + s), r * s], f"{r}, {s}"
    else:
        p, square = whole(rng, -3 * level, 3 * level), whole(rng, 2, 12 * level)
        while isqrt(square) ** 2 == square:
            square = whole(rng, 2, 12 * level)
        coefficients, answer = [1, -2 * p, p * p - square], f"{p or ''}+{surd(square)}, {p or ''}-{surd(square)}"
    return f"Find all real solutions of ${polynomial(coefficients)} = 0$.", answer


@family
def linear_system(rng: np.random.Generator, level: int) -> Problem:
    """Two equations in two unknowns."""
    size = 2 + 2 * level
    x, y = whole(rng, -size, size), whole(rng, -size, size)
    a, b, c, d = (nonzero(rng, size) for _ in range(4))
    while a * d == b * c:
        d = nonzero(rng, size)
    one = f"{polynomial([a, 0])}{'+' if b > 0 else ''}{polynomial([b, 0], 'y')} = {a * x + b * y}"
    two = f"{polynomial([c, 0])}{'+' if d > 0 else ''}{polynomial([d, 0], 'y')} = {c * x + d * y}"
    return f"Solve the system ${one}$, ${two}$. Give the ordered pair $(x, y)$.", f"({x}, {y})"


@family
def expand(rng: np.random.Generator, level: int) -> Problem:
    """A product of linear factors, multiplied out."""
    coefficients = [1]
    factors = ""
    for _ in range(2 + level // 3):
        a, b = whole(rng, 1, level + 1), nonzero(rng, 5 + level)
        factors += f"({polynomial([a, b])})"
        shifted = [a * c for c in coefficients] + [0]
        coefficients = [s + t for s, t in zip(shifted, [0, *(b * c for c in coefficients)], strict=True)]
    return f"Expand ${factors}$.", polynomial(coefficients)


@family
def evaluate_polynomial(rng: np.random.Generator, level: int) -> Problem:
    """A polynomial at a point; at a fraction from level 4 on."""
    coefficients = [nonzero(rng, 3 + level) for _ in range(2 + level)]
    at = Fraction(nonzero(rng, 2 + level), 1 if level < 4 else whole(rng, 2, 3))
    return f"Let $P(x) = {polynomial(coefficients)}$. Compute $P\\left({latex(at)}\\right)$.", latex(
        value_at(coefficients, at)
    )


@family
def polynomial_remainder(rng: np.random.Generator, level: int) -> Problem:
    """The remainder of a division by a linear factor, or by a product of two from level 3 on."""
    coefficients = [nonzero(rng, 2 + level) for _ in range(3 + level // 2)]
    if level < 3:
        a = nonzero(rng, 3 + level)
        return (
            f"Find the remainder when ${polynomial(coefficients)}$ is divided by ${polynomial([1, -a])}$.",
            latex(value_at(coefficients, a)),
        )
    a, b = distinct(rng, 2, -3, 4)
    slope = (value_at(coefficients, a) - value_at(coefficients, b)) / (a - b)
    rest = polynomial([int(slope), int(value_at(coefficients, a) - slope * a)])
    divisor = polynomial([1, -(a + b), a * b])
    return f"Find the remainder when ${polynomial(coefficients)}$ is divided by ${divisor}$.", rest


@family
def vieta(rng: np.random.Generator, level: int) -> Problem:
    """A symmetric function of the roots of a quadratic."""
    a, b, c = whole(rng, 1, 1 + level), nonzero(rng, 4 + 2 * level), nonzero(rng, 4 + 2 * level)
    total, product = Fraction(-b, a), Fraction(c, a)
    text, value = pick(
        rng,
        (
            ("r+s", total),
            ("rs", product),
            ("r^2+s^2", total**2 - 2 * product),
            ("\\frac{1}{r}+\\frac{1}{s}", total / product),
            ("(r+1)(s+1)", product + total + 1),
        )[: 2 + level],
    )
    question = f"Let $r$ and $s$ be the complex roots of ${polynomial([a, b, c])} = 0$."
    return f"{question} Compute ${text}$.", latex(value)


@family
def vertex(rng: np.random.Generator, level: int) -> Problem:
    """The vertex of a parabola."""
    a = nonzero(rng, level) if level > 1 else 1
    h = Fraction(nonzero(rng, 5 + 2 * level), 1 if level < 4 else 2)
    k = whole(rng, -5 - 3 * level, 5 + 3 * level)
    if a % 2 and h.denominator == 2:
        a *= 2
    b, c = -2 * a * h, a * h * h + k
    if c.denominator != 1:
        a, b, c, k = 2 * a, 2 * b, 2 * c, 2 * k
    text = polynomial([a, int(b), int(c)])
    return f"Find the vertex of the parabola $y = {text}$ as an ordered pair.", f"({latex(h)}, {k})"


@family
def composition(rng: np.random.Generator, level: int) -> Problem:
    """Two functions one after the other, at a number or, from level 3 on, as a polynomial."""
    a, b, c, d = nonzero(rng, 3 + level), nonzero(rng, 6), nonzero(rng, 2 + level), nonzero(rng, 6)
    given = f"Let $f(x) = {polynomial([a, b])}$ and $g(x) = {polynomial([c, 0, d])}$."
    if level < 3:
        at = nonzero(rng, 4)
        return f"{given} Compute $f(g({at}))$.", str(a * (c * at * at + d) + b)
    inside = [c * a * a, 2 * c * a * b, c * b * b + d]
    return f"{given} Write $g(f(x))$ as a polynomial in $x$, multiplied out.", polynomial(inside)


@family
def absolute_value(rng: np.random.Generator, level: int) -> Problem:
    """Both solutions of an equation with an absolute value."""
    a = nonzero(rng, 1 + level)
    b, c = whole(rng, -6 - level, 6 + level), whole(rng, 1, 8 + 2 * level)
    low, high = sorted((Fraction(-b - c, a), Fraction(-b + c, a)))
    return f"Find all real solutions of $|{polynomial([a, b])}| = {c}$.", f"{latex(low)}, {latex(high)}"


@family
def logarithm(rng: np.random.Generator, level: int) -> Problem:
    """The logarithm of one power to the base of another."""
    base = whole(rng, 2, 5 + level)
    p, q, r = whole(rng, 1, 2 + level // 2), nonzero(rng, 3 + level // 2), whole(rng, 1, 8 + 2 * level)
    number = str(base**q) if q > 0 else f"\\frac{{1}}{{{base**-q}}}"
    return f"Compute ${r} \\log_{{{base**p}}} {number}$.", latex(Fraction(r * q, p))


@family
def exponential_equation(rng: np.random.Generator, level: int) -> Problem:
    """An equation between powers of one base."""
    base, size = whole(rng, 2, 5), 3 + 2 * level
    p, q = distinct(rng, 2, 1, 3)
    a, b = whole(rng, -size, size), whole(rng, -size, size)
    left, right = polynomial([1, a]), polynomial([1, b])
    return f"Solve ${base**p}^{{{left}}} = {base**q}^{{{right}}}$ for $x$.", latex(Fraction(q * b - p * a, p - q))


@family
def simplify_root(rng: np.random.Generator, level: int) -> Problem:
    """A square root, or a sum of two, in simplest radical form."""
    inside = pick(rng, (2, 3, 5, 6, 7, 10, 11, 13, 14, 15))
    a, b, c = whole(rng, 2, 6 + 3 * level), whole(rng, 2, 6 + 3 * level), whole(rng, 1, 4 + level)
    first = f"{c if c > 1 else ''}\\sqrt{{{a * a * inside}}}"
    if level < 3:
        return f"Write ${first}$ in simplest radical form.", surd(inside, a * c)
    return f"Write ${first} + \\sqrt{{{b * b * inside}}}$ as one radical in simplest form.", surd(inside, a * c + b)


@family
def inequality(rng: np.random.Generator, level: int) -> Problem:
    """The solution set of an inequality, as an interval or a union of intervals."""
    size = 4 + 2 * level
    if level < 3:
        a, b, c = nonzero(rng, size), whole(rng, -size, size), whole(rng, -size, size)
        end = latex(Fraction(c - b, a))
        answer = f"(-\\infty, {end}]" if a > 0 else f"[{end}, \\infty)"
        return f"Solve ${polynomial([a, b])} \\le {c}$. Give the solution set as an interval.", answer
    r = whole(rng, -size, size)
    s = r + whole(rng, 1, size)
    text = polynomial([1, -(r + s), r * s])
    if rng.integers(2):
        return f"Solve ${text} < 0$. Give the solution set in interval notation.", f"({r}, {s})"
    answer = f"(-\\infty, {r}] \\cup [{s}, \\infty)"
    return f"Solve ${text} \\ge 0$. Give the solution set in interval notation.", answer


@family
def complex_product(rng: np.random.Generator, level: int) -> Problem:
    """A product of complex numbers."""
    size = 2 + 2 * level
    a, b, text = 1, 0, ""
    for _ in range(2 + level // 3):
        c, d = nonzero(rng, size), nonzero(rng, size)
        text += f"({c}{'+' if d > 0 else ''}{scaled(d, 'i')})"
        a, b = a * c - b * d, a * d + b * c
    return f"Compute ${text}$ in the form $a+bi$.", _complex(Fraction(a), Fraction(b))


@family
def complex_quotient(rng: np.random.Generator, level: int) -> Problem:
    """A quotient of complex numbers."""
    size = 2 + level
    a, b, c, d = (nonzero(rng, size) for _ in range(4))
    above, below = (f"{x}{'+' if y > 0 else ''}{scaled(y, 'i')}" for x, y in ((a, b), (c, d)))
    norm = c * c + d * d
    value = _complex(Fraction(a * c + b * d, norm), Fraction(b * c - a * d, norm))
    return f"Write $\\frac{{{above}}}{{{below}}}$ in the form $a+bi$ with rational numbers $a$ and $b$.", value


def _complex(real: Fraction, imaginary: Fraction) -> str:
    if imaginary == 0:
        return latex(real)
    tail = scaled(imaginary, "i")
    return tail if real == 0 else f"{latex(real)}{'' if imaginary < 0 else '+'}{tail}"
