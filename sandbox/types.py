"""The public types of the sandbox: what is asked for, what comes back, and what was tested to hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..schema import clean_text
from .inputs import check_files, check_path, check_texts

Verdict = Literal[
    "ok", "exception", "exit", "signal", "timeout_wall", "timeout_cpu", "memory", "output_limit", "process_limit",
    "file_limit", "protocol_error", "sandbox_error",
]  # fmt: skip
Status = Literal["tested", "declared", "absent"]
PROPERTIES = (
    "fs_read", "fs_write", "fs_meta", "env", "net_inet", "net_unix", "signal_host", "ptrace", "kill_tree", "proc_count",
    "mem_tree", "mem_process", "cpu_tree", "disk", "syscalls", "uid",
)  # fmt: skip
ALIASES = {"net": ("net_inet", "net_unix"), "fs": ("fs_read", "fs_write", "fs_meta")}
CONFINED = frozenset({
    "fs_read", "fs_write", "fs_meta", "env", "net_inet", "net_unix", "signal_host", "ptrace", "kill_tree", "proc_count",
    "mem_process", "syscalls",
})  # fmt: skip
"""The properties of level C, which every sandbox must have unless the caller says otherwise."""


class SandboxError(RuntimeError):
    """The sandbox itself failed. Nothing can be said about the code; such a run is retried or raised, never scored."""


class SandboxUnavailable(SandboxError):
    """No backend with the required properties can be had here.

    Attributes:
        missing: the properties that are not tested to hold.
        hint: what would help.
    """

    def __init__(self, missing: Sequence[str], hint: str) -> None:
        self.missing = sorted(missing)
        self.hint = hint
        what = f"missing {', '.join(self.missing)}; " if self.missing else ""
        super().__init__(f"no sandbox with the required isolation: {what}{hint}")


@dataclass(frozen=True)
class Property:
    """One line of the isolation report: whether it holds, how that is known, and by what mechanism."""

    status: Status
    mechanism: str


@dataclass(frozen=True)
class Isolation:
    """What a backend enforces. ``tested`` means that a canary attack was tried on this machine and failed.

    Attributes:
        backend: ``local``, ``docker`` or ``bwrap``.
        level: ``T`` trusted, ``C`` confined, ``I`` isolated, ``I+`` isolated with control groups, ``D`` docker.
        properties: by name; see ``PROPERTIES``.
    """

    backend: str
    level: str
    properties: Mapping[str, Property]

    @property
    def tested(self) -> frozenset[str]:
        """Names of the properties that were tested to hold."""
        return frozenset(name for name, entry in self.properties.items() if entry.status == "tested")

    def missing(self, required: frozenset[str] | set[str]) -> set[str]:
        """The required properties that are not tested to hold."""
        return expand(required) - self.tested


def expand(required: frozenset[str] | set[str]) -> set[str]:
    """Replace aliases (``net``, ``fs``) by property names.

    Raises:
        ValueError: a name is unknown.
    """
    names: set[str] = set()
    for name in required:
        if name not in PROPERTIES and name not in ALIASES:
            raise ValueError(f"require: unknown property {name!r}; choose from {', '.join((*PROPERTIES, *ALIASES))}")
        names |= set(ALIASES.get(name, (name,)))
    return names


_RANGES: dict[str, tuple[float, float]] = {
    "wall_s": (0.05, 86_400), "cpu_s": (0.05, 86_400), "mem_mb": (32, 1 << 20), "procs": (1, 4096),
    "out_bytes": (256, 64 << 20), "file_mb": (1, 1 << 14), "disk_mb": (1, 1 << 14), "fds": (16, 4096),
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What one run may use.

    Attributes:
        wall_s: seconds of real time.
        cpu_s: seconds of processor time (rounded up to whole seconds where only the kernel's own limit enforces it).
        mem_mb: memory in MiB, of the whole tree where there is a control group, else of the main process.
        procs: processes and threads.
        out_bytes: bytes kept of stdout and of stderr each (the beginning and the end).
        file_mb: size of one file.
        disk_mb: size of the scratch directory, where the view is private.
        fds: open files.
        net: network access; no backend offers it at present.

    Example:
        >>> Limits(wall_s=2).cpu_s
        10
    """

    wall_s: float = 10
    cpu_s: float = 10
    mem_mb: int = 512
    procs: int = 16
    out_bytes: int = 64 << 10
    file_mb: int = 16
    disk_mb: int = 64
    fds: int = 64
    net: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            whole = name not in ("wall_s", "cpu_s")
            number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not low <= value <= high:
                kind = "a whole number" if whole else "a number"
                raise ValueError(f"Limits.{name} is {value!r}; give {kind} from {low:g} to {high:g}")
        if self.net:
            raise ValueError("Limits.net is True; guests have no network. Hand the data in as files or host calls")


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        code: source text, run by ``lang``.
        argv: a command instead of code; the first word is looked up in PATH.
        lang: ``python``, ``bash``, ``c`` or ``javascript``.
        stdin: what the program reads.
        files: relative path to content, placed in the scratch directory, which is the working directory.
        limits: what it may use.
        tests: tests to grade it by; see ``palaestra.sandbox.grading``.
        fetch: relative paths to bring back after the run.
        env: further environment variables.
        profile: ``stdlib``, or ``numpy`` to have NumPy imported already.
        early_stop: stop at the first test that fails; the others are ``not_run``.
    """

    code: str | None = None
    argv: Sequence[str] | None = None
    lang: str = "python"
    stdin: bytes | str = b""
    files: Mapping[str, bytes | str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    tests: Any = None
    fetch: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    profile: str = "stdlib"
    early_stop: bool = False

    def __post_init__(self) -> None:
        if (self.code is None) == (self.argv is None):
            raise ValueError("Job: give either code or argv")
        if self.code is not None and not isinstance(self.code, str):
            raise ValueError(f"Job.code is {type(self.code).__name__}; give text")
        if self.argv is not None:
            if isinstance(self.argv, str) or not self.argv or not self.argv[0]:
                raise ValueError(f"Job.argv is {self.argv!r}; give a list of words such as ['bash', '-c', 'ls']")
            check_texts(self.argv, "Job.argv")
        if not isinstance(self.stdin, (str, bytes)):
            raise ValueError(f"Job.stdin is {type(self.stdin).__name__}; give bytes or text")
        if not isinstance(self.limits, Limits):
            raise ValueError(f"Job.limits is {type(self.limits).__name__}; give Limits(wall_s=5)")
        check_files(self.files, self.limits.disk_mb, "Job.files")
        for name in self.fetch:
            check_path(name, "Job.fetch")
        for name, value in self.env.items():
            if not isinstance(name, str) or not _NAME.match(name):
                raise ValueError(f"Job.env: {name!r} is not the name of a variable; give an identifier")
            check_texts([value], f"Job.env[{name!r}]")


def to_bytes(data: bytes | str) -> bytes:
    """Text as UTF-8, lone surrogates included; bytes as they are."""
    return data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data


def to_text(data: bytes, dropped: int = 0, cut: int = 0) -> str:
    """Bytes as text, invalid ones replaced, with a note where something was cut out."""
    if not dropped:
        return data.decode("utf-8", "replace")
    note = f"\n[... {dropped} bytes cut ...]\n"
    return data[:cut].decode("utf-8", "replace") + note + data[cut:].decode("utf-8", "replace")


@dataclass(frozen=True)
class TestResult:
    """How one test went.

    Attributes:
        id: the test's id.
        passed: whether it passed.
        verdict: of the run or call that decided it, or ``wrong``, ``missing``, ``value_too_large``,
            ``unsupported_type``, ``not_run`` (early stop).
        detail: a sentence for logs; never the expected output.
        wall_s: seconds.
        integrity: ``isolated``, or ``in_process`` when guest and test shared a process.
    """

    __test__ = False  # not a test class of pytest

    id: str
    passed: bool
    verdict: str
    detail: str = ""
    wall_s: float = 0.0
    integrity: Literal["isolated", "in_process"] = "isolated"


@dataclass(frozen=True)
class RunResult:
    """What happened in one run. Times, memory and verdict are measured outside the guest.

    Attributes:
        verdict: one word; see ``Verdict``.
        exit_code: of the main process, when it exited.
        signal: that killed the main process, when one did.
        reason: one sentence about the verdict.
        stdout: bytes kept of standard output.
        stderr: bytes kept of standard error.
        stdout_dropped: bytes that were cut out; ``stdout_cut`` is where.
        traceback: of an uncaught Python exception, as the guest reported it.
        tests: one entry per test of the job.
        wall_s: seconds from the start of the process; queueing is ``queue_s``.
        cpu_s: processor seconds; ``cpu_scope`` says of what.
        peak_mem_mb: memory peak; ``mem_scope`` says of what.
        leftovers_killed: processes that were still alive when the main process had ended.
        files: the fetched files that exist, are regular and fit ``file_mb`` together.
        isolation: what was enforced.
        attempt: 1, or 2 when the first attempt hit a sandbox failure.
    """

    verdict: Verdict
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_dropped: int = 0
    stdout_cut: int = 0
    stderr_dropped: int = 0
    stderr_cut: int = 0
    traceback: str = ""
    tests: tuple[TestResult, ...] = ()
    wall_s: float = 0.0
    queue_s: float = 0.0
    cpu_s: float = 0.0
    cpu_scope: str = "tree"
    peak_mem_mb: float = 0.0
    mem_scope: str = "unknown"
    leftovers_killed: int = 0
    files: Mapping[str, bytes] = field(default_factory=dict)
    isolation: Isolation | None = None
    attempt: int = 1

    @property
    def ok(self) -> bool:
        """Whether the program ran to its end with exit code 0."""
        return self.verdict == "ok"

    @property
    def stdout_truncated(self) -> bool:
        """Whether part of standard output was dropped."""
        return self.stdout_dropped > 0

    @property
    def stderr_truncated(self) -> bool:
        """Whether part of standard error was dropped."""
        return self.stderr_dropped > 0

    @property
    def stdout_text(self) -> str:
        """Standard output as text."""
        return to_text(self.stdout, self.stdout_dropped, self.stdout_cut)

    @property
    def stderr_text(self) -> str:
        """Standard error as text."""
        return to_text(self.stderr, self.stderr_dropped, self.stderr_cut)


def for_log(text: str, limit: int = 400) -> str:
    """Guest text made safe for a terminal: control characters are escaped, length is bounded.

    Example:
        >>> for_log("a\\x1b[31m")
        'a\\\\x1b[31m'
    """
    shown = "".join(
        char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in clean_text(text[:limit])
    )
    return shown + ("..." if len(text) > limit else "")


@dataclass(frozen=True)
class SessionSpec:
    """A persistent Python process.

    Attributes:
        limits: of the whole session; ``wall_s`` is the default limit of one cell.
        host_calls: names of functions the guest may call; the host answers them.
        files: placed in the scratch directory before the start.
        env: further environment variables.
        profile: as for a job.
        idle_s: the session is closed after this long without a command.
        max_cells: commands accepted.
        max_host_calls: host calls accepted in one cell.
        max_branches: branches that may live at once; one more ends the branch that was used longest ago and has nothing
            to do. None: as many as ``limits.procs`` allows, and then ``fork`` is refused.
        grace_s: seconds between the interrupt of a cell that is over its limit and the kill.
    """

    limits: Limits = field(default_factory=Limits)
    host_calls: Sequence[str] = ()
    files: Mapping[str, bytes | str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    profile: str = "stdlib"
    idle_s: float = 3600
    max_cells: int = 1_000_000
    max_host_calls: int = 10_000
    max_branches: int | None = None
    grace_s: float = 1.0

    def __post_init__(self) -> None:
        Job(code="", files=self.files, env=self.env, limits=self.limits)  # the same checks
        for name in self.host_calls:
            if not isinstance(name, str) or not _NAME.match(name):
                raise ValueError(f"SessionSpec.host_calls: {name!r} is not a function name")
        if self.max_branches is not None and (type(self.max_branches) is not int or self.max_branches < 1):
            raise ValueError(f"SessionSpec.max_branches is {self.max_branches!r}; give at least 1, or None")
        for name in ("idle_s", "max_cells", "max_host_calls", "grace_s"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 < value < 1e9:
                raise ValueError(f"SessionSpec.{name} is {value!r}; give a positive number")


@dataclass(frozen=True)
class CellResult:
    """What happened in one cell, or in one call or variable access.

    Attributes:
        verdict: as for a run; ``exit`` also for ``sys.exit`` in a cell (the session then goes on).
        value_repr: bounded ``repr`` of the final expression of a cell; empty when it is None.
        value: for calls and ``get``: the value as data.
        arguments: for calls: the positional arguments as the call left them, as data; None where they cannot cross.
        problem: why a value could not cross: ``unsupported_type``, ``value_too_large``, ``too_deep``.
        stdout: bytes printed during the cell, beginning and end; also by child processes.
        error_type: name of the exception class.
        error_message: its text.
        traceback: without our own frames.
        state_lost: whether the variables are gone because the process is.
        host_calls: number of host calls the cell made.
    """

    verdict: Verdict
    value_repr: str = ""
    value: Any = None
    arguments: list[Any] | None = None
    problem: str = ""
    reason: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_dropped: int = 0
    stdout_cut: int = 0
    stderr_dropped: int = 0
    stderr_cut: int = 0
    error_type: str = ""
    error_message: str = ""
    traceback: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    state_lost: bool = False
    host_calls: int = 0

    @property
    def ok(self) -> bool:
        """Whether the cell ended without an exception."""
        return self.verdict == "ok"

    @property
    def stdout_text(self) -> str:
        """Standard output as text."""
        return to_text(self.stdout, self.stdout_dropped, self.stdout_cut)

    @property
    def stderr_text(self) -> str:
        """Standard error as text."""
        return to_text(self.stderr, self.stderr_dropped, self.stderr_cut)
