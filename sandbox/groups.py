"""Control groups for slots, made where this process is allowed to make them."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from dataclasses import dataclass

from . import owners

NEEDED = ("memory", "pids", "cpuacct")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class GroupDirectories:
    """The control group of one slot.

    Attributes:
        directories: controller to directory.
        version: of the hierarchy, 1 or 2.
    """

    directories: dict[str, str]
    version: int

    def remove(self) -> None:
        """Remove the directories; waits briefly for the last process to be gone."""
        for path in dict.fromkeys(self.directories.values()):
            for _ in range(50):
                try:
                    os.rmdir(path)
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
                else:
                    break


def _mounts() -> dict[str, tuple[str, int]]:
    """Controller (or ``""`` for v2) to mount point and version."""
    found: dict[str, tuple[str, int]] = {}
    with open("/proc/self/mounts") as file:
        for line in file:
            _, path, kind, options = line.split()[:4]
            if kind == "cgroup2":
                found[""] = (path, 2)
            elif kind == "cgroup":
                for name in set(options.split(",")) & set(NEEDED):
                    found[name] = (path, 1)
    return found


def _own() -> dict[str, str]:
    """Controller (or ``""`` for v2) to the path of this process's group."""
    own: dict[str, str] = {}
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for name in controllers.split(","):
                own[name] = path
    return own


def parents() -> tuple[dict[str, str], int] | None:
    """Where groups could be made: controller to directory, and the version; None where there is no hierarchy."""
    try:
        mounts, own = _mounts(), _own()
    except OSError:
        return None
    if all(name in mounts for name in NEEDED):
        return {name: mounts[name][0] + own.get(name, "/").rstrip("/") for name in NEEDED}, 1
    if "" in mounts:
        return {name: mounts[""][0] + own.get("", "/").rstrip("/") for name in NEEDED}, 2
    return None


def make() -> GroupDirectories | None:
    """Make a group for one slot below this process's own; None where that is not possible."""
    found = parents()
    if found is None:
        return None
    where, version = found
    name = f"{owners.tag()}-{next(_numbers)}"
    group = GroupDirectories({key: os.path.join(path, name) for key, path in where.items()}, version)
    try:
        for path in dict.fromkeys(group.directories.values()):
            os.mkdir(path, 0o755)
        probe = "memory.limit_in_bytes" if version == 1 else "memory.max"
        if not os.access(os.path.join(group.directories["memory"], probe), os.W_OK):
            raise OSError(f"{probe} is not there")
    except OSError:
        group.remove()
        return None
    return group


def sweep() -> None:
    """Remove groups of processes that are gone."""
    found = parents()
    for path in set(found[0].values()) if found else ():
        with contextlib.suppress(OSError):
            for name in os.listdir(path):
                if owners.owner_is_gone(name):
                    with contextlib.suppress(OSError):
                        os.rmdir(os.path.join(path, name))
