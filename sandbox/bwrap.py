"""The bubblewrap backend: a warm fork server per slot in namespaces made by ``bwrap``, without root.

Bubblewrap is started once per slot and serves many runs; inside, every run is confined at level C. Good where the local
backend's own namespaces are not to be used.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import Any

from . import owners, runtime
from .base import ForkServerSandbox, run_sync
from .guest import view
from .local import INNER_UID, start_server
from .slots import Slot, server_config
from .types import SandboxError, SandboxUnavailable

SCRATCH = "/box/s"
GUEST = "/palaestra"
SCOPES = 6  # the Landlock version that protects a fork server from its guests; below it every run gets a new server


class BwrapSandbox(ForkServerSandbox):
    """Runs guests under bubblewrap. As root, bubblewrap itself runs under a user id reserved for the slot.

    Args:
        slots: runs at the same time; by default the number of processors.
        require: properties that must be tested to hold; by default those of level C.
        disk_mb: size of the scratch file system.
        max_sessions: sessions that may be open at once.
        recycle_after: runs after which the fork server and its namespaces are replaced; 1 gives every run fresh ones.
        retry_starved: give a run that hit its wall limit on an overloaded machine a second chance.
        self_test: ``cached``, ``always`` or ``never``.

    Raises:
        SandboxUnavailable: bubblewrap is missing or does not work here.
    """

    backend = "bwrap"

    def __init__(
        self, slots: int | None = None, *, require: Iterable[str] | None = None, disk_mb: int = 64,
        max_sessions: int = 64, recycle_after: int = 2000, retry_starved: bool = True, self_test: str = "cached",
    ) -> None:  # fmt: skip
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxUnavailable([], "bubblewrap is not installed; apt-get install bubblewrap")
        super().__init__(slots or os.cpu_count() or 1, max_sessions, recycle_after, retry_starved)
        self.program, self.disk_mb = program, disk_mb
        self.root = os.geteuid() == 0
        self.level, self.has_groups = "I", False
        self.runtime = runtime.readable_by_all() if self.root else runtime.current()
        owners.sweep_directories()
        try:
            slot = run_sync(self._runs.acquire())
        except (SandboxError, OSError) as error:
            self.close_sync()
            raise SandboxUnavailable([], f"bubblewrap does not work here: {error}") from None
        self.facts = slot.hello
        if self.facts["landlock"] < SCOPES:
            for pool in (self._runs, self._checkers, self._sessions):
                pool.recycle_after = 1
        self._runs.release(slot)
        from .selftest import examine

        try:
            self.isolation = examine(self, self_test)
            self._require(require, "bubblewrap alone does not give this; use the local or the docker backend")
        except BaseException:
            self.close_sync()
            raise

    def identity(self) -> str:
        """What the self-test's cache must distinguish besides level and machine."""
        return f"{self.runtime.executable} {self.disk_mb}"

    def _command(self, trees: Iterable[str]) -> list[str]:
        words = [
            self.program, "--unshare-all", "--as-pid-1", "--die-with-parent", "--new-session", "--clearenv",
            "--uid", str(INNER_UID), "--gid", str(INNER_UID), "--hostname", "guest",
        ]  # fmt: skip
        for name, value in runtime.ENVIRONMENT.items():
            words += ["--setenv", name, value]
        for path in view.SYSTEM:
            if os.path.islink(path):
                words += ["--symlink", os.readlink(path), path]
            elif os.path.isdir(path):
                words += ["--ro-bind", path, path]
        for path in (*(f"/etc/{name}" for name in view.ETC), *trees):
            words += ["--ro-bind-try", path, path]
        words += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", self.package, GUEST]
        words += ["--size", str(self.disk_mb << 20), "--tmpfs", "/box", "--dir", SCRATCH]
        words += ["--symlink", f"{SCRATCH}/w/tmp", "/tmp", "--dir", "/var", "--symlink", f"{SCRATCH}/w/tmp", "/var/tmp"]
        return [*words, "--chdir", "/", "--", self.runtime.executable]

    def _launch(self, profile: str) -> Slot:
        extra = runtime.profile(profile, self.runtime)
        undo: list[Any] = []
        try:
            popen: dict[str, Any] = {}
            if self.root:
                reserved = owners.UserId()
                undo.append(reserved.release)
                popen = {"user": reserved.uid, "group": reserved.uid, "extra_groups": []}
            config = server_config(
                level="C", uid=INNER_UID, gid=INNER_UID, scratch=SCRATCH, own_pids=True,
                trees=self.runtime.trees, profile=extra,
            )  # fmt: skip
            command = self._command([*self.runtime.trees, *extra.trees])
            return start_server(command, config, undo, GUEST, **popen)
        except BaseException:
            for action in reversed(undo):
                action()
            raise
