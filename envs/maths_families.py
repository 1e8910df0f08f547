"""Families of generated maths problems: each draws a problem and its exact answer from a generator and a level.

All draws are whole numbers from the generator; a level from 1 to 5 widens them and adds steps. A new family is one
function with the decorator below.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb, gcd, isqrt, lcm

import numpy as np

Problem = tuple[str, str]
Family = Callable[[np.random.Generator, int], Problem]

FAMILIES: dict[str, Family] = {}
LEVELS = (1, 2, 3, 4, 5)


def family(function: Family) -> Family:
    """Add a family under its function's name."""
    FAMILIES[function.__name__] = function
    return function


def whole(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both included."""
    return int(rng.integers(low, high + 1))


def nonzero(rng: np.random.Generator, size: int) -> int:
    """A whole number other than zero, at most ``size`` in absolute value."""
    return whole(rng, 1, size) * (1 if rng.integers(2) else -1)


def latex(value: Fraction | int) -> str:
    r"""A fraction in LaTeX.

    >>> latex(Fraction(-1, 2))
    '-\\frac{1}{2}'
    """
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    return f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


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


def surd(square: int) -> str:
    """The square root of a whole number in lowest form."""
    outside = max(d for d in range(1, isqrt(square) + 1) if square % (d * d) == 0)
    inside = square // (outside * outside)
    if inside == 1:
        return str(outside)
    return f"{outside if outside > 1 else ''}\\sqrt{{{inside}}}"


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
        r, s = nonzero(rng, 4 * level), nonzero(rng, 4 * level)
        while r == s:
            s = nonzero(rng, 4 * level)
        coefficients, answer = [1, -(r + s), r * s], f"{r}, {s}"
    else:
        p, square = whole(rng, -2 * level, 2 * level), whole(rng, 2, 10 * level)
        while isqrt(square) ** 2 == square:
            square = whole(rng, 2, 10 * level)
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
    for _ in range(1 + (level + 1) // 2):
        a, b = whole(rng, 1, level), nonzero(rng, 3 + level)
        factors += f"({polynomial([a, b])})"
        shifted = [a * c for c in coefficients] + [0]
        coefficients = [s + t for s, t in zip(shifted, [0, *(b * c for c in coefficients)], strict=True)]
    return f"Expand ${factors}$.", polynomial(coefficients)


@family
def derivative(rng: np.random.Generator, level: int) -> Problem:
    """The derivative of a polynomial at a point."""
    coefficients = [nonzero(rng, 3 + level) for _ in range(2 + level)]
    at = nonzero(rng, 1 + level)
    degree = len(coefficients) - 1
    value = sum(c * (degree - i) * at ** (degree - i - 1) for i, c in enumerate(coefficients[:-1]))
    return f"Let $f(x) = {polynomial(coefficients)}$. Compute $f'({at})$.", str(value)


@family
def common_divisor(rng: np.random.Generator, level: int) -> Problem:
    """Greatest common divisor or least common multiple."""
    shared = whole(rng, 2, 6 * level)
    a, b = shared * whole(rng, 2, 8 * level), shared * whole(rng, 2, 8 * level)
    if rng.integers(2):
        return f"What is the greatest common divisor of {a} and {b}?", str(gcd(a, b))
    return f"What is the least common multiple of {a} and {b}?", str(lcm(a, b))


@family
def remainder(rng: np.random.Generator, level: int) -> Problem:
    """The remainder of a power."""
    base, exponent, modulus = whole(rng, 2, 9 + level), whole(rng, 3, 10 * level), whole(rng, 5, 9 + 10 * level)
    return f"What is the remainder when ${base}^{{{exponent}}}$ is divided by {modulus}?", str(
        pow(base, exponent, modulus)
    )


@family
def simplify_root(rng: np.random.Generator, level: int) -> Problem:
    """A square root, or a sum of two, in simplest radical form."""
    inside = (2, 3, 5, 6, 7, 10)[int(rng.integers(6))]
    a, b = whole(rng, 2, 3 + 3 * level), whole(rng, 2, 3 + 3 * level)
    if level < 3:
        return f"Simplify $\\sqrt{{{a * a * inside}}}$.", surd(a * a * inside)
    text = f"\\sqrt{{{a * a * inside}}} + \\sqrt{{{b * b * inside}}}"
    return f"Simplify ${text}$ to one radical.", surd((a + b) ** 2 * inside)


@family
def inequality(rng: np.random.Generator, level: int) -> Problem:
    """The solution set of an inequality, as an interval or a union of intervals."""
    size = 3 + 2 * level
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
def counting(rng: np.random.Generator, level: int) -> Problem:
    """Choosing a committee from two groups."""
    men, women = whole(rng, 3, 4 + level), whole(rng, 3, 4 + level)
    size = whole(rng, 2, 2 + (level + 1) // 2)
    least = whole(rng, 0, min(1 + level // 3, size))
    ways = sum(comb(women, k) * comb(men, size - k) for k in range(least, size + 1))
    condition = f" with at least {least} of the blue ones" if least else ""
    return (
        f"A box holds {men} different red balls and {women} different blue balls. "
        f"In how many ways can {size} balls be chosen{condition}?",
        str(ways),
    )


@family
def probability(rng: np.random.Generator, level: int) -> Problem:
    """Drawing without replacement."""
    red, blue = whole(rng, 2, 3 + 2 * level), whole(rng, 2, 3 + 2 * level)
    drawn = 2 if level < 4 else 3
    value = Fraction(comb(red, drawn) if red >= drawn else 0, comb(red + blue, drawn))
    text = f"A bag holds {red} red and {blue} blue marbles. {drawn} marbles are drawn without replacement."
    return f"{text} What is the probability that all of them are red?", latex(value)


@family
def sequence_sum(rng: np.random.Generator, level: int) -> Problem:
    """The sum of an arithmetic or geometric sequence."""
    first, n = whole(rng, 1, 5 * level), whole(rng, 4, 6 + 2 * level)
    if level < 3 or rng.integers(2):
        step = nonzero(rng, 3 * level)
        text = f"arithmetic sequence with first term {first} and common difference {step}"
        return f"Find the sum of the first {n} terms of the {text}.", str(n * first + step * n * (n - 1) // 2)
    ratio = Fraction(nonzero(rng, 4), whole(rng, 1, 4))
    total = sum((first * ratio**k for k in range(n)), Fraction(0))
    text = f"geometric sequence with first term {first} and common ratio ${latex(ratio)}$"
    return f"Find the sum of the first {n} terms of the {text}.", latex(total)


@family
def complex_product(rng: np.random.Generator, level: int) -> Problem:
    """A product of complex numbers."""
    size = 2 + 2 * level
    a, b, text = 1, 0, ""
    for _ in range(2 + level // 3):
        c, d = nonzero(rng, size), nonzero(rng, size)
        text += f"({c}{d:+}i)"
        a, b = a * c - b * d, a * d + b * c
    return f"Compute ${text}$ in the form $a+bi$.", f"{a}{b:+}i"


@family
def determinant(rng: np.random.Generator, level: int) -> Problem:
    """The determinant of a small matrix."""
    size, spread = (2 if level < 3 else 3), 2 + 2 * level
    rows = [[whole(rng, -spread, spread) for _ in range(size)] for _ in range(size)]
    if size == 2:
        value = rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0]
    else:
        (a, b, c), (d, e, f), (g, h, i) = rows
        value = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    cells = r" \\ ".join(" & ".join(map(str, row)) for row in rows)
    return f"Compute the determinant of $\\begin{{pmatrix}} {cells} \\end{{pmatrix}}$.", str(value)
