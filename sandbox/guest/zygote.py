"""The fork server of one slot: a warm, single-threaded interpreter that forks one confined process per run.

It speaks frames with the host. The first frame configures it; then each ``run`` or ``open`` (a session) is served to
its end before the next. When the host goes away (end of file) it kills what runs and exits.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import stat
import sys
from typing import Any

from . import driver, kernel, tree, view
from .cgroup import Group
from .channel import HostChannel
from .confine import GIB, Confinement

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
        self.scratch = config["scratch"]
        self.own_pids = bool(config["own_pids"])
        self.group = Group(config["cgroup"], config["cgroup_version"]) if config["cgroup"] else None
        self.root = os.geteuid() == 0
        self.proc = -1
        self.own_pidns = -1
        if self.level == "I":
            self._isolate(config)
            work, self.box = view.WORK, view.BOX
        else:
            self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            work, self.box = os.path.join(self.scratch, "w"), self.scratch
        self.work = work
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": work, "TMPDIR": work + "/tmp", "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2",
        }  # fmt: skip
        system = [*view.SYSTEM, *(f"/etc/{name}" for name in (*view.ETC, *view._ETC_FILES))]
        self.confinement = Confinement(
            uid=self.uid if self.root else None,
            gid=self.gid,
            read=[path for path in [*system, *config["runtime"]] if os.path.exists(path)],
            write=self.box,
            devices=[f"/dev/{name}" for name in view.DEVICES],
            private_view=self.level == "I",
            inner_user=self.level == "I" and not self.root,
            trusted=self.level == "T",
        )
        sys.path[:] = [path for path in sys.path if path and not path.endswith("/sandbox")] + config["site"]
        for name in (*(PRELUDE if config["warm"] else ()), *config["preload"]):
            importlib.import_module(name)
        driver.prepare_streams()
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
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
        self.proc = view.build(self.scratch, config["runtime"], self.uid, self.gid)
        if self.proc < 0:
            raise OSError(1, "a private /proc cannot be mounted here")
        self.own_pidns = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)

    def make_tree(self) -> Any:
        """A new process tree of the kind this level has."""
        if self.level == "I":
            return tree.NamespaceTree(self.own_pidns, self.join)
        if self.root:
            return tree.PlainTree(tree.sweep_uid(self.uid, self.gid))
        return tree.PlainTree(tree.sweep_namespace if self.own_pids else tree.sweep_children)

    def join(self) -> None:
        """Run in the tree's first process: enter the control group, be the first the kernel kills for memory."""
        if self.group:
            self.group.join()
        try:
            fd = os.open("self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.proc)
            os.write(fd, b"1000")
            os.close(fd)
        except OSError:
            pass

    def confine(self, limits: dict[str, Any], fds: tuple[int, int, int], bounded: bool) -> None:
        """Confine the calling process, which is about to become a guest.

        Args:
            limits: the job's limits.
            fds: descriptors for stdin, stdout, stderr.
            bounded: whether to bound virtual memory (off for runtimes that reserve it by the gigabyte).
        """
        if self.level != "I":
            self.join()
        os.chdir(self.work)
        extra = 0
        if not self.root:  # other processes of this user count too
            extra = 3 if self.level == "I" else self._processes_of_user()
        space = (limits["mem_mb"] << 20) + (2 * GIB if self.group else GIB)
        self.confinement.apply(limits, limits["procs"] + extra, space if bounded else None, fds)

    def _processes_of_user(self) -> int:
        """Threads of every process of this user, which the kernel counts against the same limit."""
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
        return count - 1  # this process is the guest

    def begin(self, limits: dict[str, Any], files: dict[str, bytes]) -> None:
        """Make the scratch directory of a run and set its group's limits."""
        uid, gid = self.uid, self.gid
        if self.level == "I":
            view.fresh_work(limits["disk_mb"], uid, gid)
        else:
            for name in ("", "/tmp", "/shm"):
                os.mkdir(self.work + name, 0o700)
                if self.root:
                    os.chown(self.work + name, uid, gid)
        for name, data in files.items():
            self._place(name, data)
        if self.group:
            self.group.begin(limits["mem_mb"], limits["procs"] + (1 if self.level == "I" else 0))

    def _place(self, name: str, data: bytes) -> None:
        path = os.path.join(self.work, name)
        made = self.work
        for part in name.split("/")[:-1]:
            made = f"{made}/{part}"
            if not os.path.isdir(made):
                os.mkdir(made, 0o700)
                self._give(made)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o700)
        with open(fd, "wb") as file:
            file.write(data)
        self._give(path)

    def _give(self, path: str) -> None:
        if self.root or self.level == "I":
            os.chown(path, self.uid, self.gid)

    def collect(self, names: list[str], limit: int) -> dict[str, bytes]:
        """Read fetched files after every process of the run is dead; links and special files are left out."""
        found: dict[str, bytes] = {}
        if not names:
            return found
        directory = os.open(self.work, os.O_PATH | os.O_DIRECTORY)
        try:
            for name in names:
                data = _read_regular(directory, name, limit)
                if data is not None:
                    found[name] = data
                    limit -= len(data)
        finally:
            os.close(directory)
        return found

    def end(self) -> None:
        """Throw the scratch directory away."""
        if self.level == "I":
            view.drop_work()
            return
        try:
            for name in ("/tmp", "/shm", ""):
                os.rmdir(self.work + name)
        except OSError:
            pass
        if os.listdir(self.scratch):  # the guest may have been able to write beside its working directory, too
            for name in os.listdir(self.scratch):
                remove_tree(os.path.join(self.scratch, name))

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


def _read_regular(directory: int, name: str, limit: int) -> bytes | None:
    """The content of a regular file of at most ``limit`` bytes; None for anything else."""
    try:
        fd = kernel.open_beneath(directory, name)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError:
        return None
    finally:
        os.close(fd)


def remove_tree(path: str) -> None:
    """Remove a directory left by dead guests: by descriptor, never following a link, however deep or unreadable."""

    def unlock(function: Any, name: str, _info: Any) -> None:
        try:
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700, follow_symlinks=False)
        except (OSError, NotImplementedError):
            pass
        with contextlib.suppress(OSError, TypeError):
            function(name)

    with contextlib.suppress(RecursionError, OSError):
        shutil.rmtree(path, onerror=unlock)
    if os.path.lexists(path):
        pid = os.posix_spawn("/bin/rm", ["rm", "-rf", "--one-file-system", path], {})
        os.waitpid(pid, 0)


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
        elif op not in ("cancel", "kill", "interrupt", "close"):  # late words about a run that has just ended
            host.send({"op": "failed", "error": f"unknown operation {op!r}"})
            return
