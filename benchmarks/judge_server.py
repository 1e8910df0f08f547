"""How fast is the judge server? Items a second and latency against a bare FastAPI endpoint in the same run.

    python benchmarks/judge_server.py [--seconds 5] [--connections 32] [--write docs/benchmarks/judge_server.md]

Both servers run as processes of their own on this machine; the client shares its cores, so numbers are lower bounds.
Measured: a trivial endpoint (the floor of the stack), one item a request and many items a request with the
programmatic judge, and a model judge whose verdicts are all in the cache. The server keeps a cache on disk and a replay
log, as one in use does. CPU time of the server process is given beside the rates, because it does not depend on what
else the machine is doing; the rounds over the endpoints are interleaved for the same reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

from palaestra.judges.testing import FakeOpenAI

ROUNDS = 3
BARE = """
import sys, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
class Body(BaseModel):
    text: str
app = FastAPI()
@app.post("/bare")
async def bare(body: Body):
    return {"reward": float(len(body.text))}
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
JUDGES = """
import pathlib, sys
from palaestra.judges.server.launch import load_config, start
start(load_config(pathlib.Path(sys.argv[1])), announce=lambda line: None)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(code: str, argument: str, url: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code, argument])
    for _ in range(600):
        try:
            httpx.get(url)
            return process
        except httpx.HTTPError:
            time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"nothing answers at {url}")


async def load(url: str, bodies: list[dict], connections: int, seconds: float) -> dict[str, float]:
    """Requests from ``connections`` clients in a closed loop; requests a second and percentiles in milliseconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    port, path = int(url.split(":")[2].split("/")[0]), "/" + url.split("/", 3)[3]
    raw = []
    for body in bodies:
        content = json.dumps(body).encode()
        lines = (
            f"POST {path} HTTP/1.1",
            "host: x",
            "content-type: application/json",
            f"content-length: {len(content)}",
        )
        raw.append("\r\n".join([*lines, "", ""]).encode() + content)

    async def client(number: int) -> None:
        # Bare sockets: a full HTTP client would cost more than the server it measures.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        turn = number
        while (start := time.perf_counter()) < end:
            writer.write(raw[turn % len(raw)])
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{url}: {answer[:100]!r}")
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            times.append(time.perf_counter() - start)
            turn += connections
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client(i) for i in range(connections)))
    elapsed = time.perf_counter() - started
    times.sort()
    return {
        "requests": len(times),
        "rate": len(times) / elapsed,
        "p50": 1000 * times[len(times) // 2],
        "p99": 1000 * times[int(len(times) * 0.99)],
    }


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far (Linux)."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def row(name: str, rounds: list[dict[str, float]], items: int, floor_ms: float | None) -> str:
    """One line: medians over the rounds, and the server's CPU time beyond that of the bare endpoint."""
    rate, p50, p99, cpu = (statistics.median(r[key] for r in rounds) for key in ("rate", "p50", "p99", "cpu_ms"))
    worst = max(r["p99"] for r in rounds)
    extra = "" if floor_ms is None else f"{(cpu - floor_ms) / items:.2f}"
    return f"| {name} | {rate:.0f} | {rate * items:.0f} | {p50:.1f} | {p99:.1f} | {worst:.1f} | {cpu:.2f} | {extra} |"


def measure(connections: int, seconds: float, folder: Path) -> list[str]:
    """Table rows."""
    bare, judged = free_port(), free_port()
    config = folder / "judge_server_benchmark.toml"
    with FakeOpenAI([{"reasoning": "fine", "scores": {"overall": 7}}]) as fake:
        config.write_text(
            f'port = {judged}\ncache = "{folder}/verdicts.db"\nlog = "{folder}/replay"\n'
            '[[judge]]\nname = "checks"\nkind = "programmatic"\nrubric = "exact"\n'
            f'[[judge]]\nname = "llm"\nmodel = "m"\nbase_url = "{fake.url}"\n'
        )
        text = "x" * 200
        single = [{"items": [{"id": "a", "response": f"{text}{i}", "reference": text}]} for i in range(256)]
        many = [{"items": [{"id": str(i), "response": f"{text}{i}", "reference": text} for i in range(16)]}]
        cached = [{"judge": "llm", "items": [{"id": "a", "response": f"answer {i}"}]} for i in range(64)]
        one = launch(BARE, str(bare), f"http://127.0.0.1:{bare}/docs")
        two = launch(JUDGES, str(config), f"http://127.0.0.1:{judged}/healthz")
        try:
            score = f"http://127.0.0.1:{judged}/v1/score"
            for body in cached:  # fill the cache
                httpx.post(score, json=body, timeout=60).raise_for_status()
            endpoints = (
                ("bare FastAPI endpoint", f"http://127.0.0.1:{bare}/bare", [{"text": text}], 1),
                ("/v1/score, checks, 1 item", score, single, 1),
                ("/v1/score, checks, 16 items", score, many, 16),
                ("/v1/score, model, cached, 1 item", score, cached, 1),
            )
            found: dict[str, list[dict[str, float]]] = {name: [] for name, *_ in endpoints}
            for number in range(ROUNDS + 1):
                for name, url, bodies, _ in endpoints:
                    process = one if url.startswith(f"http://127.0.0.1:{bare}/") else two
                    before = cpu_seconds(process.pid)
                    result = asyncio.run(load(url, bodies, connections, seconds if number else min(1.0, seconds)))
                    spent = cpu_seconds(process.pid) - before
                    if number:  # the first round warms up
                        found[name].append(result | {"cpu_ms": 1000 * spent / result["requests"]})
            floor = statistics.median(r["cpu_ms"] for r in found[endpoints[0][0]])
            lines = [
                row(name, found[name], items, floor if number else None)
                for number, (name, _, _, items) in enumerate(endpoints)
            ]
        finally:
            for process in (one, two):
                process.terminate()
                process.wait(30)
            config.unlink()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    import tempfile

    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options.connections, options.seconds, Path(folder))
    head = [
        "# Judge server throughput",
        "",
        f"`python benchmarks/judge_server.py`: {options.connections} connections, {ROUNDS} interleaved rounds of "
        f"{options.seconds:g} s, medians; {os.cpu_count()} cores shared with the client, load average "
        f"{load_before:.1f} before the start. The server writes a cache and a replay log.",
        "",
        "| endpoint | requests/s | items/s | p50 ms | p99 ms | worst p99 | server CPU ms/request |"
        " CPU ms/item beyond bare |",
        "|---|---|---|---|---|---|---|---|",
    ]
    text = "\n".join([*head, *rows]) + "\n"
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
