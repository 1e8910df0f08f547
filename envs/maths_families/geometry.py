"""Geometry and trigonometry: lengths, areas, angles and exact values."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np

from .base import Problem, family, latex, nonzero, pick, scaled, surd, whole

_SINES = {0: (0, 1), 30: (1, 1), 45: (1, 2), 60: (1, 3), 90: (2, 1)}  # degrees -> (a, b) with sin = a sqrt(b) / 2


@family
def distance(rng: np.random.Generator, level: int) -> Problem:
    """The distance of two points, in space from level 4 on."""
    size, dims = 4 + 2 * level, 2 if level < 4 else 3
    one = [whole(rng, -size, size) for _ in range(dims)]
    two = [whole(rng, -size, size) for _ in range(dims)]
    while one == two:
        two = [whole(rng, -size, size) for _ in range(dims)]
    square = sum((a - b) ** 2 for a, b in zip(one, two, strict=True))
    points = " and ".join(f"$({', '.join(map(str, p))})$" for p in (one, two))
    return f"Find the distance between {points}, in simplest radical form.", surd(square)


@family
def hypotenuse(rng: np.random.Generator, level: int) -> Problem:
    """A side of a right triangle."""
    a, b = whole(rng, 2, 10 + 4 * level), whole(rng, 2, 10 + 4 * level)
    if level < 3 or a == b:
        text = f"A right triangle has legs of length {a} and {b}. How long is its hypotenuse?"
        return f"{text} Give it in simplest radical form.", surd(a * a + b * b)
    a, b = sorted((a, b))
    text = f"A right triangle has a hypotenuse of length {b} and a leg of length {a}. How long is the other leg?"
    return f"{text} Give it in simplest radical form.", surd(b * b - a * a)


@family
def triangle_area(rng: np.random.Generator, level: int) -> Problem:
    """The area of a triangle with given corners."""
    size = 4 + 2 * level
    while True:
        (a, b), (c, d), (e, f) = ((whole(rng, -size, size), whole(rng, -size, size)) for _ in range(3))
        twice = abs((c - a) * (f - b) - (e - a) * (d - b))
        if twice:
            break
    return f"Find the area of the triangle with vertices $({a}, {b})$, $({c}, {d})$ and $({e}, {f})$.", latex(
        Fraction(twice, 2)
    )


@family
def circle(rng: np.random.Generator, level: int) -> Problem:
    """A measure of a circle, a sector or a solid, as a multiple of pi."""
    r = Fraction(whole(rng, 2, 12 + 6 * level), 1 if level < 3 else whole(rng, 1, 3))
    h, angle = whole(rng, 2, 9 + 3 * level), 10 * whole(rng, 1, 35)
    text, value = pick(
        rng,
        (
            (f"area of a circle with radius ${latex(r)}$", r * r),
            (
                f"area of a circular sector with radius ${latex(r)}$ and central angle ${angle}^\\circ$",
                r * r * angle / 360,
            ),
            (f"volume of a cylinder with radius ${latex(r)}$ and height {h}", r * r * h),
            (f"volume of a cone with radius ${latex(r)}$ and height {h}", r * r * h / 3),
            (f"length of a circular arc with radius ${latex(r)}$ and central angle ${angle}^\\circ$", r * angle / 180),
            (f"volume of a ball with radius ${latex(r)}$", 4 * r**3 / 3),
        ),
    )
    return f"Find the {text}.", scaled(value, "\\pi")


@family
def triangle_angles(rng: np.random.Generator, level: int) -> Problem:
    """An angle of a triangle or regular polygon."""
    if level < 3:
        a, b = whole(rng, 20, 89), whole(rng, 20, 89)
        return (
            f"Two angles of a triangle measure ${a}^\\circ$ and ${b}^\\circ$. Find the third angle.",
            f"{180 - a - b}^\\circ",
        )
    n, k = whole(rng, 5, 60 + 20 * level), whole(rng, 1, 6)
    turned = Fraction(180 * (n - 2), n)
    part = "" if k == 1 else f" Divide it into {k} equal angles. How large is each?"
    return (
        f"Take an interior angle of a regular polygon with {n} sides, in degrees.{part}",
        f"{latex(turned / k)}^\\circ",
    )


@family
def exact_trigonometry(rng: np.random.Generator, level: int) -> Problem:
    """A combination of sines and cosines of special angles."""
    function, degrees = "\\sin" if rng.integers(2) else "\\cos", 15 * whole(rng, -8 * level, 8 * level)
    while degrees % 30 and degrees % 45:
        degrees += 15
    factor, added = nonzero(rng, 3 + 3 * level), whole(rng, -5 - level, 5 + level)
    a, b = sine(degrees if function == "\\sin" else degrees + 90)
    first = scaled(factor, f"{function}({degrees}^\\circ)")
    tail = f"{added:+d}" if added else ""
    exactly = Fraction(a * factor, 2)
    if b == 1 or not a:
        return f"Find the exact value of ${first}{tail}$.", latex(exactly + added)
    root = scaled(exactly, f"\\sqrt{{{b}}}")
    answer = root if not added else f"{added}{'' if root.startswith('-') else '+'}{root}"
    return f"Find the exact value of ${first}{tail}$.", answer


def sine(degrees: int) -> tuple[int, int]:
    """``(a, b)`` with sin = a sqrt(b) / 2, for multiples of 30 and 45 degrees."""
    degrees %= 360
    sign = 1 if degrees < 180 else -1
    degrees %= 180
    a, b = _SINES[min(degrees, 180 - degrees)]
    return sign * a, b


@family
def trigonometric_equation(rng: np.random.Generator, level: int) -> Problem:
    """All solutions of a simple trigonometric equation in one turn."""
    n, half = whole(rng, 1, 2 + level), whole(rng, 0, 1)
    name, sign = ("\\sin", "\\cos")[int(rng.integers(2))], (1, -1)[int(rng.integers(2))]
    shift = whole(rng, 0, 5)
    base = {("\\sin", 1): (30, 150), ("\\sin", -1): (210, 330), ("\\cos", 1): (60, 300), ("\\cos", -1): (120, 240)}
    top = 360 if half == 0 else 180
    found = sorted(
        {
            value
            for angle in base[name, sign]
            for turn in range(-2, 3 * n)
            if 0 <= (value := Fraction(angle + 360 * turn - 30 * shift, n)) < top
        }
    )
    added = f"+{30 * shift}^\\circ" if shift else ""
    inside = f"{n if n > 1 else ''}x{added}"
    question = (
        f"Find all $x$ with $0^\\circ \\le x < {top}^\\circ$ and ${name}({inside}) = {latex(Fraction(sign, 2))}$."
    )
    if not found:
        return f"{question} If there is none, answer with the empty set.", "\\emptyset"
    return f"{question} Give them in degrees.", ", ".join(f"{latex(value)}^\\circ" for value in found)


@family
def polygon_diagonals(rng: np.random.Generator, level: int) -> Problem:
    """Diagonals, or triangles with corners among given points."""
    n, line = whole(rng, 6, 40 + 20 * level), whole(rng, 3, 5 + level)
    if rng.integers(3) == 0:
        return f"How many diagonals does a convex polygon with {n} sides have?", str(n * (n - 3) // 2)
    text = f"Of {n + line} points in the plane, {line} lie on one line and no other three do."
    return f"{text} How many triangles have their corners at these points?", str(comb(n + line, 3) - comb(line, 3))
