"""Speed of the environments, Travel included: `python -m benchmarks.envs`. Prints one row a measurement.

    --quick       a tenth of the work, for a look
    --write FILE  write the page of the manual

Each row has the measured value and the target; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import palaestra as pl
from benchmarks import envs_travel
from palaestra.envs.arithmetic import evaluate, parse
from palaestra.envs.toolcalls import parse as parse_calls


@pl.env("bench/Guess-v0")
def guess(rng, hi=20):
    """Guess a number; three replies an episode here."""
    n = int(rng.integers(1, hi + 1))
    reply = yield f"Guess an integer from 1 to {hi}."
    for _ in range(5):
        if reply == str(n):
            return 1.0
        reply = yield "higher"
    return 0.0, "No guess was right."


@guess.oracle
def _solve(rng, hi=20):
    yield str(int(rng.integers(1, hi + 1)))


def rate(work: Callable[[], Any], seconds: float) -> float:
    """How often ``work`` runs in a second of this process's time."""
    work()
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        work()
        count += 1
    return count / (time.process_time() - start)


def episode(env: Any, replies: tuple[str, ...]) -> None:
    """One episode with the same replies."""
    env.reset(seed=3)
    for reply in replies:
        env.step(reply)


async def concurrent(episodes: int) -> tuple[float, float, float]:
    """Async episodes side by side: seconds in all, and the 99th percentile and maximum of one step in milliseconds."""
    lags: list[float] = []

    async def one(seed: int) -> None:
        env = pl.make("bench/Guess-v0", hi=10**9)
        await env.areset(seed=seed)
        for reply in ("1", "2", "3"):
            await asyncio.sleep(0)
            start = time.perf_counter()
            await env.astep(reply)
            lags.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(one(seed) for seed in range(episodes)))
    return time.perf_counter() - start, 1e3 * float(np.percentile(lags, 99)), 1e3 * max(lags)


async def loop_gap() -> float:
    """Largest pause of an event loop, in milliseconds, while hostile answers are verified."""
    gaps: list[float] = []
    stop = asyncio.Event()

    async def beat() -> None:
        while not stop.is_set():
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - start - 0.001)

    @pl.env("bench/Hostile-v0")
    def hostile(rng):
        return "What is 1+1?", 2

    env = pl.make("bench/Hostile-v0")
    await env.areset(seed=0)
    await env.astep("\\boxed{2}")
    pulse = asyncio.create_task(beat())
    for answer in ("9^{9^{9}}", "+".join(["\\sqrt{2}^{\\pi}"] * 60), "\\int_0^1 x dx", "(" * 500, "x^2+" * 200 + "1"):
        await env.areset(seed=0)
        await env.astep(f"\\boxed{{{answer}}}")
    stop.set()
    await pulse
    return 1e3 * max(gaps)


async def over_http(url: str, episodes: int, parallel: int) -> tuple[float, float]:
    """Episodes of one step against a server: steps a second and the 99th percentile of a step in milliseconds."""
    from palaestra.envs import HttpEnv

    lags: list[float] = []
    gate = asyncio.Semaphore(parallel)

    async def one(seed: int) -> None:
        async with gate:
            env = HttpEnv(url, "palaestra/Sort-v0")
            await env.areset(seed=seed)
            start = time.perf_counter()
            await env.astep("0")
            lags.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(one(seed) for seed in range(episodes)))
    return episodes / (time.perf_counter() - start), 1e3 * float(np.percentile(lags, 99))


def serve_in_process() -> tuple[str, Callable[[], None]]:
    """Start ``palaestra serve envs`` on a free port; its address and a function that stops it."""
    import socket
    import subprocess
    import sys

    import httpx

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "palaestra", "serve", "envs", "--env", "palaestra/Sort-v0", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            httpx.get(f"{url}/health")
            break
        except httpx.TransportError:
            time.sleep(0.1)

    def stop() -> None:
        process.terminate()
        process.wait(20)

    return url, stop


def measure(scale: float) -> Iterator[tuple[str, str, str]]:
    """Rows of what, value and target."""
    bare = pl.make("bench/Guess-v0")
    wrapped = gymnasium.make("bench/Guess-v0")
    yield "3-step generator episode, CPU", f"{1e6 / rate(lambda: episode(bare, ('1', '2', '3')), scale):.0f} µs", ""
    for name, env in (("bare", bare), ("gymnasium.make wrappers", wrapped)):
        yield f"reset + step, {name}", f"{1e6 / rate(lambda env=env: episode(env, ('1',)), scale):.0f} µs", ""
    compact = {"count": 3, "lo": 1, "hi": 9, "target_hi": 99, "ops": "+-*", "use_all": True, "prompt": "compact"}
    small = pl.make("palaestra/Countdown-v0", **compact)
    yield "Countdown episode (3 numbers)", f"{rate(lambda: episode(small, ('1+2*3',)), scale):.0f} /s", ""
    sort = pl.make("palaestra/Sort-v0")
    yield "Sort episode", f"{rate(lambda: episode(sort, ('012345',)), scale):.0f} /s", ""
    yield "arithmetic parse + value", f"{rate(lambda: evaluate(parse('(3+5)*2-7')), scale):.0f} /s", ""
    call = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'
    yield "Hermes tool call", f"{rate(lambda: parse_calls(call), scale):.0f} /s", ""
    vector = pl.make_vec("palaestra/Sort-v0", 64)

    def vector_step() -> None:
        vector.reset(seed=0)
        vector.step(["0"] * 64)

    yield "sync vector of 64, reset + step", f"{128 * rate(vector_step, scale):.0f} env-steps/s", ""
    seconds, p99, worst = asyncio.run(concurrent(int(1000 * scale)))
    yield f"{int(1000 * scale)} concurrent async episodes, in all", f"{seconds:.2f} s", "all finish"
    yield "  99th percentile of one step (maximum)", f"{p99:.2f} ms ({worst:.1f})", "<= 5 ms"
    yield "largest loop gap while verifying hostile answers", f"{asyncio.run(loop_gap()):.1f} ms", "<= 50 ms"
    url, stop = serve_in_process()
    try:
        asyncio.run(over_http(url, 20, 4))
        for parallel in (1, 32):
            steps, p99 = asyncio.run(over_http(url, int(500 * scale), parallel))
            yield f"HTTP episodes of one step, {parallel} at once", f"{steps:.0f} /s", f"p99 of a step {p99:.1f} ms"
    finally:
        stop()
    yield from envs_travel.measure(40 if scale < 1 else 400)


def page(rows: list[tuple[str, str, str]], before: float, after: float) -> str:
    """The Markdown page of a run."""
    lines = [f"| {what.strip()} | {value} | {target} |" for what, value, target in rows]
    return (
        "# Environments: speed\n\n"
        f"`python -m benchmarks.envs --write docs/benchmarks/envs.md` on {os.cpu_count()} cores (Python "
        f"{platform.python_version()}), load average {before:.1f} before and {after:.1f} after. Rates are per second "
        "of processor time. Latencies are wall time: where the load is above the number of cores, medians show the "
        "work itself, 95th and 99th percentiles show the waiting as well.\n\n"
        "| what | measured | target |\n|---|---|---|\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    rows: list[tuple[str, str, str]] = []
    for row in measure(0.1 if options.quick else 1.0):
        rows.append(row)
        if not options.json:
            print(f"{row[0]:58} {row[1]:>26}   {row[2]}", flush=True)
    if options.json:
        print(json.dumps([{"what": a, "value": b, "target": c} for a, b, c in rows], ensure_ascii=False, indent=2))
    if options.write:
        options.write.write_text(page(rows, before, os.getloadavg()[0]), encoding="utf-8")


if __name__ == "__main__":
    main()
