"""Comparing outputs exactly: decimal numbers as decimals, line structure kept, and plain data by type."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?\Z", re.ASCII)


def decimal_lines(got: str, expected: str) -> bool:
    """Same number of lines, and in each the same words, where numbers are compared as decimals.

    Never as floats: 5e16 and 50000000000000001 differ.

    >>> decimal_lines("1.0 a\\n", "1 a"), decimal_lines("1 2", "1\\n2")
    (True, False)
    """
    left, right = got.strip().split("\n"), expected.strip().split("\n")
    if len(left) != len(right):
        return False
    return all(_line(a.strip(), b.strip()) for a, b in zip(left, right, strict=True))


def _line(a: str, b: str) -> bool:
    if a == b:
        return True
    x, y = a.split(), b.split()
    return len(x) == len(y) and all(_token(p, q) for p, q in zip(x, y, strict=True))


def _token(a: str, b: str) -> bool:
    if a == b:
        return True
    if len(a) > 5000 or len(b) > 5000 or not _DECIMAL.match(a) or not _DECIMAL.match(b):
        return False
    try:
        return Decimal(a) == Decimal(b)
    except InvalidOperation:
        return False


def exact_data(got: Any, expected: Any) -> bool:
    """Equal plain data: a tuple is a list, a bool is no number, whole numbers are compared exactly, NaN equals NaN.

    >>> exact_data((1, [2]), [1, (2,)]), exact_data(True, 1), exact_data(5 * 10**16 + 1, 5e16)
    (True, False, False)
    """
    if isinstance(got, bool) or isinstance(expected, bool) or got is None or expected is None:
        return type(got) is type(expected) and got == expected
    if isinstance(got, int | float) and isinstance(expected, int | float):
        if isinstance(got, float) and isinstance(expected, float) and math.isnan(got) and math.isnan(expected):
            return True
        return got == expected
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(exact_data(a, b) for a, b in zip(got, expected, strict=True))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(exact_data(got[key], expected[key]) for key in got)
    return type(got) is type(expected) and got == expected


def apps_data(got: Any, expected: Any) -> bool:
    """As `exact_data`, but APPS wraps many expected values in a list of one."""
    return exact_data(got, expected) or (
        isinstance(expected, list) and len(expected) == 1 and exact_data(got, expected[0])
    )
