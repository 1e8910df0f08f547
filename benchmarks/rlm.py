# ruff: noqa: E501, I001 - `rlm` is the official package, and tables are wide
"""The recursive engine against the official `rlms` package: same stub model, same cells, in alternation.

    python -m venv build/rlms && build/rlms/bin/pip install rlms==0.1.3
    python benchmarks/rlm.py --official build/rlms/bin/python [--sizes 100000 10000000] [--repeat 3]
        [--write docs/benchmarks/rlm.md]

The stub is an OpenAI-compatible server in a process of its own that answers at once. A request that begins with a system
message is a turn and gets the next scripted block; any other one is a sub-call and gets "ok" after a delay. Each
measurement is one process: an unmeasured run, then the measured one.

    turn       the stub's last byte of a turn to the arrival of the next, minus the same for a bare loop over our model client
    floor      wall time of a run of one turn
    batch      one cell with 256 sub-calls of 200 ms
    children   one cell with 16 recursive children that answer at once
    cpu        processor time of the client process a sub-call, minus the same for a bare loop over our model client
    peak       growth of the client's peak memory over the context itself
    shared     memory of all guest processes (proportional set size) while 16 conversations hold one context
    kill       a cell that never ends, limit 0.5 s: time over the limit

`rlms` runs in its own interpreter with environment "local", its default: model code runs inside the host process there,
unconfined. Palaestra runs it in a sandbox (level and properties as `Worker.isolation` reports).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

RECORD = "Date: 2024-03-17 || User: 48211 || Instance: a note that says nothing in particular\n"
TURNS = 10
TARGETS = {
    "turn": "<= 1 ms, flat", "logged turn": "<= 2 ms, <= 20 KB", "floor": "<= 30 ms", "batch": "<= 0.6 s",
    "children": "<= 0.4 s", "shared": "<= 1.5 x context", "cpu": "<= 0.7 ms", "peak": "<= 8 MB host buffers", "kill": "<= 0.2 s",
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------- stub
def block(code: str) -> str:
    return f"```repl\n{code}\n```"


SUBMIT = block('answer["content"] = str(1)\nanswer["ready"] = True')


class Stub:
    """The server. The model's name is ``<script>-<anything>`` and selects the script."""

    def __init__(self) -> None:
        self.turns: dict[str, list[tuple[float, float]]] = {}  # (arrival, departure) of each turn
        self.children: dict[str, int] = {}
        self.in_flight = self.high_water = 0

    async def reply(self, model: str, messages: list[dict[str, Any]]) -> str:
        script = model.split("-")[0]
        if messages[0]["role"] != "system":
            if script == "batch":
                await asyncio.sleep(0.2)
            return "ok"
        done = sum(m["role"] == "assistant" for m in messages)
        if script == "turns":
            return block("print(len(context))") if done < TURNS else SUBMIT
        if script in ("batch", "cpu"):
            return block("rs = llm_query_batched(['x' * 100] * 256)\nprint(len(rs))") if done == 0 else SUBMIT
        if script == "children" and done == 0:
            self.children[model] = self.children.get(model, 0) + 1
            return block("rs = rlm_query_batched(['x'] * 16)\nprint(len(rs))") if self.children[model] == 1 else SUBMIT
        if script == "kill":
            return block("while True: pass") if done == 0 else SUBMIT
        return SUBMIT

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0
                )
                body = await reader.readexactly(length)
                arrival = time.monotonic()
                if head.startswith(b"GET"):
                    name = head.split()[1].decode().rsplit("/", 1)[-1]
                    data = json.dumps({"turns": self.turns.get(name, []), "high_water": self.high_water}).encode()
                else:
                    request = json.loads(body)
                    self.in_flight += 1
                    self.high_water = max(self.high_water, self.in_flight)
                    text = await self.reply(request["model"], request["messages"])
                    self.in_flight -= 1
                    data = json.dumps({
                        "id": "x", "object": "chat.completion", "created": 0, "model": request["model"],
                        "choices": [{
                            "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}
                        }],
                        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                    }).encode()  # fmt: skip
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data)
                    + data
                )
                await writer.drain()
                if not head.startswith(b"GET") and request["messages"][0]["role"] == "system":
                    self.turns.setdefault(request["model"], []).append((arrival, time.monotonic()))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def stub_main() -> None:
    stub = Stub()
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0, limit=1 << 26, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


# ------------------------------------------------------------------------------------------------- clients
def peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def gaps(url: str, model: str) -> list[float]:
    """Milliseconds between a turn's departure and the next one's arrival, as the stub saw them."""
    import urllib.request

    rows = json.load(urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats/{model}"))["turns"]
    return [1000 * (b[0] - a[1]) for a, b in pairwise(rows)]


def ours(case: str, size: int, url: str, name: str) -> dict[str, Any]:
    from palaestra.lm import OpenAIModel
    from palaestra.rlm import RLM, Context, Limits

    limits = Limits(max_concurrency=256, max_calls=512, max_turns=30, cell_s=0.5 if case == "kill" else 60)
    context = RECORD * (size // len(RECORD))
    out: dict[str, Any] = {}

    async def main() -> None:
        model = OpenAIModel(f"{case}-{name}a", base_url=url, api_key="x", concurrency=512)
        async with RLM(model, limits=limits) as rlm:
            wrapped = Context.of(context)
            _ = wrapped.sha256
            await rlm.run("warm", "How many?")
            model.name = f"{case}-{name}b"  # the same connections, another script at the stub
            with tempfile.TemporaryDirectory() as folder:
                log = Path(folder) / "trace.jsonl" if name.startswith("log") else None
                before, cpu, began = peak_kb(), time.process_time(), time.perf_counter()
                result = await rlm.run(wrapped if case == "turns" else "x" * 100, "How many?", trace_path=log)
                out.update(wall=time.perf_counter() - began, cpu=time.process_time() - cpu, peak_kb=peak_kb() - before)
                out["log_bytes"] = log.stat().st_size / (TURNS + 1) if log else 0
            assert result.status.value == "answered", result
            cells = [cell for turn in result.trace.root.turns for cell in turn.cells]
            out["in_harness_ms"] = [1000 * turn.seconds for turn in result.trace.root.turns][:-1]
            out["cell_s"] = cells[0].seconds
            worker = rlm._worker
            out["isolation"] = worker.isolation.level if worker and worker.isolation else "none"

    asyncio.run(main())
    out["gaps"] = gaps(url, f"{case}-{name}b") if case == "turns" else []
    return out


def in_process() -> dict[str, Any]:
    """The batch and the floor with a model that is a function: what the harness itself costs."""
    from palaestra.rlm import RLM, Limits
    from palaestra.rlm.testing import ScriptedLM

    async def main() -> dict[str, Any]:
        batch = ScriptedLM(
            [block("submit(len(llm_batch(['x' * 100] * 256)))")], delay=lambda tags: 0.2 * (tags["kind"] == "llm")
        )
        quick = ScriptedLM([block("submit(len(llm_batch(['x' * 100] * 256)))")])
        floor = ScriptedLM([block("submit(1)")])
        async with RLM(floor, limits=Limits(max_concurrency=256, max_calls=512)) as rlm:
            await rlm.run("warm", "q")
            walls = {}
            for name, model in (("floor", floor), ("batch", batch), ("cpu", quick)):
                began, cpu = time.perf_counter(), time.process_time()
                await rlm.with_models(model).run("x", "q")
                walls[name] = (time.process_time() - cpu) / 256 if name == "cpu" else time.perf_counter() - began
            return walls

    return asyncio.run(main())


def proportional_kb() -> int:
    """Proportional set sizes of all descendants of this process: shared pages count once."""
    total, todo = 0, [os.getpid()]
    while todo:
        pid = todo.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
            if pid != os.getpid():
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return total


def shared(size: int, n: int = 16) -> dict[str, Any]:
    """`n` conversations on one context, each after three cells, held there while memory is read."""
    from palaestra.rlm import RLM, Context
    from palaestra.rlm.testing import ScriptedLM

    async def main() -> dict[str, Any]:
        waiting, go = [0], asyncio.Event()

        async def held() -> str:
            waiting[0] += 1
            await go.wait()
            return SUBMIT

        model = ScriptedLM(lambda messages, tags: block("print(len(context))") if tags["turn"] < 3 else held())
        context = Context.of(RECORD * (size // len(RECORD)))
        async with RLM(model) as rlm:
            runs = [asyncio.ensure_future(rlm.run(context, "q")) for _ in range(n)]
            while waiting[0] < n:
                await asyncio.sleep(0.05)
            kb = proportional_kb()
            go.set()
            await asyncio.gather(*runs)
        return {"pss_kb": kb, "times": kb * 1024 / size}

    return asyncio.run(main())


def official(case: str, size: int, url: str, name: str) -> dict[str, Any]:
    from rlm import RLM
    from rlm.logger import RLMLogger

    out: dict[str, Any] = {}
    context = RECORD * (size // len(RECORD))

    def run(suffix: str, prompt: str, folder: str | None) -> None:
        kwargs = {"model_name": f"{case}-{name}{suffix}", "base_url": url, "api_key": "x"}
        logger = RLMLogger(log_dir=folder) if folder else None
        depth = 2 if case == "children" else 1
        RLM("openai", kwargs, environment="local", max_iterations=30, max_depth=depth, logger=logger).completion(
            prompt, "How many?"
        )

    run("a", "warm", None)
    with tempfile.TemporaryDirectory() as folder:
        log = folder if name.startswith("log") else None
        before, cpu, began = peak_kb(), time.process_time(), time.perf_counter()
        run("b", context if case == "turns" else "x" * 100, log)
        out.update(wall=time.perf_counter() - began, cpu=time.process_time() - cpu, peak_kb=peak_kb() - before)
        out["log_bytes"] = sum(f.stat().st_size for f in Path(folder).iterdir()) / (TURNS + 1)
    out["gaps"] = gaps(url, f"{case}-{name}b") if case == "turns" else []
    return out


def bare(case: str, size: int, url: str, name: str) -> dict[str, Any]:
    """Our model client alone: the floor of a turn and of a sub-call."""
    from palaestra.lm import OpenAIModel

    async def main() -> dict[str, Any]:
        model = OpenAIModel(f"{case}-{name}", base_url=url, api_key="x", concurrency=512)
        if case == "turns":
            messages = [{"role": "system", "content": "s" * 3000}, {"role": "user", "content": "q"}]
            for _ in range(TURNS + 1):
                done = await model.complete(messages)
                messages += [{"role": "assistant", "content": done.text}, {"role": "user", "content": "5"}]
            return {"gaps": gaps(url, f"{case}-{name}")}
        ask = [{"role": "user", "content": "x" * 100}]
        await model.complete(ask)
        cpu = time.process_time()
        await asyncio.gather(*(model.complete(ask) for _ in range(256)))
        return {"cpu": time.process_time() - cpu}

    return asyncio.run(main())


# -------------------------------------------------------------------------------------------------- driver
def measure(python: str, who: str, case: str, size: int, url: str, name: str) -> dict[str, Any]:
    command = [python, "-P", __file__, "one", who, case, str(size), url, name]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{who} {case}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _out(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout


def low(values: list[float]) -> float:
    return min(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", help="Python of an environment with rlms; without it only Palaestra is measured.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**5, 10**6, 10**7, 10**8])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--log-up-to", type=int, default=10**7, help="Largest context of logged turns; rlms writes it again each turn."
    )
    parser.add_argument("--write", type=Path, help="Write the table there.")
    options = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-P", __file__, "stub"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        rows = collect(options, url)
    finally:
        server.terminate()
        server.wait()
    text = table(rows, options)
    print(text)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(text)


def collect(options: argparse.Namespace, url: str) -> list[tuple[str, str, str, str]]:
    pythons = {"ours": sys.executable, **({"official": options.official} if options.official else {})}
    counter = iter(range(10**6))

    def runs(case: str, size: int, prefix: str = "run") -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {who: [] for who in pythons}
        for _ in range(options.repeat):
            for who, python in pythons.items():  # in alternation, so that load hits both
                found[who].append(measure(python, who, case, size, url, f"{prefix}{next(counter)}"))
                print(f"  {case} {size} {who}", file=sys.stderr)
        return found

    floor_gap = low([
        low(measure(sys.executable, "bare", "turns", 0, url, f"bare{next(counter)}")["gaps"])
        for _ in range(options.repeat)
    ])  # fmt: skip
    floor_cpu = low([
        measure(sys.executable, "bare", "cpu", 0, url, f"bare{next(counter)}")["cpu"] for _ in range(options.repeat)
    ])  # fmt: skip
    rows: list[tuple[str, str, str, str]] = [("our model client alone, gap between turns", f"{floor_gap:.2f} ms", "", "")]

    def add(label: str, target: str, found: dict[str, list[dict[str, Any]]], show: Any) -> None:
        rows.append((label, show(found["ours"]), show(found["official"]) if "official" in found else "", target))

    for size in options.sizes:
        found = runs("turns", size)

        def turn(results: list[dict[str, Any]]) -> str:
            each = [gap for r in results for gap in r["gaps"]]
            text = f"{low(each) - floor_gap:.2f} ({statistics.median(each) - floor_gap:.2f}) ms"
            inner = [ms for r in results for ms in r.get("in_harness_ms", [])]
            return text + (f", {low(inner):.2f} ms by its own clock" if inner else "")

        add(f"turn, {size:,} characters, min (median)", TARGETS["turn"], found, turn)
        add(
            f"peak beyond context, {size:,}",
            TARGETS["peak"],
            found,
            lambda r: f"{low([x['peak_kb'] for x in r]) / 1024:.1f} MB",
        )
    for size in [s for s in options.sizes if s <= options.log_up_to][-2:]:
        logged = runs("turns", size, "log")
        add(
            f"logged turn, {size:,}", TARGETS["logged turn"], logged,
            lambda r: f"{low([g for x in r for g in x['gaps']]) - floor_gap:.2f} ms, {low([x['log_bytes'] for x in r]) / 1000:.1f} KB",
        )  # fmt: skip
    add("run of one turn", TARGETS["floor"], runs("floor", 0), lambda r: f"{1000 * low([x['wall'] for x in r]):.1f} ms")
    add("256 sub-calls of 200 ms", TARGETS["batch"], runs("batch", 0), lambda r: f"{low([x['wall'] for x in r]):.2f} s")
    add(
        "16 children that answer at once",
        TARGETS["children"],
        runs("children", 0),
        lambda r: f"{low([x['wall'] for x in r]):.2f} s",
    )
    add(
        "processor time a sub-call", TARGETS["cpu"], runs("cpu", 0),
        lambda r: f"{1000 * low([x['cpu'] for x in r]) / 256:.2f} ms, {1000 * (low([x['cpu'] for x in r]) - floor_cpu) / 256:.2f} more than our model client alone",
    )  # fmt: skip
    bare_runs = [json.loads(_out([sys.executable, "-P", __file__, "inprocess"])) for _ in range(options.repeat)]
    for key, label, scale, unit in (
        ("floor", "run of one turn, model in the process", 1000, "ms"),
        ("batch", "256 sub-calls of 200 ms, model in the process", 1, "s"),
        ("cpu", "processor time a sub-call, model in the process", 1000, "ms"),
    ):
        rows.append((label, f"{scale * low([r[key] for r in bare_runs]):.2f} {unit}", "", TARGETS[key]))
    largest = max(options.sizes)
    held = json.loads(_out([sys.executable, "-P", __file__, "shared", str(largest)]))
    rows.append((
        f"16 conversations on one context of {largest:,}",
        f"{held['pss_kb'] / 1024:.0f} MB in all, {held['times']:.2f} x context", "", TARGETS["shared"],
    ))  # fmt: skip
    kills = [measure(sys.executable, "ours", "kill", 0, url, f"kill{next(counter)}") for _ in range(options.repeat)]
    rows.append(
        (
            "cell that never ends, over its limit",
            f"{low([k['cell_s'] for k in kills]) - 0.5:.2f} s",
            "never ended",
            TARGETS["kill"],
        )
    )
    rows.append(("isolation of model code", f"sandbox level {kills[0]['isolation']}", "none (local)", ""))
    return rows


def table(rows: list[tuple[str, str, str, str]], options: argparse.Namespace) -> str:
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    head = (
        "# Recursive engine against `rlms`\n\n"
        f"`python benchmarks/rlm.py --repeat {options.repeat}`, Python {sys.version.split()[0]}, {os.cpu_count()} processors, "
        f"load {load}. Lowest of all runs; read them as ratios when the machine is busy.\n\n"
        "| quantity | Palaestra | rlms | target |\n|---|---|---|---|\n"
    )
    return head + "".join(f"| {a} | {b} | {c} | {d} |\n" for a, b, c, d in rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["stub"]:
        asyncio.run(stub_main())
    elif sys.argv[1:2] == ["inprocess"]:
        print(json.dumps(in_process()))
    elif sys.argv[1:2] == ["shared"]:
        print(json.dumps(shared(int(sys.argv[2]))))
    elif sys.argv[1:2] == ["one"]:
        who, case, size, url, name = sys.argv[2:]
        print(json.dumps({"ours": ours, "official": official, "bare": bare}[who](case, int(size), url, name)))
    else:
        main()
