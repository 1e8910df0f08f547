"""Runs the attacks against one backend and checks after each that the host is as it was. Prints one JSON line per case.

It only works where it can do no harm: in PID, mount and IPC namespaces of its own (``test_attacks.py`` sees to that),
or as an ordinary user. As root it refuses a backend that does not confine.

    python suite.py BACKEND HOST_PID_NAMESPACE

With ``PALAESTRA_ATTACKS=full`` the session of A48 runs 10,000 cells instead of 1,000.
"""

from __future__ import annotations

import asyncio
import glob
import json
import os
import socket
import sys
import tempfile
import time
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))
from cases import CASES, EXPECTED, PRELUDE, Case

import palaestra.sandbox
from palaestra.sandbox import AssertTest, CallTest, Job, LocalSandbox, RunResult, SandboxUnavailable, groups, owners
from palaestra.sandbox.selftest import DAEMON_NAME, Canaries, processes_named

ENV_SECRET = "canary-env-0c5a"
HONEST = "print(sum(i * i for i in range(100)))"
PATIENCE_S = 20.0  # a busy machine; the real overrun is reported


def open_backend(name: str) -> Any:
    """The sandbox to attack."""
    if name in ("C", "I"):
        return LocalSandbox(slots=4, level=name, retry_starved=False)
    if name == "docker":
        from palaestra.sandbox import DockerSandbox

        return DockerSandbox(slots=4, retry_starved=False)
    from palaestra.sandbox import BwrapSandbox

    return BwrapSandbox(slots=4, retry_starved=False)


def refuse(sandbox_level: str, host_pid_namespace: str) -> None:
    """Refuse to attack from a place, or a backend, where that would do harm."""
    root = os.geteuid() == 0
    if root and os.readlink("/proc/self/ns/pid") == host_pid_namespace:
        raise SystemExit("refused: as root this suite only runs in namespaces of its own")
    if root and sandbox_level == "T":
        raise SystemExit("refused: this backend does not confine, and this is root")


def parents() -> dict[int, int]:
    """Every process that can be seen, with its parent."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                found[int(path.split("/")[2])] = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    return found


def children(pid: int) -> list[int]:
    """The processes a process has started."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def entries(path: str) -> int:
    """How many entries a directory has; 0 where it cannot be read."""
    try:
        return len(os.listdir(path))
    except OSError:
        return 0


def lines(path: str) -> int:
    """How many lines a file has; 0 where it cannot be read."""
    try:
        with open(path) as file:
            return sum(1 for _ in file)
    except OSError:
        return 0


async def warm_up(sandbox: Any) -> None:
    """Start every fork server the attacks will use, so that what is held at rest is known."""
    code = "import time; time.sleep(.3)\ndef f(): return time.sleep(.3)"
    tests = [CallTest("call", "f"), AssertTest("assert", "f()")]
    await sandbox.run_batch([Job(code=code)] * 4)
    await sandbox.run_batch([Job(code=code, tests=tests)] * 4)
    sessions = [await sandbox.session() for _ in range(8)]
    for session in sessions:
        await session.close()


class Host:
    """The host's side: canaries, and what must not change."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        os.environ["PALAESTRA_CANARY"] = ENV_SECRET
        self.canaries = Canaries()
        self.secrets = [ENV_SECRET, self.canaries.secret, EXPECTED]
        self.at_rest = self.processes()
        self.holdings = self.hold()
        self.mounts = self.mount_table()
        self.rss = self.resident()

    def targets(self) -> dict[str, Any]:
        servers = [slot.process.pid for slot in self.slots()]
        address = socket.gethostbyname(socket.gethostname()) if socket.gethostname() else "127.0.0.1"
        repo = os.path.dirname(os.path.dirname(palaestra.sandbox.__file__))
        tested = sorted(self.sandbox.isolation.tested)
        return {**self.canaries.targets(), "tested": tested, "servers": servers, "address": address, "repo": repo}

    def slots(self) -> list[Any]:
        pools = (self.sandbox._runs, self.sandbox._checkers, self.sandbox._sessions)
        return [slot for pool in pools for slot in pool._all]

    def processes(self) -> dict[str, int]:
        """Processes per fork server, and those that belong to none of them."""
        tree = parents()
        roots = {slot.process.pid for slot in self.slots()}
        per_server: list[int] = []
        known = {os.getpid(), os.getppid(), 1, self.canaries.victim.pid}
        for root in roots:
            mine = {root}
            while more := {pid for pid, parent in tree.items() if parent in mine} - mine:
                mine |= more
            known |= mine
            per_server.append(len(mine & tree.keys()))
        strangers = [pid for pid in tree if pid not in known and tree[pid] not in (0, os.getpid())]
        return {"most": max(per_server, default=0), "strangers": len(strangers)}

    @staticmethod
    def mount_table() -> list[str]:
        """The mounts, less those of containers that other programs start and stop meanwhile."""
        with open("/proc/self/mountinfo") as file:
            return [line for line in file if "docker" not in line and " nsfs " not in line]

    def hold(self) -> dict[str, int]:
        """What the sandbox holds now: here, and in the fork server that holds most."""
        parents_of_groups = groups.parents()
        places = set(parents_of_groups[0].values()) if parents_of_groups else set()
        servers = [pid for slot in self.slots() for pid in (slot.process.pid, *children(slot.process.pid))]
        return {
            "file descriptors": len(os.listdir("/proc/self/fd")),
            "control groups": sum(name.startswith(owners.tag()) for path in places for name in os.listdir(path)),
            "directories": sum(name.startswith(owners.tag()) for name in os.listdir(tempfile.gettempdir())),
            "file descriptors of a server": max((entries(f"/proc/{pid}/fd") for pid in servers), default=0),
            "mounts of a server": max((lines(f"/proc/{pid}/mounts") for pid in servers), default=0),
        }

    @staticmethod
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096 >> 20

    async def settled(self) -> str:
        """H2: wait briefly until nothing of a run is left; say what is."""
        deadline = time.monotonic() + PATIENCE_S / 2
        while True:
            now, daemons = self.processes(), processes_named(DAEMON_NAME)
            if now["most"] <= self.at_rest["most"] and now["strangers"] <= self.at_rest["strangers"] and not daemons:
                return ""
            if time.monotonic() > deadline:
                return f"H2: processes left: {now} (at rest {self.at_rest}), daemons {daemons}"
            await asyncio.sleep(0.05)

    async def intact(self) -> list[str]:
        """Everything that must hold after any attack."""
        problems = [await self.settled()]
        honest = await self.sandbox.run(Job(code=HONEST))
        if honest.stdout != b"328350\n":
            problems.append(f"H1: an honest run gives {honest.verdict} {honest.stdout!r} {honest.reason}")
        problems += [f"H3/H5: canary harmed: {name}" for name in sorted(self.canaries.harm())]
        now = self.mount_table()
        # A mount also vanishes when another program removes its directory, which no guest can reach.
        gone = [line for line in self.mounts if line not in now and os.path.lexists(line.split()[4])]
        problems += [
            f"H6: mounts changed: {line}" for line in (*gone, *(line for line in now if line not in self.mounts))
        ]
        for what, count in self.hold().items():
            if count > self.holdings[what]:
                problems.append(f"H6: {what}: {count}, at rest {self.holdings[what]}")
        if self.resident() > self.rss + 300:
            problems.append(f"H6: host memory grew from {self.rss} to {self.resident()} MiB")
        for slot in self.slots():
            scratch = slot.config.get("scratch")
            if slot.config.get("level") == "C" and scratch and os.path.isdir(scratch):
                kept = (f"{scratch}/w", f"{scratch}/w/tmp", f"{scratch}/w/shm")  # the next run's, empty
                left = [path for path in glob.glob(f"{scratch}/**", recursive=True, include_hidden=True)[1:]
                        if path not in kept]  # fmt: skip
                problems += [f"H6: left in {scratch}: {path}" for path in left[:5]]
        return [problem for problem in problems if problem]

    def leak(self, result: RunResult) -> list[str]:
        """H4: no secret in anything that came back."""
        shown = (
            result.stdout + result.stderr + repr((result.traceback, result.reason, result.tests, result.files)).encode()
        )
        return [f"H4: {secret} came back" for secret in self.secrets if secret.encode() in shown]


def judge(host: Host, case: Case, result: RunResult, took: float, applies: bool) -> list[str]:
    """What is wrong with one result."""
    problems = host.leak(result)
    if applies and result.verdict not in case.verdicts:
        problems.append(
            f"verdict {result.verdict} ({result.reason}) instead of {case.verdicts}; {result.stderr[-300:]!r}"
        )
    if applies and b"BREACH" in result.stdout:
        problems.append(f"breach: {result.stdout[:300]!r}")
    if applies and (wrong := case.check(result)):
        problems.append(wrong)
    if any(test.passed for test in result.tests) or (case.tests and not result.tests):
        problems.append(f"H8: {result.tests}")
    allowed = case.limits.wall_s * max(1, 2 * len(case.tests or ())) + PATIENCE_S
    if took > allowed:
        problems.append(f"H7: took {took:.1f} s with a limit of {case.limits.wall_s} s")
    if result.isolation is None or (not case.tests and not 0 <= result.wall_s <= took + 0.01):
        problems.append(f"H9: wall {result.wall_s} of {took}")
    return problems


async def attack(host: Host, case: Case, copies: int) -> dict[str, Any]:
    """Run one case, several at once if asked, beside an honest neighbour; then check the host."""
    applies = not case.needs or case.needs in host.sandbox.isolation.tested
    problems: list[str] = []
    verdicts: list[str] = []
    overrun = 0.0
    if case.scenario is not None:
        problems += await case.scenario(host.sandbox, copies)
    else:
        code = case.code if case.raw else PRELUDE + case.code
        job = Job(code=code, stdin=json.dumps(host.targets()), limits=case.limits, tests=case.tests, files=case.files)
        if case.id == "A40" and copies > 1:
            job = Job(
                code="import sys; print('eof' if len(sys.stdin.read()) == 3_000_000 else 'short')",
                stdin="x" * 3_000_000,
            )

        async def one() -> tuple[RunResult, float]:
            began = time.monotonic()
            return await host.sandbox.run(job), time.monotonic() - began

        neighbour = asyncio.create_task(host.sandbox.run(Job(code=HONEST))) if copies > 1 else None
        for result, took in await asyncio.gather(*(one() for _ in range(copies))):
            problems += judge(host, case, result, took, applies)
            verdicts.append(result.verdict)
            overrun = max(overrun, result.wall_s - case.limits.wall_s)
        if neighbour is not None and (await neighbour).stdout != b"328350\n":
            problems.append("H1: the neighbour's result changed")
    problems += await host.intact()
    return {"id": case.id, "copies": copies, "problems": problems, "verdicts": verdicts, "applies": applies,
            "overrun": round(overrun, 3)}  # fmt: skip


async def main(backend: str, host_pid_namespace: str) -> None:
    refuse("", host_pid_namespace)
    held = entries("/proc/self/fd")
    try:
        sandbox = open_backend(backend)
    except SandboxUnavailable as error:
        print(json.dumps({"skip": str(error)}))
        return
    refuse(sandbox.isolation.level, host_pid_namespace)
    try:
        await warm_up(sandbox)
        host = Host(sandbox)
        for copies in (1, 4):
            for case in CASES:
                began = time.monotonic()
                line = await attack(host, case, copies)
                print(json.dumps({**line, "seconds": round(time.monotonic() - began, 2)}), flush=True)
        host.canaries.close()
    finally:
        await sandbox.close()
    left = [path for path in glob.glob(f"{tempfile.gettempdir()}/*") if owners.tag() in path]
    left += glob.glob(f"/sys/fs/cgroup/*/**/{owners.tag()}-*", recursive=True)
    if entries("/proc/self/fd") > held:
        left += [f"file descriptors: {[os.readlink(path) for path in glob.glob('/proc/self/fd/*')]}, before {held}"]
    strangers = [pid for pid, parent in parents().items() if parent == os.getpid()]
    print(json.dumps({"id": "close", "copies": 0, "problems": [f"left after close: {x}" for x in (*left, *strangers)]}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
