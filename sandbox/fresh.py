"""A second look, on the host's initiative, at submissions that passed: a sample is run again on inputs nobody has seen.

A submission can pass tests it knows (it has memorised them, or recognises them) without solving the problem. It cannot
know inputs that are made up after it has passed, so a share of passes checked this way keeps the rest honest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .base import SandboxLike
from .grading import Test
from .types import Job, RunResult

PREFIX = "fresh/"
FreshTests = Callable[[Job, random.Random], Sequence[Test]]


async def run_batch_with_fresh_inputs(
    sandbox: SandboxLike, jobs: Iterable[Job], fresh: FreshTests, *, share: float = 0.1, seed: Any = None,
    concurrency: int | None = None,
) -> list[RunResult]:  # fmt: skip
    """Run a batch, then run a sample of the jobs that passed all their tests again, on fresh inputs.

    Args:
        sandbox: where.
        jobs: graded jobs.
        fresh: makes tests for a job, with expected outputs from a reference solution; called on the host.
        share: chance of each passed job to be looked at again.
        seed: of the sample and of the generator given to ``fresh``; None for one that nobody can foresee.
        concurrency: as for ``run_batch``.

    Returns:
        Results in the order of the jobs. Those looked at again have the fresh tests at the end of ``tests``, under ids
        that begin with ``fresh/``; their verdict is the second run's when that one did not go well. A second run that
        the sandbox itself failed adds nothing.

    Raises:
        ValueError: ``share`` is not between 0 and 1, or a job has no tests.
    """
    jobs = list(jobs)
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share!r}; give a number from 0 to 1")
    for number, job in enumerate(jobs):
        if not job.tests:
            raise ValueError(f"jobs[{number}] has no tests; fresh inputs are for jobs that are graded")
    chance = random.SystemRandom() if seed is None else random.Random(seed)
    results = await sandbox.run_batch(jobs, concurrency=concurrency)
    passed = [number for number, result in enumerate(results) if result.ok and all(one.passed for one in result.tests)]
    chosen = [number for number in passed if chance.random() < share]
    again = [replace(jobs[number], tests=_renamed(fresh(jobs[number], chance))) for number in chosen]
    for number, second in zip(chosen, await sandbox.run_batch(again, concurrency=concurrency), strict=True):
        if second.verdict != "sandbox_error":
            first = results[number]
            worse = first if second.ok else second
            results[number] = replace(worse, tests=first.tests + second.tests)
    return results


def _renamed(tests: Sequence[Test]) -> list[Test]:
    return [replace(test, id=PREFIX + test.id) for test in tests]
