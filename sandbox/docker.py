"""The Docker backend: a warm container per slot with the same fork server inside, speaking frames on stdin and stdout.

A container is started once and serves many runs; inside it every run is confined at level C. The client program is
enough; no Python package is needed. The host's process must not be reachable by guests: access to the Docker socket is
as good as root.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable

from . import image, owners, runtime
from .base import ForkServerSandbox, run_sync
from .channel import Channel
from .slots import Slot, error_file, server_config
from .types import SandboxError, SandboxUnavailable

LABEL = "palaestra.owner"
SCRATCH = "/box"
_numbers = itertools.count(1)


class DockerSandbox(ForkServerSandbox):
    """Runs guests in containers without network, capabilities or a writable root.

    Args:
        slots: containers for runs; by default the number of processors.
        image_name: an image with ``/usr/bin/python3`` (3.11 or newer); the default one is built when it is missing.
        require: properties that must be tested to hold; by default those of level C.
        mem_mb: memory of one container, all runs and sessions in it together.
        disk_mb: size of the scratch file system.
        oci_runtime: another OCI runtime, such as ``runsc`` (gVisor).
        max_sessions: sessions that may be open at once, each in a container of its own.
        recycle_after: runs after which a container is replaced.
        retry_starved: give a run that hit its wall limit on an overloaded machine a second chance.
        self_test: ``cached``, ``always`` or ``never``.

    Raises:
        SandboxUnavailable: there is no client, no daemon or no image.
    """

    backend = "docker"

    def __init__(
        self, slots: int | None = None, *, image_name: str = image.NAME, require: Iterable[str] | None = None,
        mem_mb: int = 1024, disk_mb: int = 64, oci_runtime: str | None = None, max_sessions: int = 64,
        recycle_after: int = 2000, retry_starved: bool = True, self_test: str = "cached",
    ) -> None:  # fmt: skip
        client = shutil.which("docker")
        if client is None:
            raise SandboxUnavailable([], "the docker client is not installed; apt-get install docker.io")
        super().__init__(slots or os.cpu_count() or 1, max_sessions, recycle_after, retry_starved)
        self.client, self.image_name, self.oci_runtime = client, image_name, oci_runtime
        self.mem_mb, self.disk_mb = mem_mb, disk_mb
        self.level, self.has_groups = "D", True
        try:
            daemon = "the Docker daemon does not answer; start dockerd"
            self._docker("version", "--format", "{{.Server.Version}}", hint=daemon)
            self.image_id = self._image()
        except BaseException:
            self.close_sync()
            raise
        self._sweep()
        try:
            slot = run_sync(self._runs.acquire())
        except (SandboxError, OSError) as error:
            self.close_sync()
            raise SandboxUnavailable([], f"no container starts here: {error}") from None
        self.facts = slot.hello
        self._runs.release(slot)
        from .selftest import examine

        try:
            self.isolation = examine(self, self_test)
            missing = "; ".join(f"{name}: {why}" for name, why in self.facts.get("missing", {}).items())
            self._require(require, missing or "this container runtime does not give it; try the local backend")
        except BaseException:
            self.close_sync()
            raise

    def identity(self) -> str:
        """What the self-test's cache must distinguish besides level and machine."""
        return f"{self.image_id} {self.mem_mb} {self.disk_mb} {self.oci_runtime}"

    def _docker(self, *words: str, hint: str) -> str:
        try:
            done = subprocess.run([self.client, *words], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxUnavailable([], f"{hint} ({error})") from None
        if done.returncode:
            raise SandboxUnavailable([], f"{hint} ({done.stderr.strip()[:300]})")
        return done.stdout.strip()

    def _image(self) -> str:
        look = ("image", "inspect", "--format", "{{.Id}}", self.image_name)
        try:
            return self._docker(*look, hint="")
        except SandboxUnavailable:
            if self.image_name != image.NAME:
                raise SandboxUnavailable([], f"there is no image {self.image_name!r} on this machine") from None
        image.build(self.client)
        return self._docker(*look, hint="the image that was just built cannot be found")

    def _sweep(self) -> None:
        """Remove containers of processes that are gone."""
        with contextlib.suppress(SandboxUnavailable):
            ids = self._docker("ps", "-aq", "--filter", f"label={LABEL}", hint="").split()
            for entry in json.loads(self._docker("inspect", *ids, hint="")) if ids else []:
                if owners.owner_is_gone(entry["Config"]["Labels"].get(LABEL, "")):
                    self._docker("rm", "-f", entry["Id"], hint="")

    def _command(self, name: str, uid: int) -> list[str]:
        mount = f"{SCRATCH}:rw,exec,nosuid,nodev,size={self.disk_mb}m,mode=0700,uid={uid},gid={uid}"
        words = [
            self.client, "run", "--rm", "-i", "--name", name, "--label", f"{LABEL}={owners.tag()}",
            "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--pids-limit", "4096", "--memory", f"{self.mem_mb}m", "--memory-swap", f"{self.mem_mb}m",
            "--user", f"{uid}:{uid}", "--tmpfs", mount, "--stop-timeout", "1", "--hostname", "guest",
            "--volume", f"{self.package}:/palaestra:ro",
        ]  # fmt: skip
        for variable, value in runtime.ENVIRONMENT.items():
            words += ["--env", f"{variable}={value}"]
        if self.oci_runtime:
            words += ["--runtime", self.oci_runtime]
        return [*words, self.image_name, "/usr/bin/python3", *runtime.FLAGS, "-c", runtime.BOOT, "/palaestra", "0", "1"]

    def _launch(self, profile: str) -> Slot:
        if profile != "stdlib":
            raise ValueError(
                f"Job.profile is {profile!r}; the docker backend offers 'stdlib'. Bake others into an image"
            )
        uid = 200_000 + secrets.randbelow(1 << 30)  # nobody else's: the process limit counts per user id
        name = f"{owners.tag()}-{next(_numbers)}"
        errors = error_file()
        process = subprocess.Popen(
            self._command(name, uid), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        channel = Channel(os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()))
        process.stdin.close()
        process.stdout.close()
        config = server_config(level="C", uid=uid, gid=uid, scratch=SCRATCH, own_pids=True)

        def remove() -> None:
            subprocess.run([self.client, "rm", "-f", name], capture_output=True, timeout=60)

        return Slot(process, channel, config, errors, lambda: None, kill=remove)
