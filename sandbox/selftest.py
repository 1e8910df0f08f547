"""Isolation as tested fact: canary attacks run in the sandbox, and the host looks at what became of the canaries."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from dataclasses import asdict
from typing import Any

from .probes import BOMB_CHILDREN, BOMB_MAIN, BURN_CHILDREN, DAEMON, FILL, FORKS, TOUCH
from .types import PROPERTIES, Isolation, Job, Limits, Property, RunResult

ALLOWED_ENV = {
    "PATH", "HOME", "TMPDIR", "LANG", "PYTHONHASHSEED", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX",
    "LC_CTYPE",
}  # fmt: skip
DAEMON_NAME = "plstra-canary"


class Canaries:
    """Things on the host that a guest must not reach; ``harm`` says which of them it did."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="canary-")
        os.chmod(self.directory, 0o777)
        self.secret = os.urandom(12).hex()
        self.file = os.path.join(self.directory, "canary")
        with open(self.file, "w") as file:
            file.write(self.secret)
        os.chmod(self.file, 0o666)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.abstract = self._unix("\0canary-" + self.secret, socket.SOCK_STREAM)
        self.path = self._unix(os.path.join(self.directory, "stream"), socket.SOCK_STREAM)
        self.datagram = self._unix(os.path.join(self.directory, "datagram"), socket.SOCK_DGRAM)
        for entry in (self.tcp, self.udp, self.abstract, self.path, self.datagram):
            entry.setblocking(False)
        self.victim = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
        self.before = self._look()

    @staticmethod
    def _unix(address: str, kind: int) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, kind)
        sock.bind(address)
        if not address.startswith("\0"):
            os.chmod(address, 0o777)
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return sock

    def _look(self) -> tuple[Any, ...]:
        status = os.stat(self.file)
        with open(self.file) as file:
            content = file.read()
        shape = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_nlink, status.st_mtime_ns, status.st_size)
        return (*shape, content, tuple(os.listxattr(self.file)), tuple(sorted(os.listdir(self.directory))))

    def targets(self) -> dict[str, Any]:
        """Where the canaries are, for the probes."""
        return {
            "file": self.file, "dir": self.directory,
            "tcp": self.tcp.getsockname()[1], "udp": self.udp.getsockname()[1],
            "abstract": "canary-" + self.secret, "stream": os.path.join(self.directory, "stream"),
            "datagram": os.path.join(self.directory, "datagram"), "victim": self.victim.pid, "host": os.getpid(),
            "daemon": DAEMON_NAME,
        }  # fmt: skip

    def harm(self) -> set[str]:
        """What happened to the canaries, as names of violated properties."""
        found: set[str] = set()
        try:
            now = self._look()
        except OSError:  # the canary is gone, or cannot be read any more
            return {"fs_meta", "fs_write"} | self._disturbed()
        if now[:4] != self.before[:4] or now[6] != self.before[6]:
            found.add("fs_meta")
        if now[4:6] != self.before[4:6] or now[7] != self.before[7]:
            found.add("fs_write")
        return found | self._disturbed()

    def _disturbed(self) -> set[str]:
        """What happened to the sockets and the process."""
        found: set[str] = set()
        for name, sock in (("net_inet", self.tcp), ("net_unix", self.abstract), ("net_unix", self.path)):
            with contextlib.suppress(BlockingIOError):
                sock.accept()[0].close()
                found.add(name)
        for name, sock in (("net_inet", self.udp), ("net_unix", self.datagram)):
            with contextlib.suppress(BlockingIOError):
                sock.recv(100)
                found.add(name)
        if self.victim.poll() is not None:
            found.add("signal_host")
        return found

    def close(self) -> None:
        """Remove everything."""
        for sock in (self.tcp, self.udp, self.abstract, self.path, self.datagram):
            sock.close()
        self.victim.kill()
        self.victim.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def processes_named(name: str) -> list[int]:
    """Processes on this machine whose name is ``name``; they are found by looking, not by asking."""
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        with contextlib.suppress(OSError), open(path) as file:
            if file.read().strip() == name:
                found.append(int(path.split("/")[2]))
    return found


def probe(sandbox: Any, canaries: Canaries) -> dict[str, Property]:
    """Attack a sandbox and judge what it withstood."""
    small = Limits(wall_s=20, cpu_s=10, mem_mb=96, procs=8, disk_mb=4, file_mb=4)
    stdin = json.dumps(canaries.targets())
    jobs = {
        "touch": Job(code=TOUCH, stdin=stdin, limits=small),
        "forks": Job(code=FORKS, limits=small),
        "daemon": Job(code=DAEMON, stdin=stdin, limits=small),
        "bomb": Job(code=BOMB_MAIN, limits=small),
        "bombs": Job(code=BOMB_CHILDREN, limits=small),
        "burn": Job(code=BURN_CHILDREN, limits=Limits(wall_s=20, cpu_s=0.3, procs=8)),
        "fill": Job(code=FILL, limits=small),
    }
    results = dict(zip(jobs, sandbox.run_batch_sync(list(jobs.values())), strict=True))
    broken = [f"{name}: {result.reason}" for name, result in results.items() if result.verdict == "sandbox_error"]
    if broken:
        return {name: Property("absent", f"the self-test could not run: {broken[0]}") for name in PROPERTIES}
    alive = processes_named(DAEMON_NAME)
    for pid in alive:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return judge(results, canaries.harm(), bool(alive), canaries.secret)


def judge(results: dict[str, RunResult], harm: set[str], daemon_alive: bool, secret: str) -> dict[str, Property]:
    """From what the probes said and what the host saw to one property each."""
    try:
        touched = json.loads(results["touch"].stdout)
    except ValueError:
        touched = None
    found: dict[str, Property] = {}

    def conclude(name: str, holds: bool, evidence: str) -> None:
        if touched is None and name not in ("proc_count", "kill_tree", "mem_process", "mem_tree", "cpu_tree", "disk"):
            found[name] = Property("absent", f"the probe did not finish: {results['touch'].reason}")
        else:
            found[name] = Property("tested" if holds and name not in harm else "absent", evidence)

    said = touched or {}
    for name in ("fs_read", "fs_write", "fs_meta", "net_inet", "net_unix", "signal_host", "ptrace", "syscalls", "uid"):
        attempts = said.get(name, {})
        succeeded = sorted(what for what, outcome in attempts.items() if outcome == "done")
        text = f"succeeded: {', '.join(succeeded)}" if succeeded else f"refused: {', '.join(sorted(attempts))}"
        conclude(name, not succeeded, text)
    leaked = set(said.get("environ", ())) - ALLOWED_ENV
    conclude(
        "env", not leaked and secret.encode() not in results["touch"].stdout, f"foreign variables: {sorted(leaked)}"
    )
    forks = results["forks"].stdout.strip()
    conclude("proc_count", forks.isdigit() and int(forks) <= 8, f"{forks.decode()} of 40 forks with a cap of 8")
    conclude("kill_tree", not daemon_alive and results["daemon"].ok, "a daemon left behind was killed")
    bomb, bombs = results["bomb"], results["bombs"]
    conclude("mem_process", bomb.verdict == "memory", f"twice the limit in one process: {bomb.verdict}")
    conclude("mem_tree", bombs.verdict == "memory", f"twice the limit over four processes: {bombs.verdict}")
    burn = results["burn"]
    conclude("cpu_tree", burn.verdict == "timeout_cpu" and burn.cpu_s < 2, f"burning children: {burn.verdict}")
    conclude(
        "disk", results["fill"].verdict == "file_limit", f"filling the scratch directory: {results['fill'].verdict}"
    )
    return {name: found[name] for name in PROPERTIES}


def examine(sandbox: Any, mode: str) -> Isolation:
    """The isolation report of a sandbox, from the cache or from a fresh test.

    Args:
        sandbox: a ForkServerSandbox with ``level``, ``facts`` and ``has_groups``.
        mode: ``cached``, ``always`` or ``never``.
    """
    level = sandbox.level + ("+" if sandbox.level == "I" and sandbox.has_groups else "")
    if mode == "never":
        untested = {name: Property("declared", "the self-test was switched off") for name in PROPERTIES}
        return Isolation(sandbox.backend, level, untested)
    if mode not in ("cached", "always"):
        raise ValueError(f"self_test is {mode!r}; choose 'cached', 'always' or 'never'")
    key = _key(sandbox, level)
    properties = _load(key) if mode == "cached" else None
    if properties is None:
        canaries = Canaries()
        try:
            properties = probe(sandbox, canaries)
        finally:
            canaries.close()
        _store(key, properties)
    return Isolation(sandbox.backend, level, properties)


def _key(sandbox: Any, level: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(sandbox.package, "guest", "*.py"))):
        with open(path, "rb") as file:
            digest.update(file.read())
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
    except OSError:
        boot = "unknown"
    place = [boot, os.uname().release, os.geteuid(), sandbox.backend, level, sandbox.identity(), digest.hexdigest()]
    namespaces = [os.readlink(f"/proc/self/ns/{name}") for name in ("user", "mnt", "pid")]
    return hashlib.sha256(json.dumps([place, namespaces]).encode()).hexdigest()


def _cache_file() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "palaestra", "isolation.json")


def _load(key: str) -> dict[str, Property] | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        path = _cache_file()
        if os.stat(path).st_uid != os.geteuid():
            return None
        with open(path) as file:
            entry = json.load(file)[key]
        if set(entry) == set(PROPERTIES):
            return {name: Property(**entry[name]) for name in PROPERTIES}
    return None


def _store(key: str, properties: dict[str, Property]) -> None:
    path = _cache_file()
    with contextlib.suppress(OSError, ValueError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            known = json.load(file)
        known[key] = {name: asdict(entry) for name, entry in properties.items()}
        while len(known) > 20:
            known.pop(next(iter(known)))
        temporary = f"{path}.{os.getpid()}.{time.monotonic_ns()}"
        with open(temporary, "w") as file:
            json.dump(known, file)
        os.replace(temporary, path)
