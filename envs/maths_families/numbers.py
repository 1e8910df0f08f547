"""Number theory: divisors, remainders, bases, sequences."""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm

import numpy as np

from .base import Problem, family, latex, nonzero, whole

_PRIMES = (2, 3, 5, 7, 11, 13)


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
def congruence(rng: np.random.Generator, level: int) -> Problem:
    """The smallest solution of a linear congruence."""
    modulus = whole(rng, 7, 12 + 12 * level)
    a = whole(rng, 2, modulus - 1)
    while gcd(a, modulus) > 1:
        a = whole(rng, 2, modulus - 1)
    b = whole(rng, 1, modulus - 1)
    text = f"${a}x \\equiv {b} \\pmod{{{modulus}}}$"
    return f"Find the smallest non-negative integer $x$ with {text}.", str(b * pow(a, -1, modulus) % modulus)


@family
def chinese_remainder(rng: np.random.Generator, level: int) -> Problem:
    """The smallest number with two given remainders, or three from level 4 on."""
    moduli: list[int] = []
    while len(moduli) < (2 if level < 4 else 3):
        m = whole(rng, 3, 7 + 3 * level)
        if all(gcd(m, other) == 1 for other in moduli):
            moduli.append(m)
    rests = [whole(rng, 0, m - 1) for m in moduli]
    size = lcm(*moduli)
    value = sum(r * (size // m) * pow(size // m, -1, m) for r, m in zip(rests, moduli, strict=True)) % size
    conditions = [f"remainder {r} when divided by {m}" for r, m in zip(rests, moduli, strict=True)]
    return f"Find the smallest non-negative integer that leaves {' and '.join(conditions)}.", str(value)


@family
def divisors(rng: np.random.Generator, level: int) -> Problem:
    """The number or the sum of the divisors of a number."""
    number, count, total = 1, 1, 1
    for prime in _PRIMES[: 2 + (level + 1) // 2]:
        power = whole(rng, 0, 2 + level // 3)
        number, count = number * prime**power, count * (power + 1)
        total *= (prime ** (power + 1) - 1) // (prime - 1)
    prime = int(rng.choice((17, 19, 23, 29, 31, 37, 41, 43)))
    number, count, total = number * prime, 2 * count, total * (prime + 1)
    if rng.integers(2):
        return f"How many positive divisors does {number} have?", str(count)
    return f"What is the sum of all positive divisors of {number}?", str(total)


@family
def base_conversion(rng: np.random.Generator, level: int) -> Problem:
    """A number in another base; from level 3 on it is also given in one."""
    base, value = whole(rng, 2, 9), whole(rng, 20, 100 * level * level)
    if level < 3:
        return f"Write the decimal number {value} in base {base}.", f"{digits(value, base)}_{{{base}}}"
    other = whole(rng, 2, 9)
    while other == base:
        other = whole(rng, 2, 9)
    return f"Write ${digits(value, other)}_{{{other}}}$ in base {base}.", f"{digits(value, base)}_{{{base}}}"


def digits(value: int, base: int) -> str:
    """The digits of a positive number in a base up to ten."""
    return (digits(value // base, base) if value >= base else "") + str(value % base)


@family
def trailing_zeros(rng: np.random.Generator, level: int) -> Problem:
    """The power of a prime in a factorial."""
    n, prime = whole(rng, 10, 100 * level), int(rng.choice(_PRIMES[: 2 + level]))
    total, power = 0, prime
    while power <= n:
        total, power = total + n // power, power * prime
    return f"What is the largest integer $k$ such that ${prime}^k$ divides ${n}!$?", str(total)


@family
def sequence_sum(rng: np.random.Generator, level: int) -> Problem:
    """The sum of an arithmetic or geometric sequence."""
    first, n = whole(rng, 1, 5 * level), whole(rng, 4, 8 + 3 * level)
    if level < 3 or rng.integers(2):
        step = nonzero(rng, 4 + 2 * level)
        text = f"arithmetic sequence with first term {first} and common difference {step}"
        return f"Find the sum of the first {n} terms of the {text}.", str(n * first + step * n * (n - 1) // 2)
    ratio, n = Fraction(nonzero(rng, 4), whole(rng, 1, 4)), whole(rng, 4, 6 + level)
    total = sum((first * ratio**k for k in range(n)), Fraction(0))
    text = f"geometric sequence with first term {first} and common ratio ${latex(ratio)}$"
    return f"Find the sum of the first {n} terms of the {text}.", latex(total)


@family
def infinite_series(rng: np.random.Generator, level: int) -> Problem:
    """The sum of a geometric series."""
    below = whole(rng, 2, 4 + 2 * level)
    ratio = Fraction(nonzero(rng, below - 1), below)
    first = Fraction(nonzero(rng, 5 + 3 * level), 1 if level < 3 else whole(rng, 1, level))
    text = f"first term ${latex(first)}$ and common ratio ${latex(ratio)}$"
    return f"Find the sum of the infinite geometric series with {text}.", latex(first / (1 - ratio))


@family
def recurrence(rng: np.random.Generator, level: int) -> Problem:
    """A term of a linear recurrence of the second order."""
    p, q = nonzero(rng, 2 + level // 2), whole(rng, 1, 2 + level // 2)
    a, b = whole(rng, 0, 5 + level), whole(rng, 1, 5 + level)
    n = whole(rng, 4, 5 + level)
    before, now = a, b
    for _ in range(n - 1):
        before, now = now, p * now + q * before
    first = {1: "a_{n-1}", -1: "-a_{n-1}"}.get(p, f"{p}a_{{n-1}}")
    second = f"{'+' if q > 0 else '-'}{'' if abs(q) == 1 else abs(q)}a_{{n-2}}"
    start = f"$a_0 = {a}$, $a_1 = {b}$ and $a_n = {first}{second}$ for $n \\ge 2$"
    return f"A sequence is given by {start}. Compute $a_{{{n}}}$.", str(now)
