"""What every guest process goes through between its fork and the first line of code nobody trusts.

The order matters; each step is needed by the next: group, session, descriptors, limits, user id, no_new_privs,
Landlock, and seccomp last, because it forbids the calls above.
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

    def apply(self, limits: dict[str, Any], nproc: int, address_space: int | None, fds: tuple[int, int, int]) -> None:
        """Confine this process for good.

        Args:
            limits: the job's limits.
            nproc: processes and threads this user id may have.
            address_space: bound on virtual memory in bytes, or None for no bound.
            fds: what becomes descriptor 0, 1 and 2.
        """
        os.setsid()
        for target, fd in enumerate(fds):
            os.dup2(fd, target)
        os.umask(0o077)
        self._limits(limits, nproc, address_space)
        if self.uid is not None:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        if self.inner_user:
            kernel.drop_capabilities()
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if self._ruleset is not None:
            landlock.enter(self._ruleset)

    def seal(self, keep: int = -1) -> None:
        """Close every descriptor above 2 except one, then install the system-call filter."""
        if keep > 2:
            os.closerange(3, keep)
            os.closerange(keep + 1, 1 << 20)
        else:
            os.closerange(3, 1 << 20)
        if self._filter is not None:
            self._filter.install()

    def _limits(self, limits: dict[str, Any], nproc: int, address_space: int | None) -> None:
        cpu = max(1, math.ceil(limits["cpu_s"]))
        file_size = limits["file_mb"] << 20
        table = [
            (resource.RLIMIT_CPU, cpu, cpu + 1),
            (resource.RLIMIT_FSIZE, file_size, file_size),
            (resource.RLIMIT_NOFILE, limits["fds"], limits["fds"]),
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_MEMLOCK, 0, 0),
            (resource.RLIMIT_MSGQUEUE, 0, 0),
            (resource.RLIMIT_NPROC, nproc, nproc),
        ]
        if address_space is not None:
            table.append((resource.RLIMIT_AS, address_space, address_space))
        for kind, soft, hard in table:
            ceiling = resource.getrlimit(kind)[1]
            if ceiling != resource.RLIM_INFINITY:
                soft, hard = min(soft, ceiling), min(hard, ceiling)
            resource.setrlimit(kind, (soft, hard))
