"""Linear algebra: vectors, matrices, determinants."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from .base import Problem, family, latex, nonzero, polynomial, whole

Rows = list[list[int]]


def matrix(rows: Rows | list[list[Fraction]]) -> str:
    """A matrix in LaTeX."""
    cells = r" \\ ".join(" & ".join(latex(cell) for cell in row) for row in rows)
    return f"\\begin{{pmatrix}} {cells} \\end{{pmatrix}}"


def _rows(rng: np.random.Generator, height: int, width: int, size: int) -> Rows:
    return [[whole(rng, -size, size) for _ in range(width)] for _ in range(height)]


@family
def determinant(rng: np.random.Generator, level: int) -> Problem:
    """The determinant of a small matrix."""
    size, spread = (2 if level < 3 else 3), 2 + 2 * level
    rows = _rows(rng, size, size, spread)
    if size == 2:
        value = rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0]
    else:
        (a, b, c), (d, e, f), (g, h, i) = rows
        value = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return f"Compute the determinant of ${matrix(rows)}$.", str(value)


@family
def matrix_product(rng: np.random.Generator, level: int) -> Problem:
    """The product of two small matrices."""
    spread, inner = 2 + level, 2 if level < 4 else 3
    left, right = _rows(rng, 2, inner, spread), _rows(rng, inner, 2, spread)
    product = [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*right, strict=True)] for row in left
    ]
    return f"Compute ${matrix(left)} {matrix(right)}$.", matrix(product)


@family
def matrix_inverse(rng: np.random.Generator, level: int) -> Problem:
    """The inverse of a matrix with two rows."""
    while True:
        (a, b), (c, d) = rows = _rows(rng, 2, 2, 2 + level)
        det = a * d - b * c
        if det and (a + d or det != -1) and (level > 2 or abs(det) <= 2):  # not its own inverse
            break
    inverse = [[Fraction(d, det), Fraction(-b, det)], [Fraction(-c, det), Fraction(a, det)]]
    return f"Find the inverse of ${matrix(rows)}$.", matrix(inverse)


@family
def vector_product(rng: np.random.Generator, level: int) -> Problem:
    """A dot product, or a cross product from level 3 on."""
    (a, b, c), (d, e, f) = _rows(rng, 2, 3, 3 + 2 * level)
    given = f"Let $\\mathbf{{u}} = ({a}, {b}, {c})$ and $\\mathbf{{v}} = ({d}, {e}, {f})$."
    if level < 3:
        return f"{given} Compute $\\mathbf{{u}} \\cdot \\mathbf{{v}}$.", str(a * d + b * e + c * f)
    cross = (b * f - c * e, c * d - a * f, a * e - b * d)
    return f"{given} Compute $\\mathbf{{u}} \\times \\mathbf{{v}}$.", f"({', '.join(map(str, cross))})"


@family
def eigenvalues(rng: np.random.Generator, level: int) -> Problem:
    """The eigenvalues, or the characteristic polynomial from level 3 on, of a matrix with two rows."""
    if level < 3:
        r, s, k = whole(rng, -6 - level, 6 + level), whole(rng, -6 - level, 6 + level), nonzero(rng, 3 + level)
        while s == r:
            s = whole(rng, -6 - level, 6 + level)
        rows = [[r, k], [0, s]] if rng.integers(2) else [[s, 0], [k, r]]
        if level == 2:  # the same matrix in another basis
            (a, b), (_, d) = rows
            c = rows[1][0]
            rows = [[a + b, b], [c + d - a - b, d - b]]
        return f"Find all eigenvalues of ${matrix(rows)}$.", f"{r}, {s}"
    (a, b), (c, d) = rows = _rows(rng, 2, 2, 2 + level)
    text = polynomial([1, -(a + d), a * d - b * c], "t")
    return f"Find the characteristic polynomial $\\det(tI - A)$ of $A = {matrix(rows)}$, multiplied out.", text


@family
def plane_point(rng: np.random.Generator, level: int) -> Problem:
    """The point where a line meets a plane."""
    size = 2 + level
    point = [whole(rng, -size, size) for _ in range(3)]
    direction, normal = [nonzero(rng, size) for _ in range(3)], [nonzero(rng, size) for _ in range(3)]
    while not sum(d * n for d, n in zip(direction, normal, strict=True)):
        normal = [nonzero(rng, size) for _ in range(3)]
    steps = nonzero(rng, 3)
    start = [p - steps * d for p, d in zip(point, direction, strict=True)]
    value = sum(p * n for p, n in zip(point, normal, strict=True))
    x, y, z = (polynomial([n, 0], name) for n, name in zip(normal, "xyz", strict=True))
    plane = f"{x}{'' if y.startswith('-') else '+'}{y}{'' if z.startswith('-') else '+'}{z} = {value}"
    line = f"$({', '.join(map(str, start))})$ in the direction $({', '.join(map(str, direction))})$"
    return f"At which point does the line through {line} meet the plane ${plane}$?", f"({', '.join(map(str, point))})"
