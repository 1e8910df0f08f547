"""The process tree of one run: start it, watch its main process, and end all of it, whatever it has become."""

from __future__ import annotations

import array
import contextlib
import os
import random
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from . import kernel


class Usage(NamedTuple):
    """What a finished tree used.

    Attributes:
        status: wait status of the main process; None when its keeper was lost with it.
        cpu_s: processor seconds of every process that was reaped.
        max_rss_kb: resident peak of the largest single process.
        leftovers: processes still alive when the main process ended.
    """

    status: int | None
    cpu_s: float
    max_rss_kb: int
    leftovers: int


MAX_COUNTED = 10_000


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class PlainTree:
    """A tree without a PID namespace. The fork server is a subreaper, so every orphan becomes its child.

    Args:
        sweep: kills what is left once; called until nothing is left.
    """

    def __init__(self, sweep: Callable[[], None]) -> None:
        self._sweep = sweep
        self._cpu = _children_cpu()
        self.pid = 0
        self.exit_fd = -1

    def start(self, child: Callable[[], None]) -> None:
        """Fork the main process, which runs ``child`` and never returns from it."""
        self.pid = _fork(child)
        self.exit_fd = os.pidfd_open(self.pid)

    def signal(self, number: int) -> None:
        """Signal the main process."""
        _quietly(lambda: signal.pidfd_send_signal(self.exit_fd, number))

    def finish(self) -> Usage:
        """Kill what still runs, reap everything, and say what it used."""
        self.signal(signal.SIGKILL)
        _, status, rusage = os.wait4(self.pid, 0)
        os.close(self.exit_fd)
        leftovers, rss = 0, rusage.ru_maxrss
        while True:
            try:
                pid, ended, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                self._sweep()
                time.sleep(0.001)
                continue
            rss = max(rss, usage.ru_maxrss)
            leftovers += os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
        return Usage(status, _children_cpu() - self._cpu, rss, leftovers)


def sweep_uid(uid: int, gid: int) -> Callable[[], None]:
    """A sweep that kills every process of a user id nobody else has. Needs root."""

    def sweep() -> None:
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                os.kill(-1, signal.SIGKILL)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    return sweep


def sweep_namespace() -> None:
    """Kill everything else in a PID namespace that the fork server has for itself (a container)."""
    _quietly(lambda: os.kill(-1, signal.SIGKILL))


def sweep_children() -> None:
    """Stop, then kill, every descendant found in /proc: for an ordinary user without any namespace."""
    me = os.getpid()
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parents[int(name)] = int(file.read().rsplit(b")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
    mine = {me}
    while True:
        more = {pid for pid, parent in parents.items() if parent in mine} - mine
        if not more:
            break
        mine |= more
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in mine - {me}:
            _quietly(partial(os.kill, pid, number))


class NamespaceTree:
    """A tree in a PID namespace of its own.

    Process 1 of the namespace only waits to be killed: it shares the fork server's memory and sleeps in the C library's
    ``pause``, so it costs no copy of anything, and a guest can neither signal nor trace it. Orphans become its children
    and vanish when they end, because it ignores SIGCHLD. The main process is process 2, and a child of the fork server.

    Args:
        own_pidns: descriptor of the fork server's PID namespace.
        proc: descriptor of its ``/proc``.
    """

    def __init__(self, own_pidns: int, proc: int) -> None:
        self._own_pidns, self._proc = own_pidns, proc
        self.pid = 0
        self.exit_fd = -1

    def start(self, child: Callable[[], None]) -> None:
        """Make the namespace and fork the main process, which runs ``child`` and never returns from it."""
        kernel.setns(self._own_pidns, kernel.CLONE_NEWPID)
        kernel.unshare(kernel.CLONE_NEWPID)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # inherited by process 1
        try:
            self._init = kernel.clone_pause()
        finally:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            self.pid = _fork(child)
        except OSError:
            os.kill(self._init, signal.SIGKILL)
            os.waitpid(self._init, 0)
            raise
        self.exit_fd = os.pidfd_open(self.pid)

    def signal(self, number: int) -> None:
        """Signal the main process."""
        _quietly(lambda: signal.pidfd_send_signal(self.exit_fd, number))

    def finish(self) -> Usage:
        """End the namespace and say what it used."""
        self.signal(signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.exit_fd)
        left = self._descendants(self._init)
        cpu = usage.ru_utime + usage.ru_stime + sum(map(process_cpu_s, left))
        os.kill(self._init, signal.SIGKILL)  # with process 1 the kernel kills the whole namespace
        os.waitpid(self._init, 0)
        return Usage(status, cpu, usage.ru_maxrss, len(left))

    def _descendants(self, pid: int) -> list[int]:
        """What is still alive below a process. A bomb may go on growing meanwhile; this walk ends in any case."""
        found: list[int] = []
        pending = [pid]
        while pending and len(found) < MAX_COUNTED:
            pid = pending.pop()
            try:
                fd = os.open(f"{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            except OSError:
                continue
            try:
                below = [int(word) for word in os.read(fd, 1 << 16).split()]
            except OSError:
                below = []
            finally:
                os.close(fd)
            found += below
            pending += below
        return found


def process_cpu_s(pid: int) -> float:
    """Processor seconds of one process so far; 0 when there is none."""
    try:
        return time.clock_gettime(((~pid) << 3) | 2) if pid else 0.0
    except OSError:
        return 0.0


def sender_of(data: bytes, ancillary: list[tuple[int, int, bytes]]) -> int:
    """The process id in the credentials of a received message; 0 where there are none."""
    for level, kind, payload in ancillary:
        if data and level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return struct.unpack("iii", payload[:12])[0]
    return 0


def received_fds(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a message."""
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return list(fds)


def _fork(child: Callable[[], None]) -> int:
    """Fork a process that runs ``child`` and nothing else; its number. Every child gets random numbers of its own."""
    random.seed()
    pid = kernel.fork()
    if pid == 0:
        _run_child(child)
    return pid


def _run_child(child: Callable[[], None]) -> None:
    """Run in a forked process: never return into the fork server's loop, whatever the guest did to builtins."""
    status = 0
    threading.main_thread()._native_id = threading.get_native_id()  # type: ignore[attr-defined]  # os.fork would
    try:
        child()
    except BaseException as error:
        status = 125
        os.write(2, f"sandbox: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def _quietly(action: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        action()
