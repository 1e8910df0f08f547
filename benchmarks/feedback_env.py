"""A sorting task for measuring self-distillation: the policy first learns, supervised, to use what a teacher is shown.

`lab/HintedSort-v0` is `527140>` answered by `012457`. A share of its prompts (`shown`) also carries a solved copy or a
hint, laid out exactly as SDPO's self-teacher lays them out. A warm start on many such prompts gives a policy that reads
both and sorts badly without; training and evaluation use `shown = 0`. Feedback on a wrong reply is the right one up to
and with the first digit that was wrong, which reveals a part of the answer on purpose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import palaestra as pl
from palaestra.envs.turns import Result
from palaestra.schema import Feedback, Message, Task
from palaestra.trainer.objectives.teachers import Reprompt, reprompt

LAYOUT = Reprompt(solution_text="=", feedback_text="!", closing_text="?")
"""One-character headings, as `configs/feedback.toml` sets them for the objective: the policy reads characters."""


def hint(right: str, given: str) -> str:
    """The right reply up to and with the first digit that is wrong in a given one."""
    place = next((i for i, digit in enumerate(right) if given[i : i + 1] != digit), len(right) - 1)
    return right[: place + 1]


@pl.env("lab/HintedSort-v0")
def hinted_sort(rng: np.random.Generator, digits: int = 6, shown: float = 0.0) -> Task:
    """Sort digits; see the module.

    Args:
        rng: drawn from by ``reset(seed=)``.
        digits: how many digits.
        shown: share of prompts that carry a solution or a hint, half each.
    """
    given, right, prompt = _draw(rng, digits, shown)

    def grade(response: str) -> Result:
        text = response.strip()
        if text == right:
            return Result(1.0, "Correct.", "correct", info={"extracted": text})
        return Result(0.0, Feedback(text=hint(right, text), kind="incorrect"), "wrong", info={"extracted": text})

    return Task(prompt=prompt, answer=grade, metadata={"split_key": given})


@hinted_sort.oracle
def _solve(rng: np.random.Generator, **knobs: Any) -> str:
    return _draw(rng, knobs.get("digits", 6), knobs.get("shown", 0.0))[1]


def _draw(rng: np.random.Generator, digits: int, shown: float) -> tuple[str, str, str]:
    given = "".join(str(d) for d in rng.integers(0, 10, digits))
    right = "".join(sorted(given))
    kind, place = rng.random(), int(rng.integers(digits))
    if kind >= shown:
        return given, right, given
    solution = right if kind < shown / 2 else None
    feedback = "" if solution else right[: place + 1]
    (message,) = reprompt((Message(role="user", content=given),), solution, feedback, LAYOUT)
    return given, right, message.text
