"""Small programs with known faults: find the fault, or write tests that catch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..checkers import exact_data
from ..grading import Captured
from ..problem import CodeTest, Judged, Problem, call
from .common import choice, numbers, reply, source, spin, visibility, whole

Run = Callable[[list[int], int], Any]


@dataclass(frozen=True)
class Mutant:
    """A fault: the text it replaces in the program, and the faulty behaviour."""

    old: str
    new: str
    run: Run


@dataclass(frozen=True)
class Program:
    """A function of a list of integers and an integer, with faults of three kinds: operator, off by one, variable."""

    words: str
    code: str
    run: Run
    mutants: tuple[Mutant, ...]

    def with_fault(self, mutant: Mutant) -> str:
        """The source with one fault."""
        assert self.code.count(mutant.old) == 1, (mutant.old, self.code)
        return self.code.replace(mutant.old, mutant.new)


def _runs(x: list[int], better: Callable[[int, int], bool], start: int = 1) -> int:
    best = length = start
    for a, b in pairwise(x):
        length = length + 1 if better(a, b) else start
        best = max(best, length)
    return best if x else 0


PROGRAMS = (
    Program(
        "the number of elements of xs that are greater than k",
        source("""
            def solve(xs, k):
                count = 0
                for x in xs:
                    if x > k:
                        count += 1
                return count
        """),
        lambda x, k: sum(v > k for v in x),
        (
            Mutant("x > k", "x >= k", lambda x, k: sum(v >= k for v in x)),
            Mutant("x > k", "x < k", lambda x, k: sum(v < k for v in x)),
            Mutant("count += 1", "count += x", lambda x, k: sum(v for v in x if v > k)),
        ),
    ),
    Program(
        "the sum of every k-th element of xs, beginning with the first (k is at least 1)",
        source("""
            def solve(xs, k):
                total = 0
                for i in range(0, len(xs), k):
                    total += xs[i]
                return total
        """),
        lambda x, k: sum(x[::k]),
        (
            Mutant("range(0,", "range(1,", lambda x, k: sum(x[1::k])),
            Mutant("len(xs)", "len(xs) - 1", lambda x, k: sum(x[: max(len(x) - 1, 0) : k])),
            Mutant("total += xs[i]", "total += i", lambda x, k: sum(range(0, len(x), k))),
            Mutant("len(xs), k", "len(xs), 1", lambda x, k: sum(x)),
        ),
    ),
    Program(
        "the length of the longest strictly increasing stretch in xs (0 for an empty list; k has no effect)",
        source("""
            def solve(xs, k):
                if not xs:
                    return 0
                best = length = 1
                for a, b in zip(xs, xs[1:]):
                    length = length + 1 if a < b else 1
                    best = max(best, length)
                return best
        """),
        lambda x, k: _runs(x, lambda a, b: a < b),
        (
            Mutant("a < b", "a <= b", lambda x, k: _runs(x, lambda a, b: a <= b)),
            Mutant("a < b", "a > b", lambda x, k: _runs(x, lambda a, b: a > b)),
            Mutant("return best", "return length", lambda x, k: _last_run(x)),
        ),
    ),
    Program(
        "the number of pairs of positions i < j with xs[i] + xs[j] == k",
        source("""
            def solve(xs, k):
                pairs = 0
                for i in range(len(xs)):
                    for j in range(i + 1, len(xs)):
                        if xs[i] + xs[j] == k:
                            pairs += 1
                return pairs
        """),
        lambda x, k: sum(x[i] + x[j] == k for i in range(len(x)) for j in range(i + 1, len(x))),
        (
            Mutant(
                "range(i + 1,",
                "range(i,",
                lambda x, k: sum(x[i] + x[j] == k for i in range(len(x)) for j in range(i, len(x))),
            ),
            Mutant(
                "+ xs[j]",
                "- xs[j]",
                lambda x, k: sum(x[i] - x[j] == k for i in range(len(x)) for j in range(i + 1, len(x))),
            ),
            Mutant(
                "+ xs[j]", "+ j", lambda x, k: sum(x[i] + j == k for i in range(len(x)) for j in range(i + 1, len(x)))
            ),
        ),
    ),
    Program(
        "xs with every element replaced by the largest of itself and the k elements before it",
        source("""
            def solve(xs, k):
                result = []
                for i in range(len(xs)):
                    result.append(max(xs[max(0, i - k):i + 1]))
                return result
        """),
        lambda x, k: [max(x[max(0, i - k) : i + 1]) for i in range(len(x))],
        (
            Mutant("max(xs[", "min(xs[", lambda x, k: [min(x[max(0, i - k) : i + 1]) for i in range(len(x))]),
            Mutant("i - k)", "i - k + 1)", lambda x, k: [max(x[max(0, i - k + 1) : i + 1]) for i in range(len(x))]),
            Mutant("i - k)", "i)", lambda x, k: list(x)),
        ),
    ),
    Program(
        "the elements of xs without every element that equals its direct predecessor plus k",
        source("""
            def solve(xs, k):
                kept = []
                for i, x in enumerate(xs):
                    if i == 0 or x != xs[i - 1] + k:
                        kept.append(x)
                return kept
        """),
        lambda x, k: [v for i, v in enumerate(x) if i == 0 or v != x[i - 1] + k],
        (
            Mutant("+ k", "- k", lambda x, k: [v for i, v in enumerate(x) if i == 0 or v != x[i - 1] - k]),
            Mutant("x != xs", "x == xs", lambda x, k: [v for i, v in enumerate(x) if i == 0 or v == x[i - 1] + k]),
            Mutant("append(x)", "append(i)", lambda x, k: [i for i, v in enumerate(x) if i == 0 or v != x[i - 1] + k]),
        ),
    ),
)


def _last_run(x: list[int]) -> int:
    length = 1
    for a, b in pairwise(x):
        length = length + 1 if a < b else 1
    return length if x else 0


def _inputs(rng: np.random.Generator, level: int) -> tuple[list[int], int]:
    return numbers(rng, -3, 3 + level, whole(rng, 4, 7 + 2 * level)), whole(rng, 1, 3)


def repair(rng: np.random.Generator, level: int) -> Problem:
    """Find and mend a fault; every test that is kept fails for the faulty program, or guards what works."""
    program = choice(rng, PROGRAMS)
    mutant = choice(rng, program.mutants)
    inputs: list[tuple[list[int], int]] = []
    while len(inputs) < 8:
        xs, k = _inputs(rng, level)
        kills = program.run(xs, k) != mutant.run(xs, k)
        if kills or len(inputs) in (3, 6):
            inputs.append((xs, k))
    tests = tuple(
        call(str(i + 1), "solve", [xs, k], program.run(xs, k), visibility(i)) for i, (xs, k) in enumerate(inputs)
    )
    faulty = program.with_fault(mutant)
    statement = f"This function should return {program.words}, but it has a fault. Write it correctly.\n\n{faulty}"
    solutions = {"reference": reply(program.code), "wrong": reply(faulty), "slow": reply(spin(program.code))}
    kept = sum(program.run(xs, k) == mutant.run(xs, k) for xs, k in inputs)
    return Problem(statement, tests, solutions=solutions, baseline=kept / len(inputs))


@dataclass(frozen=True)
class Bounds:
    """What a case may hold; drawn with the task."""

    low: int
    high: int
    longest: int
    cases: int
    largest_k: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Bounds:
        """Wide enough for the inputs that `_catching` draws."""
        return cls(-whole(rng, 5, 60), whole(rng, 10, 90), whole(rng, 10, 40), whole(rng, 6, 20), whole(rng, 3, 20))

    def text(self) -> str:
        """The bounds in words."""
        return (
            f"Each case is [xs, k, expected]: integers from {self.low} to {self.high}, at most {self.longest} of them, "
            f"k from 1 to {self.largest_k}."
        )

    def hold(self, case: Any) -> bool:
        """Whether a case keeps them."""
        if not isinstance(case, list | tuple) or len(case) != 3:
            return False
        xs, k, _ = case
        fits = isinstance(xs, list | tuple) and len(xs) <= self.longest
        numbers = fits and all(type(x) is int and self.low <= x <= self.high for x in xs)
        return numbers and type(k) is int and 1 <= k <= self.largest_k


def test_writing(rng: np.random.Generator, level: int) -> Problem:
    """Write test cases; the reward is the share of faulty versions they tell from the right one."""
    program, bounds = choice(rng, PROGRAMS), Bounds.draw(rng)

    def judge(value: Any) -> Judged:
        if not isinstance(value, list | tuple) or not value:
            return Judged(0.0, "cases() must return a list of cases that is not empty.", "format")
        if len(value) > bounds.cases:
            return Judged(0.0, f"cases() returned more than {bounds.cases} cases.", "format")
        killed: set[int] = set()
        for case in value:
            if not bounds.hold(case):
                return Judged(0.0, bounds.text(), "format")
            xs, k, expected = list(case[0]), case[1], case[2]
            if not exact_data(expected, program.run(xs, k)):
                return Judged(0.0, "A case expects a value that the description does not give.", "wrong_case")
            killed |= {i for i, mutant in enumerate(program.mutants) if mutant.run(xs, k) != program.run(xs, k)}
        share = len(killed) / len(program.mutants)
        text = "All faulty versions are caught." if share == 1 else "Not every faulty version is caught."
        return Judged(share, text, "correct" if share == 1 else "not_caught")

    good = _catching(rng, program)
    weak = [[[], 1, program.run([], 1)]]
    written = f"def cases():\n    return {good!r}\n"
    statement = (
        "A function `solve(xs, k)` takes a list of integers and an integer k of at least 1 and returns "
        f"{program.words}.\n"
        "Write test cases for it: a Python function `cases()` that returns a list of at most "
        f"{bounds.cases} cases `[xs, k, expected]`. They are tried on several faulty versions. {bounds.text()}"
    )
    test = call("1", "cases", [], None, "hidden", Captured())
    hidden = CodeTest(test.test, "hidden")
    solutions = {
        "reference": reply(written),
        "wrong": reply(f"def cases():\n    return {weak!r}\n"),
        "slow": reply(spin(written)),
    }
    return Problem(statement, (hidden,), judge=judge, solutions=solutions)


def _catching(rng: np.random.Generator, program: Program) -> list[list[Any]]:
    """Cases that catch every faulty version."""
    cases: list[list[Any]] = []
    left = set(range(len(program.mutants)))
    while left:  # at most one case for each of at most four faults
        xs, k = _inputs(rng, 1)
        caught = {i for i in left if program.mutants[i].run(xs, k) != program.run(xs, k)}
        if caught:
            cases.append([xs, k, program.run(xs, k)])
            left -= caught
    return cases
