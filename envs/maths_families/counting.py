"""Counting, probability and statistics."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import comb, factorial, prod

import numpy as np

from .base import Problem, distinct, family, latex, whole

_WORDS = (
    "LEVEL", "BANANA", "PEPPER", "MISSISSIPPI", "LETTER", "BALLOON", "COFFEE", "SUCCESS", "PARALLEL", "ARRANGE",
    "COMMITTEE", "TENNESSEE", "STATISTICS", "ENGINEERING", "BOOKKEEPER", "MATHEMATICS", "PROBABILITY", "ALGEBRA",
    "GEOMETRY", "SEQUENCE", "PALAESTRA", "GYMNASIUM", "ELLIPSE", "PARABOLA", "INTEGRAL", "TRIANGLE", "CALCULUS",
    "NUMERAL", "ADDITION", "DIVISION", "REMAINDER", "FRACTION", "INFINITY", "EXPONENT", "DERIVATIVE", "POLYNOMIAL",
    "QUOTIENT", "ASSOCIATIVE", "COEFFICIENT", "HYPOTENUSE", "CIRCUMFERENCE", "SUBTRACTION", "PERPENDICULAR",
    "EIGHTEEN", "NINETEEN", "SEVENTEEN", "CONGRUENCE", "LOGARITHM", "TESSELLATION", "ICOSAHEDRON",
)  # fmt: skip


@family
def counting(rng: np.random.Generator, level: int) -> Problem:
    """Choosing from two groups."""
    men, women = whole(rng, 3, 7 + 2 * level), whole(rng, 3, 7 + 2 * level)
    size = whole(rng, 2, 3 + level // 2)
    least = whole(rng, 0, min(1 + level // 3, size, women))
    ways = sum(comb(women, k) * comb(men, size - k) for k in range(least, size + 1))
    condition = f" with at least {least} of the blue ones" if least else ""
    return (
        f"A box holds {men} different red balls and {women} different blue balls. "
        f"In how many ways can {size} balls be chosen{condition}?",
        str(ways),
    )


@family
def rearrangements(rng: np.random.Generator, level: int) -> Problem:
    """The arrangements of the letters of a word, or of some of its first letters."""
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    word = word[int(rng.integers(3)) :][: 4 + level + int(rng.integers(3))]
    ways = factorial(len(word)) // prod(factorial(n) for n in Counter(word).values())
    return f"In how many different ways can the letters {', '.join(word)} be arranged in a row?", str(ways)


@family
def distributions(rng: np.random.Generator, level: int) -> Problem:
    """Identical things given to different people."""
    people, least = whole(rng, 3, 6 + level), whole(rng, 0, 1 + (level + 1) // 3)
    things = people * least + whole(rng, 4, 16 + 3 * level)
    condition = f" if each gets at least {least}" if least else ""
    ways = comb(things - people * least + people - 1, people - 1)
    return f"In how many ways can {things} identical coins be given to {people} children{condition}?", str(ways)


@family
def lattice_paths(rng: np.random.Generator, level: int) -> Problem:
    """Shortest paths on a grid, through a point from level 3 on."""
    x, y = whole(rng, 3, 6 + 2 * level), whole(rng, 3, 6 + 2 * level)
    text = f"from $(0, 0)$ to $({x}, {y})$ with steps of length 1 to the right or up"
    a, b = whole(rng, 1, x - 1), whole(rng, 1, y - 1)
    through = comb(a + b, a) * comb(x + y - a - b, x - a)
    if level < 3:
        return f"How many paths lead {text} and pass through $({a}, {b})$?", str(through)
    return f"How many paths lead {text} and do not pass through $({a}, {b})$?", str(comb(x + y, x) - through)


@family
def inclusion_exclusion(rng: np.random.Generator, level: int) -> Problem:
    """Numbers divisible by one of two numbers, or of three from level 4 on."""
    top = whole(rng, 50, 200 * level)
    divisors = distinct(rng, 2 if level < 4 else 3, 2, 8 + level)
    count = sum(any(n % d == 0 for d in divisors) for n in range(1, top + 1))
    names = ", ".join(map(str, divisors[:-1])) + f" or {divisors[-1]}"
    if rng.integers(2):
        return f"How many integers from 1 to {top} are divisible by {names}?", str(count)
    return f"How many integers from 1 to {top} are not divisible by {names}?", str(top - count)


@family
def probability(rng: np.random.Generator, level: int) -> Problem:
    """Drawing without replacement."""
    red, blue = whole(rng, 2, 6 + 2 * level), whole(rng, 2, 6 + 2 * level)
    drawn = 2 if level < 4 else 3
    wanted = whole(rng, 0, drawn)
    value = Fraction(comb(red, wanted) * comb(blue, drawn - wanted), comb(red + blue, drawn))
    text = f"A bag holds {red} red and {blue} blue marbles. {drawn} marbles are drawn without replacement."
    return f"{text} What is the probability that exactly {wanted} of them are red?", latex(value)


@family
def dice(rng: np.random.Generator, level: int) -> Problem:
    """The sum of fair dice with any number of faces."""
    faces = [whole(rng, 4, 8 + 2 * level) for _ in range(2 if level < 4 else 3)]
    goal = whole(rng, len(faces) + 1, sum(faces) - 1)
    sums = Counter({0: 1})
    for size in faces:
        sums = Counter({s: sum(sums[s - f] for f in range(1, size + 1)) for s in range(1, sum(faces) + 1)})
    named = ", ".join(map(str, faces[:-1])) + f" and {faces[-1]}"
    if rng.integers(2):
        value, what = Fraction(sums[goal], prod(faces)), f"exactly {goal}"
    else:
        value, what = Fraction(sum(n for s, n in sums.items() if s > goal), prod(faces)), f"greater than {goal}"
    return f"Fair dice with {named} faces, numbered from 1, are rolled. Find the probability that the sum is {what}.", (
        latex(value)
    )


@family
def binomial_probability(rng: np.random.Generator, level: int) -> Problem:
    """Successes in independent trials."""
    n, below = whole(rng, 3, 4 + level), whole(rng, 2, 4 + level)
    chance, k = Fraction(whole(rng, 1, below - 1), below), whole(rng, 0, n)
    value = comb(n, k) * chance**k * (1 - chance) ** (n - k)
    text = f"A coin shows heads with probability ${latex(chance)}$ and is tossed {n} times."
    return f"{text} What is the probability of exactly {k} heads?", latex(value)


@family
def expected_value(rng: np.random.Generator, level: int) -> Problem:
    """The expected gain of a wheel with numbered sectors."""
    gains = distinct(rng, 3 + level // 2, -9 - level, 15 + level)
    shares = [whole(rng, 1, 4 + level) for _ in gains]
    value = Fraction(sum(g * s for g, s in zip(gains, shares, strict=True)), sum(shares))
    sectors = ", ".join(f"{s} show {g}" for g, s in zip(gains, shares, strict=True))
    return f"Of {sum(shares)} equal sectors of a wheel {sectors}. What is the expected value of one spin?", latex(value)


@family
def statistics(rng: np.random.Generator, level: int) -> Problem:
    """The mean, median or variance of a list."""
    data = [whole(rng, 1, 10 + 8 * level) for _ in range(4 + level)]
    listed, n = ", ".join(map(str, data)), len(data)
    kind = int(rng.integers(2 if level < 3 else 3))
    mean = Fraction(sum(data), n)
    if kind == 0:
        return f"Find the mean of {listed}.", latex(mean)
    if kind == 1:
        ordered = sorted(data)
        return f"Find the median of {listed}.", latex(Fraction(ordered[(n - 1) // 2] + ordered[n // 2], 2))
    return f"Find the population variance of {listed}.", latex(sum(((x - mean) ** 2 for x in data), Fraction(0)) / n)
