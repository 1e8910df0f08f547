r"""Is a response right? A verifier for mathematical answers with a bounded cost, for any thread, loop or process.

>>> verify("1/2", r"So the answer is \boxed{0.5}.").ok
True
>>> verify("5 m", r"\boxed{5\text{ km}}").reason
<Reason.UNITS: 'units'>
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection

from .compare import NeedsWorker, Result, compare_texts, last_resort_helps
from .explain import explain
from .extract import extract
from .pool import LAST_RESORT_DEADLINE, PoolError
from .pool import pool as shared_pool
from .simplified import is_simplified
from .verdict import Reason, Verdict

__all__ = [
    "PoolError", "Reason", "Verdict", "averify", "equal", "explain", "extract", "is_simplified", "verify", "warm_up",
]  # fmt: skip

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"(-?)(?:\\[dt]?frac\{(-?[0-9]{1,18})\}\{(-?[0-9]{1,18})\}|(-?[0-9]{1,18})(?:/([0-9]{1,18}))?)")


def equal(gold: str, answer: str, extras: Collection[str] = ()) -> Result:
    """Compare two answer texts, without looking for the answer in a response.

    Args:
        gold: the gold answer.
        answer: the answer alone.
        extras: ``["sympy"]`` asks sympy, where it is installed, about what would stay undecided; see `symbolic`.

    Returns:
        The outcome with ``ok``, ``reason`` and the kinds of both answers.

    Raises:
        PoolError: the worker processes could not be started; the answer was not judged.
    """
    if _INTEGER.fullmatch(gold) and _INTEGER.fullmatch(answer):
        same = gold == answer or int(gold) == int(answer)
        return Result(same, Reason.EQUAL_TEXT if same else Reason.WRONG, "number", "number")
    left, right = _plain_fraction(gold), _plain_fraction(answer)
    if left is not None and right is not None:
        same = left[0] * right[1] == right[0] * left[1]
        return Result(same, Reason.EQUAL if same else Reason.WRONG, "number", "number")
    try:
        result = compare_texts(gold, answer, heavy=False)
    except NeedsWorker:
        result = shared_pool().compare(gold, answer)
    if "sympy" in extras and last_resort_helps(gold, result):
        result = shared_pool().compare(gold, answer, LAST_RESORT_DEADLINE, last_resort=True)
    return result


def _plain_fraction(text: str) -> tuple[int, int] | None:
    """Numerator and denominator of a plainly written whole number or fraction; None for anything else."""
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    sign, above, below, number, divisor = match.groups()
    if above is None and sign and number.startswith("-"):
        return None
    numerator, denominator = int(above or number), int(below or divisor or 1)
    return (-numerator if sign else numerator, denominator) if denominator else None


def verify(gold: str | int | float, response: str, extras: Collection[str] = ()) -> Verdict:
    r"""Judge the answer a response commits to.

    Args:
        gold: the gold answer, as text in LaTeX or plain notation, or a number.
        response: the whole response of a model; see `extract` for where its answer is looked for.
        extras: ``["sympy"]`` for a last resort that may take seconds; see `equal`.

    Returns:
        A verdict, true exactly when the answer is right. An answer that is malformed, too large or too expensive
        is wrong with that reason; nothing a response contains raises an exception.

    Raises:
        PoolError: the worker processes could not be started, so nothing was judged.
    """
    start = time.perf_counter()
    found = extract(response)
    if found.text is None:
        return Verdict(False, found.reason, None, seconds=time.perf_counter() - start)
    text = found.text.strip()
    result = equal(str(gold), text, extras)
    return Verdict(
        result.ok, result.reason, text[:2000], result.gold_kind, result.pred_kind, time.perf_counter() - start
    )


async def averify(gold: str | int | float, response: str, extras: Collection[str] = ()) -> Verdict:
    """`verify` for event loops: runs in a thread, so the loop stays free."""
    return await asyncio.to_thread(verify, gold, response, extras)


def warm_up() -> None:
    """Start a worker now, so that the first expensive answer does not wait for it."""
    shared_pool().warm_up()
