"""The scratch directory of a slot: fresh for every run, filled with the job's files, read and emptied afterwards."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import Any

from . import kernel, view

SETTLED_NS = 20_000_000  # a change later than this after the last one shows in ctime, however coarse the clock


class Scratch:
    """Working directories of the runs of one slot.

    Making and removing them is a good part of the cost of a short run, so they are kept when the last run left them
    untouched: the change times of all of them are then what they were before it.

    Args:
        base: directory that the runs' working directory is made in.
        work: the working directory.
        mounted: whether the working directory is a file system of its own (level I).
        uid: owner of what is placed there.
        gid: group of what is placed there.
        give: whether the owner must be set (the fork server is somebody else).
    """

    def __init__(self, base: str, work: str, mounted: bool, uid: int, gid: int, give: bool) -> None:
        self.base, self.work, self.mounted = base, work, mounted
        self.uid, self.gid, self.give = uid, gid, give
        self._directories = [work, work + "/tmp", work + "/shm", *([] if mounted else [base])]
        self._clean: list[tuple[int, ...]] | None = None
        self._settled = False
        self._disk_mb = 0

    def begin(self, disk_mb: int, files: dict[str, bytes]) -> None:
        """Have an empty working directory with the job's files in it."""
        if self._clean is not None and self.mounted and disk_mb != self._disk_mb:
            self._drop()
        if self._clean is None:
            self._make(disk_mb)
        elif not self._settled:
            self._settled = time.time_ns() - max(state[4] for state in self._clean) > SETTLED_NS
        for name, data in files.items():
            self._place(name, data)

    def _make(self, disk_mb: int) -> None:
        if self.mounted:
            view.fresh_work(disk_mb, self.uid, self.gid)
        else:
            for path in self._directories[:3]:
                os.mkdir(path, 0o700)
                if self.give:
                    os.chown(path, self.uid, self.gid)
        self._disk_mb, self._clean, self._settled = disk_mb, self._states(), False

    def _states(self) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        for path in self._directories:
            status = os.lstat(path)
            found.append((status.st_ino, status.st_mode, status.st_uid, status.st_nlink, status.st_ctime_ns))
        return found

    def _untouched(self) -> bool:
        try:
            if self._states() != self._clean:
                return False
        except OSError:
            return False
        if self._settled:
            return True
        expected = (2, 0, 0, 1)  # too young for the times to tell
        return all(
            len(os.listdir(path)) == count and not os.listxattr(path, follow_symlinks=False)
            for path, count in zip(self._directories, expected, strict=False)
        )

    def end(self) -> None:
        """Throw away what the run left; every process of it is dead."""
        if not self._untouched():
            self._drop()

    def _drop(self) -> None:
        self._clean = None
        if self.mounted:
            view.drop_work()
            return
        for name in os.listdir(self.base):  # the guest may have been able to write beside its working directory, too
            remove_tree(os.path.join(self.base, name))

    def _place(self, name: str, data: bytes) -> None:
        made = self.work
        for part in name.split("/")[:-1]:
            made = f"{made}/{part}"
            if not os.path.isdir(made):
                os.mkdir(made, 0o700)
                self._give(made)
        path = os.path.join(self.work, name)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o700)
        with open(fd, "wb") as file:
            file.write(data)
        self._give(path)

    def _give(self, path: str) -> None:
        if self.give:
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
    import shutil  # late: it brings three compression libraries, which every guest would be a copy of

    def unlock(function: Any, name: str, _info: Any) -> None:
        try:
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700, follow_symlinks=False)
        except (OSError, NotImplementedError):
            pass
        with contextlib.suppress(OSError, TypeError):
            function(name)

    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(RecursionError, OSError):
        shutil.rmtree(path, onerror=unlock)
    if os.path.lexists(path):
        pid = os.posix_spawn("/bin/rm", ["rm", "-rf", "--one-file-system", path], {})
        os.waitpid(pid, 0)
