"""Exact values: fractions where the answer is one, and identity tests modulo two primes for rational functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from .lex import Node
from .notation import words
from .verdict import Reason, Unreadable

MAX_BITS = 4096
# Two 61-bit primes congruent to 1 modulo 4, so that -1 has a square root: `i` is a number there.
PRIMES = (2305843009213693921, 2305843009213693669)


_EXACT_FUNCTIONS = words("abs floor ceil sgn sign Re Im conj max min gcd lcm fact fact2 binom")


class NotRational(ValueError):
    """The value is no fraction, or none that is small enough to write down."""


class Undefined(ArithmeticError):
    """The value does not exist: division by zero, the logarithm of a negative number, an empty domain."""


class Budget:
    """Counts evaluation steps, so that a verdict never depends on how fast the machine is."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Use up steps.

        Raises:
            Unreadable: with reason ``too_large`` when none are left.
        """
        self.left -= steps
        if self.left < 0:
            raise Unreadable(Reason.TOO_LARGE, "step budget")


def _small(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise NotRational
    return value


def integer_root(value: int, degree: int) -> int | None:
    """The exact ``degree``-th root of a non-negative whole number, or None."""
    if value < 2 or degree == 1:
        return value
    if degree > value.bit_length():
        return None
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= value:
            low = middle
        else:
            high = middle - 1
    return low if low**degree == value else None


def _root(value: Fraction, degree: int) -> Fraction:
    if degree <= 0 or degree > 64:
        raise NotRational
    if value < 0:
        if degree % 2 == 0:
            raise NotRational
        return -_root(-value, degree)
    above, below = integer_root(value.numerator, degree), integer_root(value.denominator, degree)
    if above is None or below is None:
        raise NotRational
    return Fraction(above, below)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        if base < 0 and exponent.denominator % 2 == 0:
            raise NotRational
        base, exponent = _root(base, exponent.denominator), Fraction(exponent.numerator)
    if base == 0:
        if exponent <= 0:
            raise Undefined("0 to the power 0" if exponent == 0 else "division by zero")
        return base
    if base in (1, -1):
        return base if base == 1 or exponent.numerator % 2 else Fraction(1)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent.numerator) > MAX_BITS:
        raise NotRational
    return base**exponent.numerator


def _function(name: str, values: list[Fraction]) -> Fraction:
    value = values[0]
    if name == "abs":
        return abs(value)
    if name == "floor":
        return Fraction(math.floor(value))
    if name == "ceil":
        return Fraction(math.ceil(value))
    if name in ("sgn", "sign"):
        return Fraction((value > 0) - (value < 0))
    if name in ("Re", "conj"):
        return value
    if name == "Im":
        return Fraction(0)
    if name in ("max", "min"):
        return max(values) if name == "max" else min(values)
    if any(v.denominator != 1 for v in values):
        raise NotRational
    whole = [v.numerator for v in values]
    if name in ("gcd", "lcm") and len(whole) <= 32:
        return Fraction((math.gcd if name == "gcd" else math.lcm)(*whole))
    if name in ("fact", "fact2"):
        if whole[0] < 0:
            raise Undefined("factorial of a negative number")
        if whole[0] > 500:
            raise NotRational
        return Fraction(math.factorial(whole[0]) if name == "fact" else math.prod(range(whole[0], 0, -2)))
    if name == "binom":
        n, k = whole
        if not (0 <= n <= 4000 and k >= 0):
            raise NotRational
        return Fraction(math.comb(n, k))
    raise NotRational


def exact(node: Node, budget: Budget) -> Fraction:
    """The exact value of a constant.

    Args:
        node: a parsed value.
        budget: steps that may still be used.

    Raises:
        NotRational: the value is no fraction of at most 4,096 bits, or not found to be one this way.
        Undefined: division by zero and the like.
    """
    budget.spend()
    kind = node[0]
    if kind == "num":
        return node[1]
    if kind == "add":
        return _small(exact(node[1], budget) + exact(node[2], budget))
    if kind == "mul":
        return _small(exact(node[1], budget) * exact(node[2], budget))
    if kind == "div":
        above, below = exact(node[1], budget), exact(node[2], budget)
        if below == 0:
            raise Undefined("division by zero")
        return _small(above / below)
    if kind == "neg":
        return -exact(node[1], budget)
    if kind == "pow":
        return _small(_power(exact(node[1], budget), exact(node[2], budget)))
    if kind == "root":
        degree = exact(node[1], budget)
        if degree.denominator != 1:
            raise NotRational
        return _root(exact(node[2], budget), degree.numerator)
    if kind == "deg":
        return exact(node[1], budget)
    if kind == "pct":
        return exact(node[1], budget) / 100
    if kind == "fn" and node[1] in _EXACT_FUNCTIONS:
        return _small(_function(node[1], [exact(argument, budget) for argument in node[2:]]))
    if kind == "fn" and node[1] == "det":
        return determinant(node[2], budget)
    raise NotRational


def determinant(node: Node, budget: Budget) -> Fraction:
    """The determinant of a square matrix of exact entries."""
    if node[0] != "matrix" or len(node[1]) != len(node[1][0]):
        raise NotRational
    rows = [[exact(cell, budget) for cell in row] for row in node[1]]
    size, result = len(rows), Fraction(1)
    budget.spend(size**3)
    for column in range(size):
        pivot = next((r for r in range(column, size) if rows[r][column]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != column:
            rows[column], rows[pivot] = rows[pivot], rows[column]
            result = -result
        result *= rows[column][column]
        for r in range(column + 1, size):
            factor = rows[r][column] / rows[column][column]
            rows[r] = [_small(a - factor * b) for a, b in zip(rows[r], rows[column], strict=True)]
    return result


def modular(node: Node, point: Mapping[str, int], prime: int, budget: Budget) -> int:
    """The value of a rational function at a point of a prime field; ``pi`` and ``e`` are points of their own.

    Raises:
        NotRational: the node is no rational function with rational coefficients and whole exponents.
        Undefined: a denominator vanishes at this point.
    """
    budget.spend()
    kind = node[0]
    if kind == "num":
        return node[1].numerator * pow(node[1].denominator, -1, prime) % prime
    if kind == "sym":
        return point[node[1]]
    if kind == "const":
        if node[1] == "i":
            return pow(point[" nonresidue"], (prime - 1) // 4, prime)
        if node[1] in ("pi", "e"):
            return point[" " + node[1]]
        raise NotRational
    if kind == "add":
        return (modular(node[1], point, prime, budget) + modular(node[2], point, prime, budget)) % prime
    if kind == "mul":
        return modular(node[1], point, prime, budget) * modular(node[2], point, prime, budget) % prime
    if kind == "neg":
        return -modular(node[1], point, prime, budget) % prime
    if kind == "div":
        below = modular(node[2], point, prime, budget)
        if below == 0:
            raise Undefined("division by zero")
        return modular(node[1], point, prime, budget) * pow(below, -1, prime) % prime
    if kind == "pow":
        exponent = exact(node[2], budget)
        if exponent.denominator != 1 or exponent.numerator.bit_length() > 64:
            raise NotRational
        base = modular(node[1], point, prime, budget)
        if base == 0 and exponent <= 0:
            raise Undefined("division by zero")
        return pow(base, exponent.numerator, prime)
    if kind == "deg":
        return modular(node[1], point, prime, budget)
    raise NotRational
