"""The end of a run's process tree: all of it dies, whatever it has become, and what it used is added up.

Guests and orphans alike are children of the fork server: it is the parent that the launcher gives guests, and a
subreaper.
"""

from __future__ import annotations

import array
import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

MAX_COUNTED = 10_000
_WALL = 0x40000000  # wait also for children that end with another signal than SIGCHLD, or none


class Usage(NamedTuple):
    """What a finished tree used.

    Attributes:
        status: wait status of the main process.
        cpu_s: processor seconds of every process that was reaped.
        max_rss_kb: resident peak of the largest single process.
        leftovers: processes still alive when the main process ended.
    """

    status: int
    cpu_s: float
    max_rss_kb: int
    leftovers: int


class Undertaker:
    """Ends process trees, one after the other.

    Args:
        proc: descriptor of the fork server's ``/proc``.
        spared: the launcher, the one child that stays.
        sweep: kills, once, what may be left of a tree without a PID namespace; called until nothing is left.
    """

    def __init__(self, proc: int, spared: int, sweep: Callable[[], None]) -> None:
        self._proc, self._spared, self._sweep = proc, [spared], sweep
        self._children = self._open(os.getpid())

    def _open(self, pid: int) -> int:
        return os.open(f"{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)

    def finish(self, pid: int, init: int) -> Usage:
        """End a tree.

        Args:
            pid: its main process, dead or alive.
            init: process 1 of its own PID namespace; 0 when it has none.
        """
        os.kill(pid, signal.SIGKILL)  # a child that was not waited for: the number is still its own
        _, status, usage = os.wait4(pid, 0)
        left = self._descendants(init) if init else []
        leftovers, rss = len(left), usage.ru_maxrss
        cpu = usage.ru_utime + usage.ru_stime + sum(map(process_cpu_s, left))
        if init:
            os.kill(init, signal.SIGKILL)  # with it the kernel kills the whole namespace
        while self._now(self._children) != self._spared:
            # Process 1 only ends when the others are reaped, and a guest can have made some of them our children.
            pid, ended, usage = os.wait4(-1, _WALL if init else _WALL | os.WNOHANG)
            if pid == 0:
                self._sweep()
                time.sleep(0.001)
            elif pid in self._spared:
                self._spared = []  # the launcher is gone; the next run will find out
            elif pid == init:
                init = 0
            else:
                rss, cpu = max(rss, usage.ru_maxrss), cpu + usage.ru_utime + usage.ru_stime
                leftovers += os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
        return Usage(status, cpu, rss, leftovers)

    @staticmethod
    def _now(children: int) -> list[int]:
        return [int(word) for word in os.pread(children, 1 << 16, 0).split()]

    def _descendants(self, pid: int) -> list[int]:
        """What is still alive below a process. A bomb may go on growing meanwhile; this walk ends in any case."""
        found: list[int] = []
        pending = [pid]
        while pending and len(found) < MAX_COUNTED:
            try:
                children = self._open(pending.pop())
            except OSError:
                continue
            try:
                below = self._now(children)
            except OSError:
                below = []
            finally:
                os.close(children)
            found += below
            pending += below
        return found


def sweep_uid(uid: int, gid: int) -> None:
    """Kill every process of a user id nobody else has. Needs root."""
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


def sweep_children(spared: int) -> None:
    """Stop, then kill, every descendant but one found in /proc: for an ordinary user without any namespace."""
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
        more = {pid for pid, parent in parents.items() if parent in mine} - mine - {spared}
        if not more:
            break
        mine |= more
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in mine - {me}:
            quietly(partial(os.kill, pid, number))


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


def quietly(action: Callable[[], object]) -> None:
    """Do something that may have become impossible meanwhile."""
    with contextlib.suppress(OSError):
        action()
