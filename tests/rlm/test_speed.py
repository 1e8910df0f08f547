"""Performance gates with room for a busy machine; `benchmarks/rlm.py` has the tight numbers."""

from __future__ import annotations

import asyncio
import time

import pytest

from palaestra.rlm import RLM, Context, Limits, Worker
from palaestra.rlm.testing import ScriptedLM, block


@pytest.mark.slow
def test_a_turn_costs_the_same_at_any_length(sandbox):
    async def once():
        worker = Worker("fork", sandbox=sandbox)
        model = ScriptedLM([block("len(context)")] * 20 + [block("submit(1)")])
        rlm = RLM(model, repl=worker, limits=Limits(max_turns=30))
        fastest = {}
        for n in (10**5, 3 * 10**7):
            result = await rlm.run(Context.of("x" * n), "q")
            fastest[n] = min(turn.seconds for turn in result.trace.root.turns[:-1])
        await worker.close()
        return fastest

    small, large = asyncio.run(once()).values()
    assert small < 0.02 and large < 0.02  # about 0.7 ms each on a quiet machine
    assert large < 5 * small + 0.005


@pytest.mark.slow
def test_children_and_floor(sandbox):
    def turns(messages, tags):
        return block("submit(len(rlm_batch(['x'] * 16)))") if tags["depth"] == 0 else block("submit(1)")

    async def once():
        worker = Worker("fork", sandbox=sandbox)
        rlm = RLM(ScriptedLM(turns), repl=worker)
        await rlm.run("warm", "q")
        began = time.monotonic()
        result = await rlm.run("x", "q")
        children = time.monotonic() - began
        floors = []
        single = rlm.with_models(ScriptedLM([block("submit(1)")]))
        for _ in range(5):
            began = time.monotonic()
            await single.run("x", "q")
            floors.append(time.monotonic() - began)
        await worker.close()
        return result.answer, children, min(floors)

    answer, children, floor = asyncio.run(once())
    assert answer == "16" and children < 5 and floor < 0.5  # 0.25 s and 10 ms on a quiet machine
