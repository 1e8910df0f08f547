"""A task with several right answers of known kinds: rewrite a digit string in any of `strategies` ways and say which.

Made for watching a policy collapse: the number of right strategies is known, every answer names its own, and they
differ in difficulty (copying is easier than sorting), so a policy that only maximises reward drifts to the easiest.
``5274>`` may be answered ``a5274``, ``b4725`` (reversed), ``c2457`` (ascending), ``d7542`` (descending), ``e2745``
(rotated left) or ``f6385`` (every digit plus one).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..schema import Feedback, Task
from .registry import env
from .replies import visible
from .turns import Result

STRATEGIES: dict[str, tuple[str, Callable[[str], str]]] = {
    "a": ("the digits as they are", lambda s: s),
    "b": ("the digits reversed", lambda s: s[::-1]),
    "c": ("the digits in ascending order", lambda s: "".join(sorted(s))),
    "d": ("the digits in descending order", lambda s: "".join(sorted(s, reverse=True))),
    "e": ("the first digit moved to the end", lambda s: s[1:] + s[:1]),
    "f": ("every digit plus one, nine becoming zero", lambda s: "".join(str((int(c) + 1) % 10) for c in s)),
}


@env("palaestra/Strategies-v0")
def strategies(rng: np.random.Generator, digits: int = 4, strategies: int = 4, prompt: str = "compact") -> Task:
    """Answer with a strategy's letter and the digits it makes; any of them is right.

    Args:
        rng: drawn from by ``reset(seed=)``.
        digits: how many digits.
        strategies: how many of the six strategies are allowed; this is the known number of distinct right answers.
        prompt: "compact" for tiny models, "words" to explain the task.
    """
    if not 1 <= digits <= 50:
        raise ValueError(f"digits={digits}: give 1 to 50")
    if not 1 <= strategies <= len(STRATEGIES):
        raise ValueError(f"strategies={strategies}: give 1 to {len(STRATEGIES)}")
    if prompt not in ("compact", "words"):
        raise ValueError(f"prompt={prompt!r}: give 'compact' or 'words'")
    given = "".join(str(d) for d in rng.integers(0, 10, digits))
    allowed = list(STRATEGIES)[:strategies]
    text = f"{given}>"
    if prompt == "words":
        ways = "; ".join(f"{letter}: {STRATEGIES[letter][0]}" for letter in allowed)
        text = f"Rewrite {given} in one of these ways and reply with its letter followed by the digits. {ways}."

    def grade(response: str) -> Result:
        answer = visible(response).strip()
        letter, body = answer[:1], answer[1:]
        if letter not in allowed:
            note = Feedback(text=f"The reply must start with one of {', '.join(allowed)}.", kind="format")
            return Result(0.0, note, "no_strategy")
        info = {"solution_key": letter, "extracted": answer}
        if body == STRATEGIES[letter][1](given):
            return Result(1.0, "Correct.", "correct", info=info)
        return Result(0.0, f"These are not the digits that strategy {letter} makes.", "wrong_digits", info=info)

    return Task(prompt=text, answer=grade, metadata={"digits": given, "strategies": strategies})


@strategies.oracle  # type: ignore[attr-defined]
def _solve(rng: np.random.Generator, **knobs: Any) -> str:
    """The right answer of a random strategy, so that demonstrations cover all of them."""
    task = strategies(rng, **knobs)
    letter = list(STRATEGIES)[int(rng.integers(task.metadata["strategies"]))]
    return letter + STRATEGIES[letter][1](task.metadata["digits"])
