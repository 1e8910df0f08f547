"""Grading a submission by tests whose expected outputs never enter the process that runs it.

*Stdio tests*: the host sends stdin and compares stdout; one process per test. *Call tests*: the submission is loaded
once, gets one input at a time, and answers with data, which the host compares. *Assert tests*: a second process holds
the tests and sees the submission through stand-ins that exchange data. An exit code never means pass, silence never
means pass, and a test that left no completion record has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import checkers
from .checking import CHECKER_PRELUDE, MODULE, SUBMISSION_PRELUDE, names_used, split_tests
from .guest.values import ValueProblem
from .session import Session
from .types import CellResult, Job, RunResult, SandboxError, SessionSpec, TestResult, for_log, to_text

MAX_RESTARTS = 5
"""How often a submission that killed its process is started again for the tests that are left."""


@dataclass(frozen=True)
class StdioTest:
    """A program reads ``stdin`` and must print ``expected``.

    Attributes:
        id: unique among the job's tests.
        stdin: what the program reads.
        expected: stays on the host.
        checker: ``exact_lines``, ``tokens``, ``float``, ``unordered_lines``, or ``function(stdout, expected) -> bool``.
        tolerance: for ``float``.
    """

    id: str
    stdin: str
    expected: str = field(repr=False)
    checker: checkers.Checker = "exact_lines"
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        if not callable(self.checker):
            checkers.named(self.checker, checkers.TEXT)


@dataclass(frozen=True)
class CallTest:
    """A function is called and must return ``expected``.

    Attributes:
        id: unique among the job's tests.
        function: a name in the submission, or ``Class.method`` (the class is made without arguments).
        args: positional arguments, data only.
        kwargs: keyword arguments, data only.
        expected: stays on the host.
        checker: ``exact``, ``float``, ``set`` (any order), or ``function(value, expected) -> bool``.
        tolerance: for ``float`` and ``set``.
        argument: compare this positional argument as the call left it, instead of the return value.
    """

    id: str
    function: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    expected: Any = field(default=None, repr=False)
    checker: checkers.Checker = "exact"
    tolerance: float = 1e-9
    argument: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.checker):
            checkers.named(self.checker, checkers.DATA)


@dataclass(frozen=True)
class AssertTest:
    """Statements that raise when the submission is wrong; they run in a process of their own.

    Attributes:
        id: unique among the job's tests.
        code: the statements. Names the submission defines can be used, and imported from ``solution``.
        setup: statements before it, such as helper functions.
        entry: a function of the submission that ``code`` may call ``candidate``.
        in_process: run the test inside the submission's own process, for tests that need live objects. A submission can
            then cheat, and the result is marked ``integrity="in_process"``.
    """

    id: str
    code: str
    setup: str = ""
    entry: str | None = None
    in_process: bool = False


def pytest_tests(source: str, *, in_process: bool = False) -> list[AssertTest]:
    """The tests of a pytest or unittest module, one ``AssertTest`` each.

    ``raises``, ``approx`` and ``mark.parametrize`` work; skipping fails; fixtures and plugins are not available.

    Args:
        source: the module; it imports what it tests from ``solution``.
        in_process: as for ``AssertTest``.

    Raises:
        ValueError: the module is not Python or holds no tests.
    """
    return [AssertTest(id=name, code=code, setup=source, in_process=in_process) for name, code in split_tests(source)]


Test = StdioTest | CallTest | AssertTest


async def grade(sandbox: Any, job: Job) -> RunResult:
    """Run a job's tests.

    Args:
        sandbox: where.
        job: a job with ``tests``.

    Returns:
        The result of the run that counts most (the first that did not go well, else the last), with one entry in
        ``tests`` per test, in the same order. Its ``cpu_s`` and ``wall_s`` are sums over the tests.

    Raises:
        SandboxError: the sandbox failed; nothing is scored.
        ValueError: the tests are malformed.
    """
    tests: list[Test] = list(job.tests)
    for number, test in enumerate(tests):
        if not isinstance(test, (StdioTest, CallTest, AssertTest)):
            raise ValueError(f"Job.tests[{number}] is {type(test).__name__}; give StdioTest, CallTest or AssertTest")
    ids = [test.id for test in tests]
    if len(set(ids)) != len(ids):
        raise ValueError(f"Job.tests: duplicate id {next(name for name in ids if ids.count(name) > 1)!r}")
    if not tests:
        raise ValueError("Job.tests is empty; give at least one test, or None")
    base = replace(job, tests=None)
    stdio = [test for test in tests if isinstance(test, StdioTest)]
    others = [test for test in tests if not isinstance(test, StdioTest)]
    if others and (job.code is None or job.lang != "python"):
        raise ValueError("Job.tests: call tests and assert tests need Python code; use StdioTest for other programs")
    found: dict[str, TestResult] = {}
    runs: list[RunResult] = []
    if stdio:
        await _grade_stdio(sandbox, base, stdio, job.early_stop, found, runs)
    if others and not (job.early_stop and any(not result.passed for result in found.values())):
        await _grade_others(sandbox, base, others, job.early_stop, found, runs)
    missing = "not_run" if job.early_stop else "missing"
    results = tuple(found.get(name) or TestResult(name, False, missing) for name in ids)
    main = next((run for run in runs if not run.ok), runs[-1])
    return replace(
        main,
        tests=results,
        cpu_s=round(sum(run.cpu_s for run in runs), 6),
        wall_s=round(sum(run.wall_s for run in runs), 6),
        peak_mem_mb=max(run.peak_mem_mb for run in runs),
    )


async def _grade_stdio(
    sandbox: Any,
    base: Job,
    tests: list[StdioTest],
    early_stop: bool,
    found: dict[str, TestResult],
    runs: list[RunResult],
) -> None:  # fmt: skip
    limit = asyncio.Semaphore(1 if early_stop else sandbox.slots)
    failed = False

    async def one(test: StdioTest) -> None:
        nonlocal failed
        async with limit:
            if early_stop and failed:
                return
            run = await sandbox.run(replace(base, stdin=test.stdin))
        runs.append(run)
        found[test.id] = result = judge_stdio(test, run)
        failed = failed or not result.passed

    tasks = [asyncio.ensure_future(one(test)) for test in tests]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _grade_others(
    sandbox: Any, base: Job, tests: list[Any], early_stop: bool, found: dict[str, TestResult], runs: list[RunResult]
) -> None:
    """Call tests and assert tests; all of them once more when the sandbox failed."""
    for attempt in (1, 2):
        mine: dict[str, TestResult] = {}
        try:
            await _Submission(sandbox, base).grade(tests, early_stop, mine, runs)
        except _CheckerFailed:
            raise
        except SandboxError:
            if attempt == 2:
                raise
            continue
        found |= mine
        return


class _CheckerFailed(SandboxError):
    """A custom checker raised: the same would happen again."""


def judge_stdio(test: StdioTest, run: RunResult) -> TestResult:
    """Compare one run with one test. Only a run that ended well can pass; its exit code alone says nothing."""
    if not run.ok:
        return TestResult(test.id, False, run.verdict, for_log(run.reason), run.wall_s)
    if run.stdout_truncated:
        return TestResult(test.id, False, "output_limit", "the output is longer than is kept", run.wall_s)
    got = to_text(run.stdout)
    passed = _check(test, checkers.TEXT, got)
    detail = "" if passed else f"printed {for_log(got, 200)!r}"
    return TestResult(test.id, passed, "ok" if passed else "wrong", detail, run.wall_s)


def _check(test: StdioTest | CallTest, kinds: Any, got: Any) -> bool:
    """Whether what came out is right. A checker that raises has judged nothing, so nothing is scored.

    Raises:
        SandboxError: a custom checker raised.
    """
    try:
        return checkers.check(test.checker, kinds, got, test.expected, test.tolerance)
    except Exception as error:
        if not callable(test.checker):
            raise
        what = f"{type(error).__name__}: {for_log(str(error), 200)}"
        raise _CheckerFailed(
            f"the checker of test {test.id!r} raised {what}; let it return False for what it cannot read"
        ) from error


class _Submission:
    """A submission loaded in a session, and what is needed to put questions to it."""

    def __init__(self, sandbox: Any, job: Job) -> None:
        self.sandbox, self.job = sandbox, job
        self.session: Session | None = None
        self.checker: Session | None = None
        self.names: dict[str, str] = {}
        self.restarts = 0
        self.count = 1
        self.loaded: CellResult | None = None
        self.failure: SandboxError | None = None

    async def grade(
        self, tests: list[Any], early_stop: bool, found: dict[str, TestResult], runs: list[RunResult]
    ) -> None:
        """Answer every test it can; a test without an entry in ``found`` is missing."""
        cells: list[CellResult] = []
        self.count = len(tests)
        try:
            for test in tests:
                if not await self._ready():
                    break
                assert self.session is not None
                question = self._call if isinstance(test, CallTest) else self._assert
                found[test.id] = await question(test, cells)
                if self.failure is not None:
                    raise self.failure
                if early_stop and not found[test.id].passed:
                    break
        finally:
            for session in (self.session, self.checker):
                if session is not None:
                    await session.close()
        assert self.loaded is not None
        runs.append(self._summary(cells))

    async def _ready(self) -> bool:
        """Load the submission, again if it has killed its process; False when it cannot be loaded."""
        if self.session is not None and self.session.alive:
            return self.loaded is not None and self.loaded.ok
        if self.session is not None:
            await self.session.close()
            self.session = None
            if self.restarts >= MAX_RESTARTS:
                return False
            self.restarts += 1
        limits = self.job.limits
        spec = SessionSpec(
            limits=replace(limits, cpu_s=min(86_400, limits.cpu_s * max(1, self.count))),
            files=self.job.files,
            env=self.job.env,
            profile=self.job.profile,
        )
        self.session = await self.sandbox._open(self.sandbox._runs, spec, {})
        assert self.job.code is not None
        await self.session.exec(SUBMISSION_PRELUDE)
        self.loaded = await self.session.exec(self.job.code, timeout_s=limits.wall_s)
        if not self.loaded.ok:
            return False
        listed = await self.session.names(timeout_s=limits.wall_s)
        if listed.ok and isinstance(listed.value, dict):
            self.names = {k: v for k, v in listed.value.items() if isinstance(k, str) and isinstance(v, str)}
        return True

    def _limited(self, cell: CellResult) -> str:
        """The verdict of a cell, with the processor limit applied to it alone."""
        if cell.cpu_s > self.job.limits.cpu_s:
            return "timeout_cpu"
        return cell.problem or cell.verdict

    async def _call(self, test: CallTest, cells: list[CellResult]) -> TestResult:
        assert self.session is not None
        wall_s = self.job.limits.wall_s
        try:
            cell = await self.session.call(test.function, test.args, dict(test.kwargs), timeout_s=wall_s)
        except ValueProblem as error:
            raise ValueError(f"Job.tests: arguments of {test.id!r}: {error}") from None
        cells.append(cell)
        verdict = self._limited(cell)
        if verdict != "ok":
            return TestResult(test.id, False, verdict, for_log(cell.reason), cell.wall_s)
        got = cell.value
        if test.argument is not None:
            after = cell.arguments
            if after is None or not 0 <= test.argument < len(after):
                return TestResult(test.id, False, "unsupported_type", "the argument cannot be read back", cell.wall_s)
            got = after[test.argument]
        passed = _check(test, checkers.DATA, got)
        detail = "" if passed else f"returned {for_log(repr(got), 200)}"
        return TestResult(test.id, passed, "ok" if passed else "wrong", detail, cell.wall_s)

    async def _assert(self, test: AssertTest, cells: list[CellResult]) -> TestResult:
        if test.in_process:
            assert self.session is not None
            cell = await self.session.exec(_in_process(test), timeout_s=self.job.limits.wall_s)
            cells.append(cell)
        else:
            if self.checker is None or not self.checker.alive:
                self.checker = await self._open_checker()
            wanted = names_used(test.setup + "\n" + test.code)
            arguments = [test.setup, test.code, wanted, test.entry]
            await self.checker.set("_names", self.names)
            cell = await self.checker.call("_run_test", arguments, timeout_s=self.job.limits.wall_s)
        verdict = self._limited(cell)
        if verdict == "exception" and cell.error_type == "AssertionError":
            verdict = "wrong"
        detail = "" if verdict == "ok" else for_log(cell.error_type or cell.reason)
        integrity: Any = "in_process" if test.in_process else "isolated"
        return TestResult(test.id, verdict == "ok", verdict, detail, cell.wall_s, integrity)

    async def _open_checker(self) -> Session:
        if self.checker is not None:
            await self.checker.close()
        spec = SessionSpec(limits=replace(self.job.limits, cpu_s=86_400, mem_mb=max(512, self.job.limits.mem_mb)))
        calls = {"_guest_call": self._guest_call, "_guest_get": self._guest_get}
        session = await self.sandbox._open(self.sandbox._checkers, spec, calls)
        prepared = await session.exec(CHECKER_PRELUDE)
        if not prepared.ok:
            raise SandboxError(f"the checker could not be prepared: {prepared.reason}")
        return session

    async def _guest_call(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The checker calls a function of the submission."""
        return await self._ask("call", name, args, kwargs)

    async def _guest_get(self, name: str) -> dict[str, Any]:
        """The checker reads a constant of the submission."""
        return await self._ask("get", name)

    async def _ask(self, how: str, *words: Any) -> dict[str, Any]:
        assert self.session is not None
        try:
            cell = await getattr(self.session, how)(*words, timeout_s=self.job.limits.wall_s)
        except SandboxError as error:
            self.failure = error
            raise
        if cell.ok:
            return {"value": cell.value, "args": cell.arguments}
        return {"error": {"type": cell.error_type or cell.problem or cell.verdict, "message": cell.reason}}

    def _summary(self, cells: list[CellResult]) -> RunResult:
        assert self.loaded is not None
        first = next((cell for cell in [self.loaded, *cells] if not cell.ok), self.loaded)
        same = ("stdout", "stderr", "stdout_dropped", "stdout_cut", "stderr_dropped", "stderr_cut", "traceback")
        return RunResult(
            first.verdict,
            reason=first.reason,
            **{name: getattr(first, name) for name in same},
            wall_s=sum(cell.wall_s for cell in [self.loaded, *cells]),
            cpu_s=sum(cell.cpu_s for cell in [self.loaded, *cells]),
            cpu_scope="process",
            isolation=self.sandbox.isolation,
        )


def _in_process(test: AssertTest) -> str:
    lines = ["import sys as _sys", f"_sys.modules[{MODULE!r}] = _sys.modules['__main__']"]
    runner = "def _run_function(f): f()"
    entry = f"candidate = {test.entry}" if test.entry else ""
    return "\n".join([*lines, runner, entry, test.setup, test.code])
