"""Sort digits: the smallest task on which learning shows within seconds. ``527140`` is answered by ``012457``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..schema import Feedback, Task
from .registry import env
from .replies import visible
from .turns import Result


@env("palaestra/Sort-v0")
def sort(rng: np.random.Generator, digits: int = 6) -> Task:
    """Write the digits of the prompt in ascending order; exact match.

    Args:
        rng: drawn from by ``reset(seed=)``.
        digits: how many digits.
    """
    if not 1 <= digits <= 100:
        raise ValueError(f"digits={digits}: give 1 to 100")
    prompt = "".join(str(d) for d in rng.integers(0, 10, digits))

    def grade(response: str) -> Result:
        text = visible(response).strip()
        if text == "".join(sorted(prompt)):
            return Result(1.0, "Correct.", "correct", info={"extracted": text})
        if not text.isascii() or not text.isdigit():
            return Result(0.0, Feedback(text="The reply is not a string of digits.", kind="format"), "not_digits")
        if len(text) != digits:
            note = Feedback(text=f"The reply has {len(text)} digits, {digits} are asked for.", kind="constraint")
            return Result(0.0, note, "wrong_length", info={"extracted": text})
        if sorted(text) != sorted(prompt):
            note = Feedback(text="The reply does not have the digits of the prompt.", kind="constraint")
            return Result(0.0, note, "wrong_digits", info={"extracted": text})
        return Result(0.0, "The digits are not in ascending order.", "wrong_order", info={"extracted": text})

    return Task(prompt=prompt, answer=grade)


@sort.oracle  # type: ignore[attr-defined]
def _solve(rng: np.random.Generator, **knobs: Any) -> str:
    return "".join(sorted(str(sort(rng, **knobs).prompt)))
