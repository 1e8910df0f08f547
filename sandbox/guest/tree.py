"""The process tree of one run: start it, watch its main process, and end all of it, whatever it has become."""

from __future__ import annotations

import array
import contextlib
import json
import os
import resource
import signal
import socket
import struct
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
        self.pid = os.fork()
        if self.pid == 0:
            _run_child(child)
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
    """A tree in a PID namespace of its own, kept by a small init that the guest cannot signal.

    Args:
        own_pidns: descriptor of the fork server's PID namespace.
        prepare: run in the init before it forks (joining the control group).
    """

    def __init__(self, own_pidns: int, prepare: Callable[[], None]) -> None:
        self._own_pidns = own_pidns
        self._prepare = prepare
        self.pid = 0
        self._report = b""

    def start(self, child: Callable[[], None]) -> None:
        """Fork the init and through it the main process, which runs ``child`` and never returns from it."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        kernel.setns(self._own_pidns, kernel.CLONE_NEWPID)
        kernel.unshare(kernel.CLONE_NEWPID)
        self._init = os.fork()
        if self._init == 0:
            self._socket.close()
            _run_child(lambda: self._keep(child, theirs))
        theirs.close()
        self.pid = _sender(self._socket)
        self.exit_fd = self._socket.fileno()

    def _keep(self, child: Callable[[], None], report: socket.socket) -> None:
        """Process 1 of the namespace: reap until the main process ends, kill the rest, report, exit."""
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGUSR1, lambda *_: _quietly(lambda: os.kill(-1, signal.SIGKILL)))
        self._prepare()
        main = os.fork()
        if main == 0:
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            report.send(b"pid")
            report.close()
            child()
        os.closerange(3, report.fileno())
        os.closerange(report.fileno() + 1, 4096)
        for fd in (0, 1, 2):
            _quietly(partial(os.close, fd))
        status, rss, leftovers = None, 0, 0
        while True:
            try:
                pid, ended, usage = os.wait4(-1, 0)
            except ChildProcessError:
                break
            rss = max(rss, usage.ru_maxrss)
            if pid == main:
                status = ended
                _quietly(lambda: os.kill(-1, signal.SIGKILL))
            elif status is not None:
                leftovers += os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL
        report.send(json.dumps([status, _children_cpu(), rss, leftovers]).encode())

    def signal(self, number: int) -> None:
        """Signal the main process."""
        if self.pid:
            _quietly(lambda: os.kill(self.pid, number))

    def finish(self) -> Usage:
        """End the namespace and say what it used."""
        self._socket.settimeout(0)
        try:
            self._report = self._socket.recv(4096)
        except BlockingIOError:
            _quietly(lambda: os.kill(self._init, signal.SIGUSR1))
            self._socket.settimeout(2)
            try:
                self._report = self._socket.recv(4096)
            except TimeoutError:
                self._report = b""
        _quietly(lambda: os.kill(self._init, signal.SIGKILL))
        _, _, usage = os.wait4(self._init, 0)
        self._socket.close()
        if self._report:
            return Usage(*json.loads(self._report))
        return Usage(None, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, 0)


def _sender(sock: socket.socket) -> int:
    """The process that sent the next message, as the kernel says and in our numbering; 0 when it died first."""
    data, ancillary, *_ = sock.recvmsg(64, socket.CMSG_SPACE(12))
    return sender_of(data, ancillary)


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


def _run_child(child: Callable[[], None]) -> None:
    """Run in a forked process: never return into the fork server's loop, whatever the guest did to builtins."""
    status = 0
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
