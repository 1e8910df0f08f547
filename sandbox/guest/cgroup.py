"""Control groups of one slot: memory and number of processes for the whole tree, and its processor time.

The host makes the directories (see ``palaestra.sandbox.groups``) and removes them; the fork server opens the files
once, before it leaves the host's file view, and works on descriptors only.
"""

from __future__ import annotations

import os


class Group:
    """The control files of one slot, on the v1 or the v2 hierarchy.

    Args:
        directories: controller name (``memory``, ``pids``, ``cpuacct``) to directory; on v2 all name the same one.
        version: 1 or 2.
    """

    def __init__(self, directories: dict[str, str], version: int) -> None:
        self.version = version
        self._limits: tuple[int, int] | None = None
        self._now: tuple[int, int, float] | None = None
        v1 = version == 1
        self._procs = [self._open(path, "cgroup.procs", os.O_WRONLY) for path in dict.fromkeys(directories.values())]
        self._files = {
            "limit": self._open(directories["memory"], "memory.limit_in_bytes" if v1 else "memory.max", os.O_WRONLY),
            "peak": self._open(directories["memory"], "memory.max_usage_in_bytes" if v1 else "memory.peak", os.O_RDWR),
            "oom": self._open(directories["memory"], "memory.oom_control" if v1 else "memory.events", os.O_RDONLY),
            "pids": self._open(directories["pids"], "pids.max", os.O_WRONLY),
            "pids_hit": self._open(directories["pids"], "pids.events", os.O_RDONLY),
            "cpu": self._open(directories["cpuacct"], "cpuacct.usage" if v1 else "cpu.stat", os.O_RDONLY),
        }

    @staticmethod
    def _open(directory: str, name: str, flags: int) -> int:
        path = os.path.join(directory, name)
        try:
            return os.open(path, flags | os.O_CLOEXEC)
        except PermissionError:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # memory.peak cannot be reset on older kernels

    def _read(self, name: str) -> str:
        return os.pread(self._files[name], 4096, 0).decode()

    def _write(self, name: str, value: str) -> None:
        os.pwrite(self._files[name], value.encode(), 0)

    def _counter(self, name: str, key: str) -> int:
        for line in self._read(name).splitlines():
            if line.startswith(key + " "):
                return int(line.split()[1])
        return 0

    def begin(self, mem_mb: int, procs: int) -> None:
        """Set the limits of the next run and remember the counters."""
        if self._limits != (mem_mb, procs):
            self._write("limit", str(mem_mb << 20))
            self._write("pids", str(procs))
            self._limits = (mem_mb, procs)
        try:
            self._write("peak", "0")
            self._peak_reset = True
        except OSError:
            self._peak_reset = False
        self._start = self._now or self._counters()

    def join(self) -> None:
        """Move the calling process into the group."""
        for fd in self._procs:
            os.write(fd, b"0")

    def cpu_s(self) -> float:
        """Processor seconds of the group, ever."""
        if self.version == 1:
            return int(self._read("cpu")) / 1e9
        return self._counter("cpu", "usage_usec") / 1e6

    def _counters(self) -> tuple[int, int, float]:
        return self._counter("oom", "oom_kill"), self._counter("pids_hit", "max"), self.cpu_s()

    def since_begin(self) -> tuple[int, int, float, int]:
        """``(oom kills, refused forks, cpu seconds, peak KiB)`` of the run; peak 0 where it cannot be measured."""
        peak = int(self._read("peak")) >> 10 if self._peak_reset else 0
        self._now = self._counters()  # between runs the group is empty, so the next run starts from here
        oom, forks, cpu = (now - start for now, start in zip(self._now, self._start, strict=True))
        return int(oom), int(forks), cpu, peak
