"""Two tasks on which prompt repetition shows: the i-th name of a list, and the item between two others."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..schema import Feedback, Task
from .registry import env
from .replies import visible
from .turns import Result

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "kl", "st", "tr")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "eo")
_ENDS = ("n", "r", "s", "l", "th", "m")


@env("palaestra/NameIndex-v0")
def name_index(rng: np.random.Generator, size: int = 50) -> Task:
    """Return the name at a given position of a list.

    Args:
        rng: drawn from by ``reset(seed=)``.
        size: length of the list.
    """
    names = _names(rng, size)
    at = int(rng.integers(size))
    prompt = f"{', '.join(names)}\n\nWhich name is number {at + 1} of the list? Reply with the name only."
    return Task(prompt=prompt, answer=_exactly(names[at]), metadata={"answer_at": at})


@env("palaestra/MiddleMatch-v0")
def middle_match(rng: np.random.Generator, size: int = 40) -> Task:
    """Return the item that stands between two given items of a list.

    Args:
        rng: drawn from by ``reset(seed=)``.
        size: length of the list.
    """
    if size < 3:
        raise ValueError(f"size={size}: give at least 3")
    names = _names(rng, size)
    at = int(rng.integers(1, size - 1))
    prompt = (
        f"{', '.join(names)}\n\nWhich item of the list stands between {names[at - 1]} and {names[at + 1]}? "
        "Reply with the item only."
    )
    return Task(prompt=prompt, answer=_exactly(names[at]), metadata={"answer_at": at})


@name_index.oracle  # type: ignore[attr-defined]
def _solve_index(rng: np.random.Generator, **knobs: Any) -> str:
    return _solved(name_index(rng, **knobs))


@middle_match.oracle  # type: ignore[attr-defined]
def _solve_middle(rng: np.random.Generator, **knobs: Any) -> str:
    return _solved(middle_match(rng, **knobs))


def _solved(task: Task) -> str:
    return str(task.prompt).partition("\n")[0].split(", ")[task.metadata["answer_at"]]


def _exactly(name: str) -> Any:
    def grade(response: str) -> Result:
        text = visible(response).strip().strip(".\"'`*").strip()
        if not text:
            return Result(0.0, Feedback(text="The reply is empty.", kind="format"), "no_answer")
        if len(text.split()) > 1:
            return Result(0.0, Feedback(text="Reply with one word only.", kind="format"), "not_one_word")
        right = text.casefold() == name.casefold()
        return Result(float(right), "Correct." if right else "Incorrect.", "correct" if right else "wrong")

    return grade


def _names(rng: np.random.Generator, size: int) -> list[str]:
    if not 1 <= size <= 2000:
        raise ValueError(f"size={size}: give 1 to 2000")
    found: dict[str, None] = {}
    while len(found) < size:
        parts = (_ONSETS, _VOWELS, _ONSETS, _VOWELS, _ENDS)
        found["".join(part[int(rng.integers(len(part)))] for part in parts).capitalize()] = None
    return list(found)
