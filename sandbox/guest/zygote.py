"""The fork server of one slot: it serves one host, and has its launcher make one confined process per run.

It speaks frames with the host. The first frame configures it; then each ``run`` or ``open`` (a session) is served to
its end before the next. When the host goes away (end of file) it kills what runs and exits.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from . import kernel, large, view, warm
from .cgroup import Group
from .channel import HostChannel
from .confine import GIB, kernel_limits
from .jobs import serve_run
from .launcher import Launcher
from .scratch import Scratch
from .sessions import serve_session
from .tree import Undertaker, Usage, sweep_children, sweep_uid


class Zygote:
    """State of one slot.

    Args:
        host: the channel to the host.
        config: the first frame; see ``palaestra.sandbox.slots`` for its keys.
    """

    def __init__(self, host: HostChannel, config: dict[str, Any]) -> None:
        self.host = host
        self.level = config["level"]
        self.uid, self.gid = config["uid"], config["gid"]
        self.group = Group(config["cgroup"], config["cgroup_version"]) if config["cgroup"] else None
        self.root = os.geteuid() == 0
        self.own_pidns = -1
        if self.level == "I":
            self._isolate(config)
            self.work, self.box = view.WORK, view.BOX
        else:
            self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.work, self.box = os.path.join(config["scratch"], "w"), config["scratch"]
        give = self.root or self.level == "I"
        self.scratch = Scratch(self.box, self.work, mounted=self.level == "I", uid=self.uid, gid=self.gid, give=give)
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        large.adopt(self.proc)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        self.launcher = Launcher(lambda words, jobs: warm.main(self, config, words, jobs))
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        self._undertaker = Undertaker(self.proc, self.launcher.process, self._sweep(bool(config["own_pids"])))
        self._others = self._counted_with_guests(bool(config["own_pids"]))
        gc.collect()
        gc.freeze()  # what is there now stays; collections between runs need not look at it

    def _isolate(self, config: dict[str, Any]) -> None:
        """Enter the namespaces; continue as process 1 of a new PID namespace while this process waits for it."""
        view.enter_namespaces(self.root, self.uid)
        pid = os.fork()
        if pid:
            self.host.close()
            os.closerange(3, 4096)
            status = 0
            while True:
                try:
                    _, status = os.waitpid(pid, 0)
                    break
                except InterruptedError:
                    continue
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        self.proc = view.build(config["scratch"], config["runtime"], self.uid, self.gid)
        if self.proc < 0:
            raise OSError(1, "a private /proc cannot be mounted here")
        self.own_pidns = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)

    def _sweep(self, own_pids: bool) -> Callable[[], None]:
        """How what is left of a tree is killed at this level."""
        if self.root:
            return lambda: sweep_uid(self.uid, self.gid)
        if own_pids and os.getpid() == 1:
            return self.launcher.sweep
        return lambda: sweep_children(self.launcher.process)

    def finish(self) -> Usage:
        """Kill what still runs of the guest, and say what it used."""
        os.close(self.launcher.exit_fd)
        return self._undertaker.finish(self.launcher.pid, self.launcher.init)

    def _counted_with_guests(self, own_pids: bool) -> int | None:
        """Processes that the kernel counts together with the guests' own; None where others come and go.

        It counts per user id and user namespace.
        """
        if self.root:
            return 0  # a user id that nobody else has
        if self.level == "I":
            return 4  # the waiting first process, this one, the launcher, process 1 of the guest's namespace
        if self.launcher.facts["counted_alone"]:
            return 1  # the launcher
        return self.launcher.count() if own_pids else None

    def table(self, limits: dict[str, Any], bounded: bool) -> list[int]:
        """The kernel's limits for a run with these limits.

        Args:
            limits: the job's limits.
            bounded: whether to bound virtual memory (off for runtimes that reserve it by the gigabyte).
        """
        others = self._others
        if others is None:
            self.launcher.ready()
            others = self.launcher.count() - 1  # the guest that is forked ahead is one of the run's own
        space = (limits["mem_mb"] << 20) + (2 * GIB if self.group else GIB)
        return kernel_limits(limits, limits["procs"] + others, space if bounded else None)

    def begin(self, limits: dict[str, Any], files: dict[str, bytes]) -> None:
        """Make the scratch directory of a run ready and set its group's limits."""
        self.scratch.begin(limits["disk_mb"], files)
        if self.group:
            self.group.begin(limits["mem_mb"], limits["procs"])

    def starved_s(self, pid: int) -> float:
        """Seconds a process was ready to run but waited for a processor."""
        try:
            with open(os.open(f"{pid}/schedstat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)) as file:
                return int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def resident_kb(self, pid: int) -> int:
        """Resident memory of one process; 0 when it is gone."""
        try:
            fd = os.open(f"{pid}/statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        except OSError:
            return 0
        try:
            return int(os.read(fd, 200).split()[1]) * 4
        except (OSError, IndexError):
            return 0
        finally:
            os.close(fd)


def main(read_fd: int, write_fd: int) -> None:
    """Serve one host until it hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    host = HostChannel(read_fd, write_fd)
    frame = host.receive()
    if frame is None:
        return
    try:
        zygote = Zygote(host, frame.header)
    except Exception as error:
        host.send({"op": "failed", "error": f"{type(error).__name__}: {error}"})
        return
    host.send({
        "op": "ready", "pid": os.getpid(), "python": sys.version.split()[0], "machine": kernel.MACHINE,
        "root": zygote.root, **zygote.launcher.facts,
    })  # fmt: skip
    try:
        _serve(zygote)
    finally:
        zygote.launcher.close()


def _serve(zygote: Zygote) -> None:
    while True:
        zygote.launcher.prepare()
        frame = zygote.host.receive()
        if frame is None:
            return
        op = frame.header.get("op")
        if op == "run":
            serve_run(zygote, frame)
        elif op == "open":
            serve_session(zygote, frame)
        elif op not in ("cancel", "kill", "interrupt", "close", "reply"):  # late words about a run that has just ended
            zygote.host.send({"op": "failed", "error": f"unknown operation {op!r}"})
            return
