"""Running a reply's code in the sandbox and turning test results into a reward and feedback."""

from __future__ import annotations

import builtins
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ...sandbox import Job, Limits, Sandbox, SandboxError, TestResult
from ...schema import Feedback, Task
from ..feedback import quote, strip_markup
from ..turns import Gold, Result
from .problem import CodeTest, Problem, extract_code, from_gold

SHOWN_TESTS = 2
SHOWN_LINES = 8
SHOWN_CHARS = 250

_HEADERS = {
    "wrong": "Wrong Answer", "exception": "Runtime Error", "exit": "Runtime Error", "signal": "Runtime Error",
    "timeout_wall": "Time Limit Exceeded", "timeout_cpu": "Time Limit Exceeded", "memory": "Memory Limit Exceeded",
    "output_limit": "Output Limit Exceeded", "missing": "Runtime Error", "undefined": "Runtime Error",
}  # fmt: skip
_ORDER = ("Runtime Error", "Time Limit Exceeded", "Memory Limit Exceeded", "Output Limit Exceeded", "Wrong Answer")
_REASONS = {
    "Wrong Answer": "wrong_answer", "Runtime Error": "runtime_error", "Time Limit Exceeded": "time_limit",
    "Memory Limit Exceeded": "memory_limit", "Output Limit Exceeded": "output_limit",
}  # fmt: skip
_ERROR = re.compile(r"([A-Za-z_][A-Za-z0-9_.]{0,60}(?:Error|Exception|Exit|Interrupt|Iteration|Warning))\b")
_FRAME = re.compile(r'File "(?:<cell \d+>|main\.py|solution\.py)", line (\d+)')

_lock = threading.Lock()
_shared: Any = None


def shared_sandbox() -> Any:
    """The sandbox of this process, opened when first needed.

    Raises:
        SandboxError: none with the required isolation can be had here.
    """
    global _shared
    with _lock:
        if _shared is None:
            _shared = Sandbox.open()
        return _shared


def grade_code(gold: Gold | Mapping[str, Any], response: str, task: Task) -> Result:
    """Judge a reply by an author's answer ``{"tests": [...]}``; see `problem.from_gold`."""
    value = gold.reveal() if isinstance(gold, Gold) else gold
    reward = value.get("reward", "share")
    return grade_problem(from_gold(value), response, str(reward))


def grade_problem(problem: Problem, response: str, reward: str = "share", sandbox: Any = None) -> Result:
    """Judge a reply to a problem.

    Args:
        problem: the problem with all its tests.
        response: the policy's whole reply.
        reward: ``share`` of the tests passed, or ``all`` (1 only if all pass; stops at the first failure).
        sandbox: where to run; by default one shared by the process.

    Returns:
        Reward, feedback and scores. When the sandbox itself failed, the reward is None.
    """
    code = extract_code(response, problem.language)
    if code is None or not code.strip():
        return _format(f"No ```{problem.language} block with an answer was found.", "no_code")
    if problem.constraint is not None and (broken := problem.constraint(code)):
        return Result(0.0, Feedback(text=broken, kind="constraint"), "constraint", {"passed": 0.0})
    if problem.language == "text":
        return _judged(problem, code)
    program = problem.prepare(code) if problem.prepare is not None else code
    limits = Limits(wall_s=problem.time_limit, cpu_s=problem.time_limit, mem_mb=512)
    early = reward == "all" and problem.judge is None
    job = Job(code=program, tests=[item.test for item in problem.tests], limits=limits, early_stop=early)
    try:
        run = (sandbox or shared_sandbox()).run_sync(job)
    except SandboxError as error:
        return Result(None, error=f"the sandbox failed: {error}")
    if problem.judge is not None:
        return _own_judge(problem, run)
    results = {result.id: result for result in run.tests}
    passed = sum(result.passed for result in results.values())
    share = passed / len(problem.tests)
    scores = {"passed": share, "tests": float(len(problem.tests))}
    earned = problem.earned(share) if reward == "share" else float(passed == len(problem.tests))
    details = {"tests": [outcome(item, results.get(item.test.id)) for item in problem.tests]}
    if passed == len(problem.tests):
        accepted = Feedback(text="Accepted: all tests pass.", kind="correct", details=details)
        return Result(1.0, accepted, "correct", scores)
    text, reason = report(problem.tests, results, run.traceback, run.reason)
    return Result(earned, Feedback(text=text, kind=_kind(reason), details=details), reason, scores)


def outcome(item: CodeTest, result: TestResult | None) -> dict[str, Any]:
    """How one test went, for people who look at rollouts: never an input, an expected output or a message."""
    row = {"id": item.test.id, "visibility": item.visibility}
    if result is None:
        return {**row, "passed": False, "verdict": "not_run"}
    return {**row, "passed": result.passed, "verdict": result.verdict, "wall_s": round(result.wall_s, 4)}


def _kind(reason: str) -> Any:
    return {"runtime_error": "error", "time_limit": "timeout"}.get(reason, "incorrect")


def _format(text: str, reason: str) -> Result:
    return Result(0.0, Feedback(text=text, kind="format"), reason, {"passed": 0.0})


def _judged(problem: Problem, answer: Any) -> Result:
    assert problem.judge is not None
    verdict = problem.judge(answer)
    kind: Any = "correct" if verdict.share >= 1 else "incorrect"
    return Result(verdict.share, Feedback(text=verdict.text, kind=kind), verdict.reason, {"passed": verdict.share})


class Captured:
    """A checker that keeps the data a call returned, for a judge that looks at it afterwards."""

    def __init__(self) -> None:
        self.value: Any = None

    def __call__(self, got: Any, expected: Any) -> bool:
        self.value = got
        return True


def _own_judge(problem: Problem, run: Any) -> Result:
    (item,) = problem.tests
    result = run.tests[0]
    if not result.passed:
        text, reason = report(problem.tests, {result.id: result}, run.traceback, run.reason)
        return Result(0.0, Feedback(text=text, kind=_kind(reason)), reason, {"passed": 0.0})
    captured = item.test.checker  # type: ignore[union-attr]
    assert isinstance(captured, Captured)
    return _judged(problem, captured.value)


# ---- feedback: the attempt, public data and kinds of failure, nothing else -------------------------------------------


def report(
    tests: Sequence[CodeTest], results: Mapping[str, TestResult], traceback: str, reason: str
) -> tuple[str, str]:
    """What a policy reads about its failures, and the reason in one word.

    Runtime errors come first, then limits, then wrong answers; of each kind the two shortest visible tests. Of hidden
    tests only the kind of failure is told.

    Args:
        tests: all tests.
        results: outcomes by test id.
        traceback: of the run that failed.
        reason: why the run ended.
    """
    failed = [
        (item, results[item.test.id]) for item in tests if item.test.id in results and not results[item.test.id].passed
    ]
    failed = [pair for pair in failed if pair[1].verdict != "not_run"]
    kinds = {_HEADERS.get(result.verdict, "Runtime Error") for _, result in failed}
    header = next((name for name in _ORDER if name in kinds), "Wrong Answer")
    same = [(item, result) for item, result in failed if _HEADERS.get(result.verdict, "Runtime Error") == header]
    visible = sorted(
        (pair for pair in same if pair[0].visibility != "hidden"), key=lambda pair: len(pair[0].shown_input)
    )
    parts = [header]
    if all(result.verdict == "missing" for _, result in failed):
        parts.append(f"The program did not load: {quote(_last_line(traceback) or reason, 160)}{_line(traceback)}.")
        return "\n".join(parts), "runtime_error"
    for item, result in visible[:SHOWN_TESTS]:
        label = "Public test" if item.visibility == "public" else "Test"
        parts.append(f"{label} {result.id}\nInput: {_cut(item.shown_input)}")
        if header == "Runtime Error":
            parts.append(f"Error: {quote(result.detail, 160)}{_line(traceback)}")
        elif header == "Wrong Answer":
            if result.detail:
                parts.append(f"Your program {quote(result.detail, SHOWN_CHARS)}")
            parts.append(f"Expected: {_cut(item.shown_output)}")
    hidden = [result for item, result in same if item.visibility == "hidden"]
    if hidden and not visible:
        named = _builtin_error(hidden[0].detail) if header == "Runtime Error" else ""
        what = f"runtime error {named}{_line(traceback)}" if named else header.lower()
        parts.append(f"Hidden test failed: {what}.")
    return "\n".join(parts), _REASONS[header]


def _builtin_error(detail: str) -> str:
    """The name of a built-in exception; names of a program's own could carry hidden inputs out."""
    match = _ERROR.match(detail)
    kind = getattr(builtins, match[1], None) if match else None
    return kind.__name__ if isinstance(kind, type) and issubclass(kind, BaseException) else ""


def _cut(text: str) -> str:
    lines = strip_markup(text[: 4 * SHOWN_CHARS]).split("\n")
    short = "\n".join(lines[:SHOWN_LINES])[:SHOWN_CHARS]
    return short if len(short) == len(text) else f"{short} …"


def _line(traceback: str) -> str:
    frames = _FRAME.findall(traceback or "")
    return f" at line {frames[-1]} of your code" if frames else ""


def _last_line(traceback: str) -> str:
    return (traceback or "").strip().split("\n")[-1]
