"""Comparing what came out with what was expected, on the host, as plain data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

Checker = str | Callable[[Any, Any], bool]
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)\Z", re.IGNORECASE)


def lines(text: str) -> list[str]:
    """Lines without trailing white space, and without empty lines at the end."""
    found = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while found and not found[-1]:
        found.pop()
    return found


def exact_lines(got: str, expected: str, _tolerance: float = 0.0) -> bool:
    """Same lines in the same order; white space at line ends and empty lines at the end do not count."""
    return lines(got) == lines(expected)


def unordered_lines(got: str, expected: str, _tolerance: float = 0.0) -> bool:
    """Same lines, as often, in any order."""
    return sorted(lines(got)) == sorted(lines(expected))


def tokens(got: str, expected: str, _tolerance: float = 0.0) -> bool:
    """Same words; how they are spaced does not count."""
    return got.split() == expected.split()


def close(a: float, b: float, tolerance: float) -> bool:
    """Equal up to an absolute or relative tolerance; NaN equals NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


def float_tokens(got: str, expected: str, tolerance: float = 1e-6) -> bool:
    """Same words, where two numbers are the same when they differ by at most the tolerance.

    Example:
        >>> float_tokens("x 0.33333333", "x 0.333333331")
        True
    """
    left, right = got.split(), expected.split()
    return len(left) == len(right) and all(
        a == b or bool(_NUMBER.match(a) and _NUMBER.match(b) and _close_numbers(number(a), number(b), tolerance))
        for a, b in zip(left, right, strict=True)
    )


def number(word: str) -> int | float | Decimal:
    """A number as exactly as its text says it: whole numbers and decimals keep every digit."""
    try:
        exact = Decimal(word)
    except InvalidOperation:  # an exponent of twenty digits
        return float(word)
    return exact if exact.is_finite() else float(word)


def same(got: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Whether two pieces of plain data are equal.

    A list equals a tuple with the same elements (expected values often come from JSON), an int equals a float of the
    same value, a bool equals only a bool, and NaN equals NaN.

    Example:
        >>> same((1, [2.0]), [1, (2,)]), same(True, 1)
        (True, False)
    """
    if isinstance(got, bool) or isinstance(expected, bool) or got is None or expected is None:
        return type(got) is type(expected) and got == expected
    if isinstance(got, (int, float)) and isinstance(expected, (int, float)):
        return _close_numbers(got, expected, tolerance)
    if isinstance(got, complex) and isinstance(expected, (complex, int, float)):
        other = complex(expected)
        return close(got.real, other.real, tolerance) and close(got.imag, other.imag, tolerance)
    if isinstance(got, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(got) == len(expected) and all(same(a, b, tolerance) for a, b in zip(got, expected, strict=True))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(got[key], expected[key], tolerance) for key in got)
    if isinstance(got, (set, frozenset)) and isinstance(expected, (set, frozenset)):
        return got == expected
    return type(got) is type(expected) and got == expected


def _close_numbers(a: int | float | Decimal, b: int | float | Decimal, tolerance: float) -> bool:
    """As ``close``, but without a tolerance nothing is rounded, and whole numbers keep every digit with one."""
    if a == b or not tolerance:
        return a == b or (a != a and b != b)
    if isinstance(a, int) and isinstance(b, int):
        return abs(a - b) <= Fraction(tolerance) * max(abs(a), abs(b), 1)
    try:
        left, right = float(a), float(b)
    except OverflowError:
        return False
    if any(math.isinf(rounded) and rounded != exact for rounded, exact in ((left, a), (right, b))):
        return False  # beyond any float: equal or not
    return close(left, right, tolerance)


def unordered(got: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Same elements, as often, in any order."""
    try:
        left, rest = list(got), list(expected)
    except TypeError:
        return False
    if len(left) != len(rest) or len(left) > 5000 or isinstance(got, (str, bytes, dict)):
        return False
    for item in left:
        for place, other in enumerate(rest):
            if same(item, other, tolerance):
                del rest[place]
                break
        else:
            return False
    return True


TEXT = {"exact_lines": exact_lines, "tokens": tokens, "float": float_tokens, "unordered_lines": unordered_lines}
DATA = {"exact": same, "float": same, "set": unordered}


def check(checker: Checker, kinds: dict[str, Callable[..., bool]], got: Any, expected: Any, tolerance: float) -> bool:
    """Apply a checker by name, or a custom one as ``checker(got, expected)``.

    Raises:
        ValueError: the name is unknown.
    """
    if callable(checker):
        return bool(checker(got, expected))
    return kinds[named(checker, kinds)](got, expected, 0.0 if checker == "exact" else tolerance)


def named(checker: Checker, kinds: dict[str, Callable[..., bool]]) -> str:
    """The checker's name, if it is one of ``kinds``."""
    if not isinstance(checker, str) or checker not in kinds:
        raise ValueError(f"checker is {checker!r}; choose from {', '.join(kinds)} or give a function")
    return checker
