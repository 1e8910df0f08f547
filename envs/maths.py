r"""Mathematics: generated problem families with difficulty levels, or tasks from a file, judged exactly.

The answer is read from ``\boxed{}`` (or one of the other places `palaestra.envs.verify.extract` looks at) and compared
as a value, so every right notation counts. Feedback is built from the verdict's reason and the attempt alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..schema import Message, Task
from .maths_families import FAMILIES, LEVELS, SUBJECTS
from .registry import env

INSTRUCTION = "Give the exact final answer, worked out, in \\boxed{}."


@env("palaestra/Math-v0", local_only=("tasks",))
def maths(
    rng: np.random.Generator,
    family: str = "mixed",
    level: int = 2,
    tasks: str | None = None,
    columns: Mapping[str, str] | None = None,
    instruction: str = INSTRUCTION,
) -> Task:
    """Solve a maths problem; the final answer goes into a box.

    Args:
        rng: drawn from by ``reset(seed=)``.
        family: a generated family or a subject, several joined by commas, or ``mixed`` for all.
        level: difficulty from 1 to 5; 0 draws a level for each task.
        tasks: a file of problems instead of generated ones, in the columns of GSM8K, MATH, AIME or DAPO.
        columns: names of the columns in that file, where they are not found by themselves.
        instruction: the sentence after the problem that says how to answer.
    """
    if tasks is not None:
        return _from_file(rng, tasks, columns, instruction)
    names = _families(family)
    if level not in (0, *LEVELS):
        raise ValueError(f"level={level!r} is no level; choose 1 to 5, or 0 for any")
    name = names[int(rng.integers(len(names)))]
    drawn = level or int(rng.integers(LEVELS[0], LEVELS[-1] + 1))
    problem, answer = FAMILIES[name](rng, drawn)
    return Task(
        id="",
        prompt=f"{problem}\n{instruction}",
        answer=answer,
        metadata={"family": name, "level": drawn, "split_key": problem, "form": "gold"},
    )


def _families(family: str) -> list[str]:
    """Names of families in place of "mixed" and of subjects."""
    names: list[str] = []
    for name in family.split(","):
        name = name.strip()
        if name != "mixed" and name not in SUBJECTS and name not in FAMILIES:
            raise ValueError(
                f"family={name!r} is none; choose 'mixed', a subject ({', '.join(sorted(SUBJECTS))}) "
                f"or a family ({', '.join(sorted(FAMILIES))})"
            )
        names += sorted(FAMILIES) if name == "mixed" else SUBJECTS.get(name, (name,))
    return list(dict.fromkeys(names))


def _from_file(rng: np.random.Generator, path: str, columns: Mapping[str, str] | None, instruction: str) -> Task:
    loaded = _load(path, tuple(sorted((columns or {}).items())))
    task = loaded[int(rng.integers(len(loaded)))]
    return task.model_copy(update={"prompt": _with_instruction(task.prompt, instruction)})


@lru_cache(maxsize=8)
def _load(path: str, columns: tuple[tuple[str, str], ...]) -> Sequence[Task]:
    from .data import tasks

    found = list(tasks(path, kind="math", columns=dict(columns) or None))
    if not found:
        raise ValueError(f"tasks={path!r} holds no usable problem; each needs a question and an answer")
    return found


def _with_instruction(prompt: Any, instruction: str) -> Any:
    """The prompt with the instruction at its end, unless it asks for a box already."""
    if isinstance(prompt, str):
        return prompt if "\\boxed" in prompt or not instruction else f"{prompt}\n{instruction}"
    messages = tuple(prompt)
    if any("\\boxed" in message.text for message in messages) or not instruction:
        return messages
    last = messages[-1]
    return (*messages[:-1], Message(role=last.role, content=f"{last.text}\n{instruction}"))
