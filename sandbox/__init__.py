"""Runs code nobody trusts, and says exactly what is enforced while it does.

    from palaestra.sandbox import Job, Limits, LocalSandbox, Sandbox

    sandbox = Sandbox.open()                        # LocalSandbox | DockerSandbox | BwrapSandbox, or SandboxUnavailable
    sandbox = LocalSandbox(slots=None, level="auto", require=None, max_sessions=64)
    sandbox.isolation                               # Isolation: .level, .properties, .tested
    result = await sandbox.run(Job(code="print(6 * 7)", limits=Limits(wall_s=5)))        # -> RunResult
    results = await sandbox.run_batch(jobs, concurrency=None)                            # one result per job, in order
    sandbox.run_sync(job); sandbox.run_batch_sync(jobs)                                  # from ordinary code
    await sandbox.close(); sandbox.close_sync()     # also usable as ``with`` and ``async with``

Graded runs (see ``palaestra.sandbox.grading``)::

    Job(code=submission, tests=[StdioTest(id="1", stdin="2 3", expected="5", checker="tokens"),
                                CallTest(id="2", function="add", args=[2, 3], expected=5, checker="exact"),
                                AssertTest(id="3", code="assert add(2, 3) == 5")])
    result.tests                                    # tuple[TestResult]: id, passed, verdict, detail, integrity
    await run_batch_with_fresh_inputs(sandbox, jobs, fresh, share=0.1)    # a sample of passes meets unknown inputs

Sessions: a Python process that stays::

    async with await sandbox.session(SessionSpec(limits=Limits(wall_s=30)), llm_query=ask) as session:
        await session.set("context", text)          # any size; crosses once
        cell = await session.exec(code, timeout_s=5)                                     # -> CellResult
        cell.verdict, cell.stdout_text, cell.value_repr, cell.traceback, cell.state_lost
        await session.get("answer")                 # CellResult with .value, as data
        await session.call("solve", [1, 2], {})     # CellResult with .value
        branch = await session.fork()               # same variables, by fork(2): nothing large is copied
        await branch.close()

``session(spec=None, **host_calls)``: each keyword is a plain or async function; the guest sees a function of that name
whose arguments and result cross as data (None, bool, int, float, str, bytes, list, tuple, dict, set). A cell's clock
stands still while the host answers. The text of an exception raised by a host function is seen by the guest. One
command at a time per session or branch; branches run side by side.

A verdict is one of ``ok exception exit signal timeout_wall timeout_cpu memory output_limit process_limit file_limit
protocol_error``. When the sandbox itself fails, ``run`` and sessions raise ``SandboxError`` (``run_batch`` returns a
result with verdict ``sandbox_error``): such a run is never scored.
"""

from .base import ForkServerSandbox, SandboxLike, run_sync
from .bwrap import BwrapSandbox
from .docker import DockerSandbox
from .fresh import run_batch_with_fresh_inputs
from .grading import AssertTest, CallTest, StdioTest, pytest_tests
from .local import LocalSandbox
from .opening import Sandbox
from .session import HostCall, Session
from .types import (
    CONFINED,
    PROPERTIES,
    CellResult,
    Isolation,
    Job,
    Limits,
    Property,
    RunResult,
    SandboxError,
    SandboxUnavailable,
    SessionSpec,
    TestResult,
    Verdict,
    for_log,
)

__all__ = [
    "CONFINED",
    "PROPERTIES",
    "AssertTest",
    "BwrapSandbox",
    "CallTest",
    "CellResult",
    "DockerSandbox",
    "ForkServerSandbox",
    "HostCall",
    "Isolation",
    "Job",
    "Limits",
    "LocalSandbox",
    "Property",
    "RunResult",
    "Sandbox",
    "SandboxError",
    "SandboxLike",
    "SandboxUnavailable",
    "Session",
    "SessionSpec",
    "StdioTest",
    "TestResult",
    "Verdict",
    "for_log",
    "pytest_tests",
    "run_batch_with_fresh_inputs",
    "run_sync",
]
