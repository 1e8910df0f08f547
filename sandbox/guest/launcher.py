"""The launcher: the warm process whose copies become guests, and the fork server's handle on it.

It is a process of its own because whoever forks pays for every page it touches while the copy lives: the launcher does
nothing but fork, so it touches next to none, and the fork server is never copied. It makes each guest a child of the
fork server, its own parent, which sees to everything else.

One guest is always forked ahead. It has joined its control group by then (the kernel makes a process wait some 20 ms
for that on a machine that has just been idle) and only waits to be told what to run.
"""

from __future__ import annotations

import _signal  # whose ``signal`` makes no enumerations, that is, touches little
import contextlib
import os
import random
import signal
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from . import kernel, tree
from .census import Census
from .entry import INLINE, pack_job
from .frames import FrameReader, encode

_START, _SWEEP, _COUNT = b"s", b"k", b"c"
_PIDS = struct.Struct("ii")  # a guest and process 1 of its namespace, or 0; minus an error number when it was refused
_main_thread = threading.main_thread()


class LauncherLost(OSError):
    """The launcher has died; the slot is of no further use."""


class Launcher:
    """The fork server's handle: one guest at a time, and the next one forked ahead.

    Args:
        main: what the launcher process does, given its descriptors for words and for jobs; it never returns.

    Attributes:
        process: the launcher's process id.
        facts: what it reported when it was ready.
        pid: the guest's process id.
        init: process 1 of the guest's own PID namespace, or 0.
        exit_fd: the guest's pidfd.
    """

    def __init__(self, main: Callable[[int, int], None]) -> None:
        self._words, words = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._jobs, jobs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = os.fork()
        if self.process == 0:
            self._words.close()
            self._jobs.close()
            _run_child(lambda: main(words.detach(), jobs.detach()))
        words.close()
        jobs.close()
        self.facts = FrameReader().feed(self._answer())[0].header
        self.pid, self.init, self.exit_fd = 0, 0, -1
        self._ahead, self._count = False, 0
        self._next: tuple[int, ...] = ()

    def _answer(self) -> bytes:
        answer = self._words.recv(1 << 16)
        if not answer:
            raise LauncherLost(32, "the launcher is gone")
        return answer

    def prepare(self) -> None:
        """Have the next guest forked; does not wait for it."""
        if not self._ahead:
            self._words.send(_START)
            self._ahead = True

    def ready(self) -> None:
        """Wait until the next guest is there."""
        self.prepare()
        self._next = self._next or _PIDS.unpack(self._answer())

    def start(self, limits: list[int], options: dict[str, Any] | None, code: bytes, fds: list[int]) -> None:
        """Give a guest its job.

        Args:
            limits: see ``entry.pack_job``, as for the next two.
            options: what is not plain Python code.
            code: Python source.
            fds: its stdin, stdout and stderr, and the descriptor that becomes number 3.

        Raises:
            OSError: there is no guest.
        """
        self.ready()
        (pid, init), self._next, self._ahead = self._next, (), False
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        self.pid, self.init, self.exit_fd = pid, init, os.pidfd_open(pid)
        self._count += 1
        job = pack_job(self._count, limits, options, code)
        if len(job) <= INLINE:
            socket.send_fds(self._jobs, [job], fds)
            return
        file = memory_file(job)
        try:
            socket.send_fds(self._jobs, [b"-"], [*fds, file])
        finally:
            os.close(file)

    def signal(self, number: int) -> None:
        """Signal the guest's main process."""
        tree.quietly(lambda: signal.pidfd_send_signal(self.exit_fd, number))

    def sweep(self) -> None:
        """Kill everything in this PID namespace but the launcher and process 1."""
        self._words.send(_SWEEP)
        self._answer()

    def count(self) -> int:
        """The processes and threads that the kernel counts for this user; see ``census``."""
        self._words.send(_COUNT)
        return _PIDS.unpack(self._answer())[0]

    def close(self) -> None:
        """End the launcher, and the guest that is not needed any more."""
        if self._ahead:
            with contextlib.suppress(OSError):
                self.ready()
                for pid in filter(lambda pid: pid > 0, self._next):
                    os.kill(pid, signal.SIGKILL)
        self._words.close()
        self._jobs.close()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def memory_file(data: bytes) -> int:
    """A file in memory holding data, positioned at its start."""
    fd = os.memfd_create("input")
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def forking(child: Callable[[int], None], own_pidns: int) -> Callable[[], tuple[int, int]]:
    """Make the function that forks a guest, and first, where the slot has its own PID namespace, process 1 for another.

    Process 1 only waits to be killed: it shares the launcher's memory and sleeps in the C library's ``pause``, so it
    costs no copy of anything, and a guest can neither signal nor trace it. Orphans become its children and vanish when
    they end, because it ignores SIGCHLD.

    Args:
        child: what the guest does, given its number. Every one gets random numbers of its own.
        own_pidns: descriptor of the launcher's PID namespace, or -1.
    """
    reseed = super(random.Random, random._inst).seed  # type: ignore[attr-defined]
    fork, pause = kernel.sibling(), kernel.sibling_pause()
    back, enter = kernel.entering_pidns(own_pidns)
    ignore, default, isolated = _signal.SIG_IGN, _signal.SIG_DFL, own_pidns >= 0

    count = 0

    def start() -> tuple[int, int]:
        nonlocal count
        init = 0
        reseed()
        if isolated:
            back()
            enter()
            _signal.signal(kernel.SIGCHLD, ignore)  # inherited by process 1
            try:
                init = pause()
            finally:
                _signal.signal(kernel.SIGCHLD, default)
        pid = fork()
        if pid == 0:
            _run_child(lambda: child(count + 1))
        count += 1
        return pid, init

    return start


def _run_child(child: Callable[[], None]) -> None:
    """Run in a forked process: never return into the loop of the one that forked, whatever a guest did to builtins."""
    status = 0
    _main_thread._native_id = threading.get_native_id()  # type: ignore[attr-defined]  # os.fork would
    try:
        child()
    except BaseException as error:
        status = 125
        os.write(2, f"sandbox: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def serve(words: int, start: Callable[[], tuple[int, int]], facts: dict[str, Any]) -> None:
    """The launcher's life: fork guests as told, until the fork server has gone.

    Args:
        words: descriptor to the fork server.
        start: made by ``forking``.
        facts: what the fork server should know.
    """
    read, write, pack = os.read, os.write, _PIDS.pack
    write(words, encode(facts))
    census = Census()
    while word := read(words, 1):
        pids = (0, 0)
        if word == _SWEEP:
            tree.quietly(lambda: os.kill(-1, signal.SIGKILL))
        elif word == _COUNT:
            pids = (census.count(), 0)
        else:
            try:
                pids = start()
            except OSError as error:
                pids = (-(error.errno or 11), 0)
        try:
            write(words, pack(*pids))
        except BrokenPipeError:
            break
    os._exit(0)
