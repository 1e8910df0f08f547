"""The local backend: a fork server per slot on this machine, as isolated as the kernel and the user id allow."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
from collections.abc import Iterable
from typing import Any

from . import groups, owners, runtime
from .base import ForkServerSandbox
from .channel import Channel
from .slots import Slot, error_file, server_config
from .types import SandboxError, SandboxUnavailable

log = logging.getLogger("palaestra.sandbox")
INNER_UID = 1000


class LocalSandbox(ForkServerSandbox):
    """Runs guests on this machine.

    Level I (namespaces) is used where the kernel allows it, level C (Landlock, seccomp, own user id) elsewhere; control
    groups are added where this process may make them. What holds is tested when the sandbox is made.

    Args:
        slots: runs at the same time; by default the number of processors.
        level: ``auto``, ``I``, ``C``, or ``T`` for code that is trusted: limits only.
        require: properties that must be tested to hold; by default those of level C.
        cgroups: whether to use control groups where possible.
        max_sessions: sessions that may be open at once.
        recycle_after: runs after which a fork server is replaced.
        retry_starved: give a run that hit its wall limit on an overloaded machine a second chance.
        allow_unconfined: needed for level ``T``.
        self_test: ``cached`` (once per boot, kernel, user and version), ``always``, or ``never`` (nothing is then
            tested, so ``require`` must be empty).

    Raises:
        SandboxUnavailable: the requirements cannot be met here.

    Example:
        >>> with LocalSandbox(slots=1) as sandbox:                              # doctest: +SKIP
        ...     sandbox.run_sync(Job(code="print(6 * 7)")).stdout_text
        '42\\n'
    """

    backend = "local"

    def __init__(
        self, slots: int | None = None, *, level: str = "auto", require: Iterable[str] | None = None,
        cgroups: bool = True, max_sessions: int = 64, recycle_after: int = 2000, retry_starved: bool = True,
        self_test: str = "cached", allow_unconfined: bool = False,
    ) -> None:  # fmt: skip
        if level not in ("auto", "I", "C", "T"):
            raise ValueError(f"level is {level!r}; choose 'auto', 'I', 'C' or 'T'")
        if level == "T" and not allow_unconfined:
            raise SandboxUnavailable([], "level 'T' confines nothing; say allow_unconfined=True if the code is trusted")
        if level == "T" and os.geteuid() == 0:
            raise SandboxUnavailable([], "level 'T' is refused to root, whose processes no limit holds back")
        if os.uname().sysname != "Linux":
            raise SandboxUnavailable([], "the local backend needs Linux; use DockerSandbox")
        super().__init__(slots or os.cpu_count() or 1, max_sessions, recycle_after, retry_starved)
        self.root = os.geteuid() == 0
        self.level = level
        self.cgroups = cgroups
        owners.sweep_directories()
        groups.sweep()
        self._settle()
        from .selftest import examine

        try:
            self.isolation = examine(self, self_test)
            self._require(require, self._hint())
        except BaseException:
            self.close_sync()
            raise

    def _settle(self) -> None:
        """Find the level that works here by starting one slot."""
        from .base import run_sync

        candidates = ["I", "C"] if self.level == "auto" else [self.level]
        problem: Exception | None = None
        for self.level in candidates:
            self.runtime = runtime.current() if self.level == "I" or not self.root else runtime.readable_by_all()
            try:
                slot = run_sync(self._runs.acquire())
            except (SandboxError, OSError) as error:
                problem = error
                log.info("level %s is not available: %s", self.level, error)
                continue
            self.facts = slot.hello
            self.has_groups = bool(slot.config["cgroup"])
            self._runs.release(slot)
            return
        self.close_sync()
        raise SandboxUnavailable([], f"no fork server starts here: {problem}")

    def identity(self) -> str:
        """What the self-test's cache must distinguish besides level and machine."""
        return f"{self.runtime.executable} groups={self.has_groups}"

    def _hint(self) -> str:
        missing = "; ".join(f"{name}: {why}" for name, why in self.facts.get("missing", {}).items())
        return missing or "see `palaestra sandbox doctor`, or use the docker backend"

    def _launch(self, profile: str) -> Slot:
        extra = runtime.profile(profile, self.runtime)
        directory = owners.make_directory()
        undo: list[Any] = [lambda: owners.remove_directory(directory)]
        try:
            uid, gid = os.geteuid(), os.getegid()
            if self.root:
                reserved = owners.UserId()
                undo.append(reserved.release)
                uid = gid = reserved.uid
            elif self.level == "I":
                uid = gid = INNER_UID
            group = groups.make() if self.cgroups and self.root else None
            if group is not None:
                undo.append(group.remove)
            config = server_config(
                level=self.level, uid=uid, gid=gid, scratch=directory, own_pids=False, trees=self.runtime.trees,
                profile=extra, group=group,
            )  # fmt: skip
            return start_server([self.runtime.executable], config, undo, self.package)
        except BaseException:
            for action in reversed(undo):
                action()
            raise


def start_server(interpreter: list[str], config: dict[str, Any], undo: list[Any], package: str, **popen: Any) -> Slot:
    """Start a fork server on this machine and connect to it over a socket.

    Args:
        interpreter: the command up to and including the interpreter.
        config: the server's first frame.
        undo: what to do, last first, when the slot is closed.
        package: directory that holds the ``guest`` package, as the server sees it.
        **popen: passed on to ``subprocess.Popen``.
    """
    ours, theirs = socket.socketpair()
    errors = error_file()
    fd = theirs.fileno()
    command = [*interpreter, *runtime.FLAGS, "-c", runtime.BOOT, package, str(fd), str(fd)]
    try:
        process = subprocess.Popen(
            command, env=runtime.ENVIRONMENT, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=errors, pass_fds=[fd], start_new_session=True, **popen,
        )  # fmt: skip
    except OSError as error:
        ours.close()
        errors.close()
        raise SandboxError(f"cannot start {interpreter[0]}: {error}") from None
    finally:
        theirs.close()
    channel = Channel(number := ours.detach(), number)

    def release() -> None:
        for action in reversed(undo):
            with contextlib.suppress(OSError):
                action()

    return Slot(process, channel, config, errors, release)
