"""Which verifier judges an answer: numbers and text go to mathematics, tests to code, a callable judges itself."""

from __future__ import annotations

import asyncio
import cmath
import inspect
import numbers
from collections.abc import Awaitable, Callable, Mapping
from fractions import Fraction
from importlib import import_module
from typing import Any

from ..schema import Feedback, Task
from .turns import Gold, Result, as_result
from .worked_out import in_form_of, worked_out

Grader = Callable[[Gold, str, Task], Result]

_FIX = "give a number, text, a dict with 'tests', or a function of the response"
AsyncGrader = Callable[[Gold, str, Task], Awaitable[Result]]


def grade(gold: Gold, response: str, task: Task) -> Result:
    """Judge ``response`` by the verifier of the gold's type.

    Args:
        gold: the answer.
        response: the policy's whole reply.
        task: the task, for its metadata.

    Raises:
        TypeError: no verifier takes a gold of this type.
    """
    return _grader(gold)[0](gold, response, task)


async def agrade(gold: Gold, response: str, task: Task) -> Result:
    """The async twin of :func:`grade`: slow verifiers run off the event loop."""
    return await _grader(gold)[1](gold, response, task)


def register_grader(accepts: Callable[[Any], bool], grader: Grader, agrader: AsyncGrader | None = None) -> None:
    """Add a verifier for golds that ``accepts`` recognises; the latest registration is asked first.

    Args:
        accepts: looks at the revealed gold.
        grader: judges in plain code.
        agrader: judges in an event loop; by default ``grader`` in a thread.
    """

    async def in_thread(gold: Gold, response: str, task: Task) -> Result:
        return await asyncio.to_thread(grader, gold, response, task)

    _GRADERS.insert(0, (accepts, grader, agrader or in_thread))


def require(value: Any, where: str) -> None:
    """Refuse an answer that no verifier could ever match, when the task is drawn and not when a reply is judged.

    Args:
        value: the answer.
        where: the environment, named in the error.

    Raises:
        TypeError: no verifier takes an answer of this type.
        ValueError: it is empty, not a finite number, or its tests are malformed.
    """
    if value is None:
        raise TypeError(f"{where}: the answer is None; {_FIX}, or define verify(self, task, response)")
    if isinstance(value, bool):
        raise TypeError(f"{where}: the answer is the bool {value}; give the text the policy must send, e.g. 'yes'")
    if isinstance(value, str) and not value.strip():
        raise ValueError(f"{where}: the answer is the empty text {value!r}; {_FIX}")
    if isinstance(value, float | complex) and not cmath.isfinite(value):
        raise ValueError(f"{where}: the answer is {value!r}; give a finite number, or text such as '\\infty'")
    if _is_tests(value):
        from .code import from_gold

        try:
            from_gold(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{where}: the answer's tests cannot be used: {error}") from None
    if not any(accepts(value) for accepts, _, _ in _GRADERS):
        raise TypeError(f"{where}: no verifier takes the answer {_short(value)}; {_FIX}")


def gold_answer(gold: Gold) -> str | None:
    """A reply that the gold's verifier accepts, for checks; None when the type does not tell."""
    value = gold.reveal()
    if _is_maths(value):
        return f"\\boxed{{{_written(value)}}}"
    return None


def plain(value: Any) -> Any:
    """``value`` without numpy: numpy scalars become Python numbers or text."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


# ---- the three built-in kinds --------------------------------------------------------------------------------------


def _is_maths(value: Any) -> bool:
    return isinstance(value, str | Fraction | numbers.Number) and not isinstance(value, bool)


def _written(value: Any) -> str:
    if isinstance(value, Fraction) and value.denominator != 1:
        return f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
    return str(value)


def _maths(gold: Gold, response: str, task: Task) -> Result:
    from .verify import verify

    return _worked_out(gold, of_maths(verify(_written(gold.reveal()), response)), task)


async def _amaths(gold: Gold, response: str, task: Task) -> Result:
    """The maths verifier in its own worker pool when it has one, else in a thread."""
    module = import_module(".verify", __package__)
    averify = getattr(module, "averify", None)
    if averify is None:
        return await asyncio.to_thread(_maths, gold, response, task)
    return _worked_out(gold, of_maths(await averify(_written(gold.reveal()), response)), task)


def _worked_out(gold: Gold, result: Result, task: Task) -> Result:
    """``result``, unless the answer only repeats the question: arithmetic where the gold is a number, and in tasks with
    ``metadata["form"] == "gold"`` any form that is less simple than the gold's."""
    answer = result.info.get("extracted")
    if result.reward != 1.0 or answer is None:
        return result
    good = in_form_of if task is not None and task.metadata.get("form") == "gold" else worked_out
    if good(str(answer), _written(gold.reveal())):
        return result
    note = Feedback(text="The answer is not worked out; give it in its simplest form.", kind="format")
    return Result(0.0, note, "not_worked_out", info=result.info)


def of_maths(verdict: Any) -> Result:
    """A maths verdict (``ok``, ``reason``, ``extracted``) as a result; its feedback is built from the reason alone."""
    reason = str(getattr(verdict.reason, "value", verdict.reason))
    explain = getattr(import_module(".verify", __package__), "explain", None)
    notes = explain(verdict) if explain is not None else ("Correct." if verdict.ok else "Incorrect value.")
    if isinstance(notes, str):
        notes = Feedback(text=notes, kind="correct" if verdict.ok else "incorrect")
    info = {"extracted": str(verdict.extracted)} if getattr(verdict, "extracted", None) is not None else {}
    return Result(1.0 if verdict.ok else 0.0, notes, reason, info=info)


def _is_tests(value: Any) -> bool:
    return isinstance(value, Mapping) and "tests" in value


def _code(gold: Gold, response: str, task: Task) -> Result:
    from .code import grade_code

    return grade_code(gold, response, task)


async def _acode(gold: Gold, response: str, task: Task) -> Result:
    return await asyncio.to_thread(_code, gold, response, task)


def _itself(gold: Gold, response: str, task: Task) -> Result:
    return as_result(settled(gold.reveal()(response)), "the answer's checker")


async def _aitself(gold: Gold, response: str, task: Task) -> Result:
    value = gold.reveal()(response)
    return as_result(await value if inspect.isawaitable(value) else value, "the answer's checker")


def settled(value: Any) -> Any:
    """What an author's function returned; of a coroutine function the result, waited for on the background loop."""
    if not inspect.isawaitable(value):
        return value
    from .tools import run_coroutine

    async def wait() -> Any:
        return await value

    return run_coroutine(wait(), timeout=None)


_GRADERS: list[tuple[Callable[[Any], bool], Grader, AsyncGrader]] = [
    (callable, _itself, _aitself),
    (_is_tests, _code, _acode),
    (_is_maths, _maths, _amaths),
]


def _grader(gold: Gold) -> tuple[Grader, AsyncGrader]:
    value = gold.reveal()
    for accepts, grader, agrader in _GRADERS:
        if accepts(value):
            return grader, agrader
    raise TypeError(f"no verifier takes the answer {_short(value)}; {_FIX}")


def _short(value: Any) -> str:
    return f"of type {type(value).__name__}: {str(value)[:60]!r}"
