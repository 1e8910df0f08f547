"""Checks that run code: in the sandbox, opened once a process, and never anywhere else."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

from ..schema import RewardStatus
from .checkers import Check, last_code

MAX_SECONDS = 60.0
_lock = threading.Lock()
_opened: list[Any] = []

# Reads [sample, item] and prints the grade on a line of its own; everything here runs inside the sandbox.
_GRADER = """
import json as _json, sys as _sys
_sample, _item = _json.loads(_sys.stdin.read())
print("\\n" + _json.dumps({"grade": float(grade(_sample, _item))}))
"""


def sandbox() -> Any:
    """The sandbox of this process.

    Raises:
        SandboxUnavailable: there is none on this machine.
    """
    from ..sandbox import Sandbox

    with _lock:
        if not _opened:
            _opened.append(Sandbox.open())
        return _opened[0]


def tests_pass(text: str, tests: list[dict[str, Any]], seconds: float) -> Check:
    """Share of tests that the last fenced block of a response passes.

    Args:
        text: the response.
        tests: ``{"stdin", "expected"}``, ``{"function", "args", "expected"}`` or ``{"assert": code}`` each.
        seconds: wall time for all of them.

    Returns:
        The share with the ids of failed tests; ``unsupported`` without a sandbox, ``upstream_error`` when it failed.
    """
    from ..sandbox import Job, Limits, SandboxError, SandboxUnavailable

    try:
        box = sandbox()
        result = box.run_sync(
            Job(code=last_code(text), tests=[_test(i, t) for i, t in enumerate(tests)], limits=Limits(wall_s=seconds))
        )
    except SandboxUnavailable as error:
        return Check(None, f"no sandbox here: {error}"[:200], RewardStatus.UNSUPPORTED)
    except SandboxError as error:
        return Check(None, f"the sandbox failed: {error}"[:200], RewardStatus.UPSTREAM_ERROR)
    failed = [t.id for t in result.tests if not t.passed]
    share = 1 - len(failed) / len(tests)
    return Check(share, f"failed tests: {', '.join(failed)}" if failed else "all tests pass")


def _test(index: int, test: dict[str, Any]) -> Any:
    from ..sandbox.grading import AssertTest, CallTest, StdioTest

    name = str(index + 1)
    if "assert" in test:
        return AssertTest(id=name, code=str(test["assert"]))
    if "function" in test:
        return CallTest(id=name, function=str(test["function"]), args=list(test["args"]), expected=test["expected"])
    return StdioTest(id=name, stdin=str(test.get("stdin", "")), expected=str(test["expected"]), checker="tokens")


def python_grade(source: str, sample: dict[str, Any], item: dict[str, Any]) -> tuple[float | None, str]:
    """What a grader's ``grade(sample, item)`` returns, or None with the reason.

    Args:
        source: Python that defines ``grade``.
        sample: what is graded, with ``output_text``.
        item: the task's fields.
    """
    from ..sandbox import Job, Limits, SandboxError

    try:
        job = Job(code=source + "\n" + _GRADER, stdin=json.dumps([sample, item]), limits=Limits(wall_s=MAX_SECONDS))
        result = sandbox().run_sync(job)
    except SandboxError as error:
        return None, f"the sandbox failed: {error}"[:300]
    if result.verdict != "ok":
        return None, f"the grader ended with {result.verdict}: {result.reason} {result.traceback or ''}"[-300:]
    try:
        grade = float(json.loads(bytes(result.stdout).decode().strip().splitlines()[-1])["grade"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None, "the grader returned no number"
    return (grade, "") if math.isfinite(grade) else (None, f"the grader returned {grade}")
