"""What a sandboxed run costs, next to a plain subprocess and to other ways of doing it.

    python benchmarks/sandbox.py                  # every configuration that works here; about two minutes
    python benchmarks/sandbox.py --quick          # fewer rounds
    python benchmarks/sandbox.py --only plain,local-C,local-I
    python benchmarks/sandbox.py --peers /path/to/venv/bin/python     # an interpreter that has smolagents

Every configuration runs the same snippet in a worker process of its own. Rounds are interleaved, so that a busy machine
is busy for all. Processor time is the growth of a cpuacct control group that holds the worker and everything below it
(the Docker daemon and its containers are outside); wall times on a shared machine are noisy, the CPU column is the one
to trust. The throughput column is two workers at once: two slots of one of our sandboxes, used by one host; elsewhere
two processes that each run one program after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SNIPPET = "print(sum(i * i for i in range(100)))"
OUTPUT = b"328350\n"
PRELUDE = ("import collections, itertools, functools, heapq, bisect, math, re, string, json, random, datetime, "
           "decimal, fractions, statistics, typing, dataclasses\n")  # fmt: skip
NOBODY = 65534  # rows whose name begins with "user-" run under this user id when this is root
WORKERS = 2
PEERS = ("smolagents",)  # run by the interpreter given with --peers: their requirements are not ours
PLAIN = [os.path.realpath(sys.executable), "-I", "-S", "-c"]
GROUPS = Path("/sys/fs/cgroup/cpuacct")


def expect(output: bytes) -> None:
    if output != OUTPUT:
        raise RuntimeError(f"wrong output {output[:200]!r}")


def command(words: list[str], **popen: Any) -> Callable[[], None]:
    return lambda: expect(subprocess.run(words, capture_output=True, **popen).stdout)


def limit() -> None:
    os.setsid()
    for kind, value in ((resource.RLIMIT_CPU, 10), (resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_NOFILE, 64)):
        resource.setrlimit(kind, (value, value))


class Sandboxed:
    """Runs in one of our sandboxes; its slots are what elsewhere are worker processes."""

    def __init__(self, sandbox: Any) -> None:
        from palaestra.sandbox import Job

        atexit.register(sandbox.close_sync)
        self.sandbox, self.loop, self.job = sandbox, asyncio.new_event_loop(), Job(code=SNIPPET)

    async def _once(self) -> None:
        expect((await self.sandbox.run(self.job)).stdout)

    def __call__(self) -> None:
        self.loop.run_until_complete(self._once())

    def burst(self, seconds: float) -> int:
        """How many runs fit, every slot always having one."""
        end, count = time.perf_counter() + seconds, 0

        async def keep_busy() -> None:
            nonlocal count
            while time.perf_counter() < end:
                await self._once()
                count += 1

        async def all_slots() -> None:
            await asyncio.gather(*(keep_busy() for _ in range(WORKERS)))

        self.loop.run_until_complete(all_slots())
        return count


def local(level: str) -> Callable[[], None]:
    from palaestra.sandbox import LocalSandbox

    return Sandboxed(LocalSandbox(slots=WORKERS, level=level))


def bwrap_backend() -> Callable[[], None]:
    from palaestra.sandbox import BwrapSandbox

    return Sandboxed(BwrapSandbox(slots=WORKERS))


def docker_backend() -> Callable[[], None]:
    from palaestra.sandbox import DockerSandbox

    return Sandboxed(DockerSandbox(slots=WORKERS))


def bubblewrap() -> Callable[[], None]:
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--ro-bind", "/", "/"]
    return command([*words, *PLAIN, SNIPPET])


def docker_image() -> str:
    from palaestra.sandbox import DockerSandbox
    from palaestra.sandbox.image import NAME

    DockerSandbox(slots=1, self_test="never", require=()).close_sync()
    return NAME


def docker_run() -> Callable[[], None]:
    words = ["docker", "run", "--rm", "--network", "none", docker_image()]
    return command([*words, "/usr/bin/python3", "-I", "-S", "-c", SNIPPET])


def docker_exec() -> Callable[[], None]:
    name = f"palaestra-bench-{os.getpid()}"
    words = ["docker", "run", "-d", "--rm", "--init", "--network", "none", "--name", name, docker_image()]
    subprocess.run([*words, "/usr/bin/sleep", "600"], check=True, capture_output=True)
    return command(["docker", "exec", name, "/usr/bin/python3", "-I", "-S", "-c", SNIPPET])


def smolagents() -> Callable[[], None]:
    from smolagents.local_python_executor import LocalPythonExecutor

    executor = LocalPythonExecutor([])
    executor.send_tools({})
    return lambda: expect(executor(SNIPPET).logs.encode())


CONFIGURATIONS: dict[str, tuple[str, Callable[[], Callable[[], None]]]] = {
    "plain": ("plain `python -I -S -c`", lambda: command([*PLAIN, SNIPPET])),
    "prelude": ("plain + 16-module prelude", lambda: command([*PLAIN, PRELUDE + SNIPPET])),
    "rlimits": ("subprocess + rlimits + setsid (`preexec_fn`)", lambda: command([*PLAIN, SNIPPET], preexec_fn=limit)),
    "local-C": ("**LocalSandbox, level C**", lambda: local("C")),
    "local-I": ("**LocalSandbox, level I**", lambda: local("I")),
    "user-C": ("**LocalSandbox, level C, as an ordinary user**", lambda: local("C")),
    "user-I": ("**LocalSandbox, level I, as an ordinary user**", lambda: local("I")),
    "bwrap-backend": ("**BwrapSandbox**", bwrap_backend),
    "docker-backend": ("**DockerSandbox**", docker_backend),
    "bubblewrap": ("bubblewrap + python", bubblewrap),
    "docker-run": ("docker run per snippet", docker_run),
    "docker-exec": ("docker exec, warm container", docker_exec),
    "smolagents": ("smolagents LocalPythonExecutor (in the host process, no isolation)", smolagents),
}


def worker(name: str) -> None:
    """Carry out words from stdin: ``runs N`` prints wall times, ``burst S`` prints how many runs fitted."""
    try:
        run = CONFIGURATIONS[name][1]()
        run()
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {str(error)[:300]}"}), flush=True)
        return
    burst = getattr(run, "burst", None)
    print(json.dumps({"workers": WORKERS if burst else 1}), flush=True)
    for line in sys.stdin:
        word, value = line.split()
        if word == "runs":
            walls = []
            for _ in range(int(value)):
                began = time.perf_counter()
                run()
                walls.append(time.perf_counter() - began)
            print(json.dumps(walls), flush=True)
        elif burst:
            print(json.dumps(burst(float(value))), flush=True)
        else:
            count, end = 0, time.perf_counter() + float(value)
            while time.perf_counter() < end:
                run()
                count += 1
            print(json.dumps(count), flush=True)


def as_user(words: list[str]) -> list[str]:
    """The words that run a worker as an ordinary user, who cannot read an interpreter in root's own directory."""
    from palaestra.sandbox.runtime import readable_by_all

    search = [str(Path(__file__).resolve().parents[2]), *(path for path in sys.path if path.endswith("-packages"))]
    settings = [f"PYTHONPATH={':'.join(search)}", "PYTHONDONTWRITEBYTECODE=1", "HOME=/nonexistent"]
    change = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "env", *settings]
    return [*change, readable_by_all().executable, *words[1:]]


class Worker:
    """A worker process in a cpuacct group of its configuration."""

    def __init__(self, name: str, interpreter: str) -> None:
        self.group = GROUPS / f"palaestra-bench-{os.getpid()}-{name}"
        words = [interpreter, str(Path(__file__).resolve()), "--worker", name]
        if name.startswith("user-") and os.geteuid() == 0:
            words = as_user(words)
        try:
            self.group.mkdir(exist_ok=True)
            words = ["/bin/sh", "-c", f'echo $$ > {self.group}/cgroup.procs; exec "$@"', "sh", *words]
        except OSError:
            self.group = Path("/nonexistent")
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the worker died"}

    def say(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def cpu_s(self) -> float:
        try:
            return int((self.group / "cpuacct.usage").read_text()) / 1e9
        except OSError:
            return float("nan")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def busy_s() -> float:
    """Seconds that all processors together have worked since the machine started."""
    user, nice, system, _idle, _wait, *rest = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")


def measure(names: list[str], rounds: int, per_round: int, bursts: int, peers: str) -> list[dict[str, Any]]:
    """Interleaved rounds over all configurations."""
    workers: dict[str, list[Worker]] = {}
    for name in names:
        pair, answers = [], []
        while sum(answer.get("workers", WORKERS) for answer in answers) < WORKERS:
            pair.append(Worker(name, peers if name in PEERS else sys.executable))
            answers.append(pair[-1].read())
        problem = next((answer["error"] for answer in answers if "error" in answer), None)
        if problem:
            print(f"{name}: left out: {problem}", file=sys.stderr)
            for one in pair:
                one.close()
            continue
        workers[name] = pair
    walls: dict[str, list[float]] = {name: [] for name in workers}
    cpu: dict[str, float] = dict.fromkeys(workers, 0.0)
    rates: dict[str, list[float]] = {name: [] for name in workers}
    burst_cpu: dict[str, float] = dict.fromkeys(workers, 0.0)
    burst_s = 0.0
    for done in range(rounds):
        for name, (first, *_) in workers.items():
            count = 1 if name == "docker-run" else per_round
            before = first.cpu_s()
            first.say(f"runs {count}")
            walls[name] += first.read()
            cpu[name] += first.cpu_s() - before
        print(f"\rround {done + 1}/{rounds}", end="", file=sys.stderr)
    busy_before = busy_s()
    for done in range(bursts):
        for name, pair in workers.items():
            before, began = pair[0].cpu_s(), time.perf_counter()
            for one in pair:
                one.say("burst 1.0")
            rates[name].append(sum(one.read() for one in pair))
            burst_cpu[name] += pair[0].cpu_s() - before
            burst_s += time.perf_counter() - began
        print(f"\rburst {done + 1}/{bursts}   ", end="", file=sys.stderr)
    others = busy_s() - busy_before - sum(burst_cpu.values())
    print(
        f"\nother work in the bursts: {others / max(burst_s, 1e-9):.2f} of {os.cpu_count()} processors", file=sys.stderr
    )
    for pair in workers.values():
        for one in pair:
            one.close()
    rows = []
    for name in workers:
        rows.append({
            "name": name, "title": CONFIGURATIONS[name][0], "runs": len(walls[name]),
            "p10_ms": 1e3 * percentile(walls[name], 0.1), "p50_ms": 1e3 * statistics.median(walls[name]),
            "p95_ms": 1e3 * percentile(walls[name], 0.95), "cpu_ms": 1e3 * cpu[name] / len(walls[name]),
            "rate": statistics.median(rates[name]) if rates[name] else float("nan"),
            "runs_per_cpu_s": sum(rates[name]) / burst_cpu[name] if burst_cpu[name] else float("nan"),
        })  # fmt: skip
    return rows


def below(pid: int) -> list[int]:
    """A process and everything it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in below(int(child)))]


async def sessions(cells: int) -> dict[str, float]:
    """Round trips of a persistent session, the overrun of a time limit, and memory of an idle slot."""
    from palaestra.sandbox import Job, Limits, LocalSandbox

    found: dict[str, float] = {}
    async with LocalSandbox(slots=1) as sandbox:
        async with await sandbox.session() as session:
            for name, code, count in (("x + 1", "x + 1", cells), ("ten prints", "for i in range(10): print(i)", cells),
                                      ("100 kB", "print('y' * 100_000)", cells // 4)):  # fmt: skip
                await session.exec("x = 1")
                times = []
                for _ in range(count):
                    began = time.perf_counter()
                    await session.exec(code)
                    times.append(time.perf_counter() - began)
                found[f"cell, {name}: p50 ms"] = 1e3 * statistics.median(times)
                found[f"cell, {name}: p95 ms"] = 1e3 * percentile(times, 0.95)
        overruns = []
        for _ in range(5):
            began = time.perf_counter()
            await sandbox.run(Job(code="import time; time.sleep(60)", limits=Limits(wall_s=0.5)))
            overruns.append(time.perf_counter() - began - 0.5)
        found["timeout overrun: worst s"] = max(overruns)
        pids = below(next(iter(sandbox._runs._all)).process.pid)
        rollups = {Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids}  # equal: two that share one memory
        found["idle slot: PSS MiB"] = sum(int(text.split("Pss:")[1].split()[0]) for text in rollups) / 1024
    return found


def table(rows: list[dict[str, Any]]) -> str:
    plain = next((row for row in rows if row["name"] == "plain"), None)
    lines = ["| configuration | wall p10 / p50 / p95 ms | CPU ms/run | × plain CPU | runs/s, 2 workers | × plain |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for row in rows:
        ratio = row["cpu_ms"] / plain["cpu_ms"] if plain else float("nan")
        rate = row["rate"] / plain["rate"] if plain and plain["rate"] else float("nan")
        cpu = "daemon not counted" if row["name"].startswith("docker") else f"{row['cpu_ms']:.1f}"
        share = "-" if row["name"].startswith("docker") else f"{ratio:.2f}"
        lines.append(f"| {row['title']} | {row['p10_ms']:.1f} / {row['p50_ms']:.1f} / {row['p95_ms']:.1f} | {cpu} | "
                     f"{share} | {row['rate']:.1f} | {rate:.1f} |")  # fmt: skip
    return "\n".join(lines)


def targets(rows: list[dict[str, Any]], found: dict[str, float]) -> str:
    """The goals beside what was measured; a row that was left out has no line."""
    by = {row["name"]: row for row in rows}

    def share(name: str, of: str) -> float:
        return by[name]["cpu_ms"] / by[of]["cpu_ms"]

    def rate(name: str, of: str = "rate") -> float:
        return by[name][of] / by["plain"][of]

    lines = ["| goal | at | measured |", "| --- | --- | --- |"]
    for what, goal, measure in (
        ("level C, CPU of plain", "≤ 0.5 ×", lambda: f"{share('local-C', 'plain'):.2f} ×"),
        ("level I with control groups, CPU of plain", "≤ 0.7 ×", lambda: f"{share('local-I', 'plain'):.2f} ×"),
        ("level C as an ordinary user, CPU of plain", "≤ 0.5 ×", lambda: f"{share('user-C', 'plain'):.2f} ×"),
        ("level I as an ordinary user, CPU of plain", "≤ 1.0 ×", lambda: f"{share('user-I', 'plain'):.2f} ×"),
        ("levels C and I, CPU of plain + 16 imports", "≤ 0.25 ×",
         lambda: f"{share('local-C', 'prelude'):.2f} × and {share('local-I', 'prelude'):.2f} ×"),
        ("level C, runs/s of plain, 2 workers", "≥ 3 ×", lambda: f"{rate('local-C'):.1f} ×"),
        ("level I, runs/s of plain, 2 workers", "≥ 2 ×", lambda: f"{rate('local-I'):.1f} ×"),
        ("the same per processor second, C and I", "",
         lambda: f"{rate('local-C', 'runs_per_cpu_s'):.1f} × and {rate('local-I', 'runs_per_cpu_s'):.1f} ×"),
        ("Docker backend, times faster than `docker exec` (p50)", "≥ 8 ×",
         lambda: f"{by['docker-exec']['p50_ms'] / by['docker-backend']['p50_ms']:.1f} ×"),
        ("cell of a session, p50", "≤ 0.5 ms", lambda: f"{found['cell, x + 1: p50 ms']:.2f} ms"),
        ("time limit overrun, worst", "≤ 0.3 s", lambda: f"{found['timeout overrun: worst s']:.3f} s"),
        ("idle slot, proportional set size", "≤ 25 MiB", lambda: f"{found['idle slot: PSS MiB']:.0f} MiB"),
    ):  # fmt: skip
        with contextlib.suppress(KeyError):
            lines.append(f"| {what} | {goal} | {measure()} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--only", help="comma-separated configurations: " + ", ".join(CONFIGURATIONS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--peers", default=sys.executable, help="interpreter for " + ", ".join(PEERS))
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    names = options.only.split(",") if options.only else list(CONFIGURATIONS)
    rounds, per_round, bursts, cells = (5, 4, 2, 200) if options.quick else (20, 5, 6, 500)
    before = os.getloadavg()[0]
    rows = measure(names, rounds, per_round, bursts, options.peers)
    found = asyncio.run(sessions(cells))
    machine = f"{os.cpu_count()} processors, Python {sys.version.split()[0]}, kernel {os.uname().release}"
    print(f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, on {machine}\n")
    print(table(rows) + "\n")
    print(targets(rows, found) + "\n")
    for name, value in found.items():
        print(f"- {name} {value:.3f}")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "sessions": found}, indent=2))
    for path in GROUPS.glob(f"palaestra-bench-{os.getpid()}-*"):
        for _ in range(50):
            try:
                path.rmdir()
                break
            except OSError:
                time.sleep(0.1)
    if shutil.which("docker"):
        sweep = "docker ps -q --filter name=palaestra-bench | xargs -r docker rm -f"
        subprocess.run(sweep, shell=True, capture_output=True)


if __name__ == "__main__":
    main()
