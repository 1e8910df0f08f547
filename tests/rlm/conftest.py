"""One sandbox for all tests of this folder, and a way to run a scripted model in it."""

from __future__ import annotations

import asyncio

import pytest

from palaestra.rlm import RLM, Limits, Worker
from palaestra.rlm.testing import ScriptedLM, block


@pytest.fixture(scope="session")
def sandbox():
    from palaestra.sandbox import LocalSandbox

    with LocalSandbox(1, max_sessions=64) as opened:
        yield opened


@pytest.fixture
def play(sandbox):
    """``play(turns, context="abc", ...) -> Result``: turns are code (wrapped into a block) or whole replies."""

    def run(turns, context="abc", question="q", *, leaf="ok", backend="fork", limits=None, lm=None, **options):
        if isinstance(turns, list):
            turns = [turn if "```" in turn or turn.startswith("!") else block(turn) for turn in turns]
        model = lm or ScriptedLM(turns, leaf=leaf)

        async def once():
            worker = Worker(backend, sandbox=sandbox if backend != "unsafe_inprocess" else None)
            rlm = RLM(model, repl=worker, limits=limits or Limits(), **options)
            try:
                result = await rlm.run(context, question)
            finally:
                await rlm.close()
                await worker.close()
            return result

        result = asyncio.run(once())
        return result

    return run
