"""What every guest process goes through between its fork and the first line of code nobody trusts.

The order matters; each step is needed by the next: group, session, descriptors, limits, user id, Landlock, and last the
system calls that the steps above need. What is the same for every guest of a slot (groups, umask, no_new_privs, some
limits, the filter of system calls) the launcher sets for itself once, and guests inherit it.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
from collections.abc import Callable
from typing import Any

from . import kernel, landlock, seccomp

GIB = 1 << 30


LIMITS = (
    resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_AS,
)  # fmt: skip


def kernel_limits(limits: dict[str, Any], nproc: int, address_space: int | None) -> list[int]:
    """The kernel's limits of a run: soft and hard of every kind in ``LIMITS``.

    Args:
        limits: the job's limits.
        nproc: processes and threads this user id may have.
        address_space: bound on virtual memory in bytes, or None for no bound.
    """
    cpu, file_size = max(1, math.ceil(limits["cpu_s"])), limits["file_mb"] << 20
    space = resource.RLIM_INFINITY if address_space is None else address_space
    wanted = ((cpu, cpu + 1), (file_size,) * 2, (limits["fds"],) * 2, (nproc,) * 2, (space,) * 2)
    table: list[int] = []
    for kind, pair in zip(LIMITS, wanted, strict=True):
        ceiling = resource.getrlimit(kind)[1]
        if ceiling == resource.RLIM_INFINITY:
            table += pair
        else:
            table += [ceiling if value == resource.RLIM_INFINITY else min(value, ceiling) for value in pair]
    return table


class Confinement:
    """How the guests of one slot are confined; made once by their launcher.

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
            self._ruleset = self._filter = self._last = None
            return
        # A launcher that makes a PID namespace per run must keep the calls for that; its guests lose them one by one.
        kept = seccomp.ENTERING if private_view else frozenset()
        self._ruleset = self._facility("landlock", lambda: landlock.build(read, [write], devices))
        self._filter = self._facility("seccomp", lambda: seccomp.filter_all(not private_view, kept))
        self._last = self._facility("seccomp", lambda: seccomp.filter_only(kept)) if kept else None

    def _facility(self, name: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except OSError as error:
            self.missing[name] = str(error)
            return None

    def prepare(self) -> None:
        """In the launcher, after everything else is set up: what all guests inherit is set once."""
        for kind in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
            resource.setrlimit(kind, (0, 0))
        os.umask(0o077)
        if self.uid is not None:
            os.setgroups([])
            os.setresgid(self.gid, self.gid, self.gid)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # after the change of group, which resets it
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if self._filter is not None:
            self._filter.install()

    def applier(self) -> Callable[[list[int], tuple[int, ...]], None]:
        """Make the function that confines a process, the leader of a session of its own, for good.

        It takes limits made by ``kernel_limits``, and what becomes descriptor 0, 1, 2 and 3; all above is closed.
        """
        dup2, closerange, setrlimit, setresuid = os.dup2, os.closerange, resource.setrlimit, os.setresuid
        kinds, uid, inner_user = tuple(enumerate(LIMITS)), self.uid, self.inner_user
        enter = landlock.entrance(self._ruleset) if self._ruleset is not None else None
        last = self._last.install if self._last is not None else None
        zero = ctypes.c_ulong(0)
        words = (ctypes.c_int(kernel.PR_SET_PDEATHSIG), ctypes.c_ulong(signal.SIGKILL), zero, zero, zero)
        die_with_parent = kernel.prepared("prctl", *words)

        def apply(limits: list[int], fds: tuple[int, ...]) -> None:
            dup2(fds[0], 0)
            dup2(fds[1], 1)
            dup2(fds[2], 2)
            for index, kind in kinds:
                setrlimit(kind, (limits[2 * index], limits[2 * index + 1]))
            if uid is not None:
                setresuid(uid, uid, uid)
            if inner_user:
                kernel.drop_capabilities()
            die_with_parent()  # after the change of user, which resets it
            if enter is not None:
                enter()
            dup2(fds[3], 3, False)
            closerange(4, 1 << 20)
            if last is not None:
                last()

        return apply
