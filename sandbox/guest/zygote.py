"""The fork server of one slot: a warm, single-threaded interpreter that forks one confined process per run.

It speaks frames with the host. The first frame configures it; then each ``run`` or ``open`` (a session) is served to
its end before the next. When the host goes away (end of file) it kills what runs and exits.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from typing import Any

from . import driver, kernel, tree, view
from .cgroup import Group
from .channel import HostChannel
from .confine import GIB, Confinement
from .scratch import Scratch

PRELUDE = (
    "abc", "array", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses", "datetime",
    "decimal", "enum", "fractions", "functools", "heapq", "io", "itertools", "json", "math", "operator", "random",
    "re", "statistics", "string", "struct", "textwrap", "time", "traceback", "typing",
)  # fmt: skip


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
        self.own_pids = bool(config["own_pids"])
        self.group = Group(config["cgroup"], config["cgroup_version"]) if config["cgroup"] else None
        self.root = os.geteuid() == 0
        self.proc = -1
        self.own_pidns = -1
        if self.level == "I":
            self._isolate(config)
            work, box = view.WORK, view.BOX
        else:
            self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            work, box = os.path.join(config["scratch"], "w"), config["scratch"]
        self.work = work
        give = self.root or self.level == "I"
        self.scratch = Scratch(box, work, mounted=self.level == "I", uid=self.uid, gid=self.gid, give=give)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": work, "TMPDIR": work + "/tmp", "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2",
        }  # fmt: skip
        os.environ.clear()
        os.environ.update(self.environment)  # what guests inherit
        system = [*view.SYSTEM, *(f"/etc/{name}" for name in (*view.ETC, *view._ETC_FILES))]
        self.confinement = Confinement(
            uid=self.uid if self.root else None,
            gid=self.gid,
            read=[path for path in [*system, *config["runtime"]] if os.path.exists(path)],
            write=box,
            devices=[f"/dev/{name}" for name in view.DEVICES],
            private_view=self.level == "I",
            inner_user=self.level == "I" and not self.root,
            trusted=self.level == "T",
        )
        sys.path[:] = [path for path in sys.path if path and not path.endswith("/sandbox")] + config["site"]
        for name in (*PRELUDE, *config["preload"]):
            importlib.import_module(name)
        driver.prepare()
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._first_to_die()
        self.confinement.prepare()
        gc.collect()
        gc.freeze()

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

    def make_tree(self) -> Any:
        """A new process tree of the kind this level has."""
        if self.level == "I":
            return tree.NamespaceTree(self.own_pidns, self.proc)
        if self.root:
            return tree.PlainTree(tree.sweep_uid(self.uid, self.gid))
        return tree.PlainTree(tree.sweep_namespace if self.own_pids else tree.sweep_children)

    def _first_to_die(self) -> None:
        """Let the kernel, short of memory, take guests first; they inherit this, and the largest is chosen."""
        with contextlib.suppress(OSError):
            fd = os.open("self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.proc)
            try:
                os.write(fd, b"1000")
            finally:
                os.close(fd)

    def table(self, limits: dict[str, Any], bounded: bool) -> list[tuple[int, tuple[int, int]]]:
        """The kernel's limits for a run with these limits.

        Args:
            limits: the job's limits.
            bounded: whether to bound virtual memory (off for runtimes that reserve it by the gigabyte).
        """
        extra = 0
        if not self.root:  # other processes of this user count too
            extra = 3 if self.level == "I" else self._processes_of_user()
        space = (limits["mem_mb"] << 20) + (2 * GIB if self.group else GIB)
        return self.confinement.table(limits, limits["procs"] + extra, space if bounded else None)

    def confine(self, table: list[tuple[int, tuple[int, int]]], fds: tuple[int, int, int]) -> None:
        """Confine the calling process, which is about to become a guest.

        Args:
            table: the kernel's limits.
            fds: descriptors for stdin, stdout, stderr.
        """
        if self.group:
            self.group.join()
        os.chdir(self.work)
        self.confinement.apply(table, fds)

    def _processes_of_user(self) -> int:
        """Threads of every process of this user, which the kernel counts against the same limit.

        Looking costs as much as a run does, but an old count refuses forks a guest is entitled to.
        """
        uid, count = str(os.geteuid()), 0
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/status") as file:
                        entries = dict(line.split(":", 1) for line in file if line.startswith(("Uid:", "Threads:")))
                except OSError:
                    continue
                if entries["Uid"].split()[0] == uid:
                    count += int(entries["Threads"])
        return count

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
    from .jobs import serve_run
    from .sessions import serve_session

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
        "op": "ready", "pid": os.getpid(), "python": sys.version.split()[0], "missing": zygote.confinement.missing,
        "landlock": zygote.confinement.landlock_abi, "machine": kernel.MACHINE, "root": zygote.root,
    })  # fmt: skip
    while True:
        frame = host.receive()
        if frame is None:
            return
        op = frame.header.get("op")
        if op == "run":
            serve_run(zygote, frame)
        elif op == "open":
            serve_session(zygote, frame)
        elif op not in ("cancel", "kill", "interrupt", "close", "reply"):  # late words about a run that has just ended
            host.send({"op": "failed", "error": f"unknown operation {op!r}"})
            return
