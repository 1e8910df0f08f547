"""What every guest process goes through between its fork and the first line of code nobody trusts.

The order matters; each step is needed by the next: group, session, descriptors, limits, user id, Landlock, and seccomp
last, because it forbids the calls above. What is the same for every guest of a slot (groups, umask, no_new_privs, some
limits) the fork server sets for itself once, and guests inherit it.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Callable
from typing import Any

from . import kernel, landlock, seccomp

GIB = 1 << 30


class Confinement:
    """How the guests of one slot are confined; made once by the fork server.

    Args:
        uid: user id to change to, or None to keep the present one.
        gid: group id that goes with it.
        read: trees a guest may read and execute.
        write: the directory a guest may write in.
        devices: device files it may use.
        private_view: whether a private file view already makes the host unreachable.
        inner_user: whether this is the inside of a user namespace, where capabilities must be dropped.
        trusted: limits only, for code that is not hostile.
    """

    def __init__(
        self, uid: int | None, gid: int, read: list[str], write: str, devices: list[str], private_view: bool,
        inner_user: bool, trusted: bool = False,
    ) -> None:  # fmt: skip
        self.uid, self.gid, self.inner_user = uid, gid, inner_user
        self.missing: dict[str, str] = {}
        self.landlock_abi = landlock.abi()
        if trusted:
            self.missing = {"landlock": "switched off", "seccomp": "switched off"}
            self._ruleset = self._filter = None
            return
        self._ruleset = self._facility("landlock", lambda: landlock.build(read, [write], devices))
        self._filter = self._facility("seccomp", lambda: seccomp.Filter(deny_metadata=not private_view))

    def _facility(self, name: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except OSError as error:
            self.missing[name] = str(error)
            return None

    def prepare(self) -> None:
        """In the fork server, after everything else is set up: what all guests inherit is set once."""
        for kind in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
            resource.setrlimit(kind, (0, 0))
        os.umask(0o077)
        if self.uid is not None:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # after the change of group, which resets it
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)

    def table(self, limits: dict[str, Any], nproc: int, address_space: int | None) -> list[tuple[int, tuple[int, int]]]:
        """The kernel's limits of a run: kind, soft and hard.

        Args:
            limits: the job's limits.
            nproc: processes and threads this user id may have.
            address_space: bound on virtual memory in bytes, or None for no bound.
        """
        cpu = max(1, math.ceil(limits["cpu_s"]))
        file_size = limits["file_mb"] << 20
        wanted = [
            (resource.RLIMIT_CPU, cpu, cpu + 1),
            (resource.RLIMIT_FSIZE, file_size, file_size),
            (resource.RLIMIT_NOFILE, limits["fds"], limits["fds"]),
            (resource.RLIMIT_NPROC, nproc, nproc),
        ]
        if address_space is not None:
            wanted.append((resource.RLIMIT_AS, address_space, address_space))
        table = []
        for kind, soft, hard in wanted:
            ceiling = resource.getrlimit(kind)[1]
            if ceiling != resource.RLIM_INFINITY:
                soft, hard = min(soft, ceiling), min(hard, ceiling)
            table.append((kind, (soft, hard)))
        return table

    def apply(self, table: list[tuple[int, tuple[int, int]]], fds: tuple[int, int, int]) -> None:
        """Confine this process for good. No_new_privs, groups and umask are inherited from the fork server.

        Args:
            table: limits made by ``table``.
            fds: what becomes descriptor 0, 1 and 2.
        """
        os.setsid()
        for target, fd in enumerate(fds):
            os.dup2(fd, target)
        for kind, pair in table:
            resource.setrlimit(kind, pair)
        if self.uid is not None:
            os.setresuid(self.uid, self.uid, self.uid)
        if self.inner_user:
            kernel.drop_capabilities()
        if self._ruleset is not None:
            landlock.enter(self._ruleset)

    def seal(self, keep: int) -> None:
        """Make one descriptor number 3, close all above, and install the system-call filter.

        Args:
            keep: the descriptor.
        """
        os.dup2(keep, 3, inheritable=False)
        os.closerange(4, 1 << 20)
        if self._filter is not None:
            self._filter.install()
