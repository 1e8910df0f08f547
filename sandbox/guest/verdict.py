"""From facts the fork server measured to one verdict; a pure function, so that its order can be tested."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any, NamedTuple

VERDICTS = (
    "ok", "exception", "exit", "signal", "timeout_wall", "timeout_cpu", "memory", "output_limit", "process_limit",
    "file_limit", "protocol_error", "sandbox_error",
)  # fmt: skip


class Facts(NamedTuple):
    """What is known at the end of a run.

    Attributes:
        started: whether the confined process reached the guest's code; written before that code can do anything.
        ended_by: why the fork server ended the run itself: a verdict name, or None.
        status: wait status of the main process.
        cpu_s: processor seconds used.
        cpu_limit: seconds allowed.
        oom_kills: processes the kernel killed for memory.
        refused_forks: forks the process cap refused.
        report: the guest's own report, or None.
        report_broken: whether the report channel carried something that is no report.
    """

    started: bool
    ended_by: str | None
    status: int
    cpu_s: float
    cpu_limit: float
    oom_kills: int
    refused_forks: int
    report: dict[str, Any] | None
    report_broken: bool


def judge(facts: Facts) -> tuple[str, str]:
    """The verdict and one sentence why."""
    if facts.ended_by:
        return facts.ended_by, "ended by the sandbox"
    if not facts.started:
        return "sandbox_error", "the confined process could not be set up"
    if facts.oom_kills:
        return "memory", f"the kernel killed {facts.oom_kills} process(es) at the memory limit"
    if os.WIFSIGNALED(facts.status):
        return _of_signal(os.WTERMSIG(facts.status), facts)
    code = os.WEXITSTATUS(facts.status)
    if facts.report_broken:
        return "protocol_error", "the result channel carried something that is no report"
    if facts.report is not None and "type" in facts.report:
        return _of_exception(facts.report)
    if code == 0:
        return "ok", ""
    if facts.refused_forks:
        return "process_limit", f"exit code {code} after {facts.refused_forks} refused fork(s)"
    return "exit", f"exit code {code}"


def _of_signal(number: int, facts: Facts) -> tuple[str, str]:
    name = signal.Signals(number).name if number in signal.valid_signals() and number < 32 else str(number)
    if number == signal.SIGXCPU or (number == signal.SIGKILL and facts.cpu_s >= facts.cpu_limit):
        return "timeout_cpu", f"{facts.cpu_s:.2f} s of processor time, limit {facts.cpu_limit:g} s"
    if number == signal.SIGXFSZ:
        return "file_limit", "a file grew over the limit"
    return "signal", f"killed by {name}"


def _of_exception(report: dict[str, Any]) -> tuple[str, str]:
    kind, message = str(report.get("type")), str(report.get("message"))
    reason = f"{kind}: {message}"[:300]
    if kind == "MemoryError":
        return "memory", reason
    if report.get("errno") in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
        return "file_limit", reason
    if (kind == "BlockingIOError" and report.get("errno") == errno.EAGAIN) or "can't start new thread" in message:
        return "process_limit", reason
    return "exception", reason
