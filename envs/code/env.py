"""palaestra/Code-v0: write programs, graded by tests in the sandbox."""

from __future__ import annotations

import numpy as np

from ...schema import Task
from ..registry import env
from ..turns import Result
from .families import FAMILIES, LEVELS
from .files import load_file
from .grading import grade_problem
from .problem import Problem

REWARDS = ("share", "all")


@env("palaestra/Code-v0", local_only=("tasks",), blocking=True, feedback_bits=None)  # it shows feedback tests
def code(
    rng: np.random.Generator,
    family: str = "mixed",
    level: int = 1,
    tasks: str | None = None,
    reward: str = "share",
    public: int = 1,
    shown: float = 0.0,
) -> Task:
    """Write code that passes tests. Hidden tests count too; they are only told by their kind of failure.

    Args:
        rng: drawn from by ``reset(seed=)``.
        family: a generated family, several joined by commas, or ``mixed`` for all.
        level: difficulty from 1 to 3.
        tasks: a file of problems instead: APPS, TACO, LiveCodeBench, HumanEval or MBPP.
        reward: ``share`` of tests passed (above what a program printed in the prompt passes as it stands), or ``all``
            or nothing.
        public: tests of a file's problem that stand in the prompt, where the file does not say.
        shown: share of the other tests of a file's problem that may be shown when they fail.
    """
    if reward not in REWARDS:
        raise ValueError(f"reward={reward!r}; choose 'share' or 'all'")
    if tasks is not None:
        found = load_file(tasks, public, shown).problems
        problem, key = found[int(rng.integers(len(found)))], "file"
    else:
        problem, key = draw(rng, family, level)

    def grade(response: str) -> Result:
        return grade_problem(problem, response, reward)

    grade.secrets = hidden_outputs(problem)  # type: ignore[attr-defined]  # for the leak test
    return Task(id="", prompt=problem.prompt, answer=grade, metadata={"family": key, "problem": problem.id})


@code.oracle  # type: ignore[attr-defined]
def _solve(rng: np.random.Generator, **knobs: object):  # type: ignore[no-untyped-def]
    problem, _ = draw(rng, str(knobs.get("family", "mixed")), int(str(knobs.get("level", 1))))
    yield problem.solutions["reference"]


def hidden_outputs(problem: Problem) -> list[str]:
    """Expected outputs that no feedback may show: of hidden tests, unless an open test has them or they are short."""
    shown = {test.shown_output.strip() for test in problem.tests if test.visibility != "hidden"}
    hidden = [test.shown_output.strip() for test in problem.tests if test.visibility == "hidden"]
    return [text for text in hidden if len(text) > 4 and text not in shown and text not in problem.prompt]


def draw(rng: np.random.Generator, family: str, level: int) -> tuple[Problem, str]:
    """A generated problem and the name of its family.

    Raises:
        ValueError: an unknown family or level.
    """
    names = sorted(FAMILIES) if family == "mixed" else [name.strip() for name in family.split(",")]
    unknown = [name for name in names if name not in FAMILIES]
    if unknown:
        raise ValueError(f"family={unknown[0]!r} is no family; choose from {', '.join(sorted(FAMILIES))}, or 'mixed'")
    if level not in LEVELS:
        raise ValueError(f"level={level!r} is no level; choose 1, 2 or 3")
    name = names[int(rng.integers(len(names)))]
    return FAMILIES[name](rng, level), name
