"""Sub-calls: order, failures, budgets, depth, totals, cancellation."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from palaestra.rlm import RLM, ChatLM, Limits, Status, Worker
from palaestra.rlm.testing import ScriptedLM, block


def test_order_is_kept_and_concurrency_is_the_limit(play):
    def delay(tags):
        return 0.002 * (sum(map(ord, tags["node"])) * 7 % 20) if tags["kind"] == "llm" else 0

    model = ScriptedLM([block("submit(llm_batch([str(i) for i in range(60)]))")], leaf=lambda p: p + "!", delay=delay)
    result = play([], lm=model, limits=Limits(max_concurrency=7))
    assert json.loads(result.answer) == [f"{i}!" for i in range(60)]
    assert model.high_water == 7


def test_256_calls_of_200_ms_overlap(play):
    model = ScriptedLM([block("submit(len(llm_batch(['x'] * 256)))")], delay=lambda t: 0.2 * (t["kind"] == "llm"))
    result = play([], lm=model, limits=Limits(max_concurrency=256, max_calls=256))
    assert result.answer == "256" and model.high_water == 256
    assert result.trace.root.turns[0].cells[0].seconds < 5  # 51 s one after another; the benchmark has the tight bound


def test_one_failure_leaves_the_others_alone(play):
    def leaf(prompt):
        if prompt == "bad":
            raise ConnectionResetError("gone")
        return prompt

    code = (
        "r = llm_batch(['a', 'bad', 'c'])\nout = [r[0], bool(r[1]), str(r[1]), type(r[1]).__name__, r[2]]\n"
        "try:\n    ''.join(r)\nexcept TypeError:\n    out.append('join raises')\nsubmit(out)"
    )
    result = play([code], leaf=leaf)
    a, falsy, reason, kind, c, joined = json.loads(result.answer)
    assert (a, falsy, kind, c, joined) == ("a", False, "LMFailure", "c", "join raises")
    assert "gone" in reason
    assert result.usage.total.failed == 1


def test_single_call_and_strict_batch_raise(play):
    def leaf(prompt):
        raise ConnectionResetError("gone")

    result = play(["llm('x')", "llm_batch(['x'], strict=True)", "submit(1)"], leaf=leaf)
    outputs = [turn.cells[0].output for turn in result.trace.root.turns]
    assert "LMError" in outputs[0] and "LMError" in outputs[1] and result.answer == "1"


def test_batches_of_odd_shapes(play):
    turns = ["submit([llm_batch([]), llm_batch(['a'])])"]
    assert play(turns).answer == '[[], ["ok"]]'
    for code in ("llm_batch(['a', 5])", "llm(7)", "llm_batch('abc')", "rlm_batch(['a'], ['b', 'c'])"):
        result = play([code, "submit(1)"])
        assert "Error" in result.trace.root.turns[0].cells[0].output and result.usage.by_depth.get(1) is None


def test_a_batch_over_the_budget_is_refused_whole(play):
    code = (
        "try:\n    llm_batch(['x'] * 8)\nexcept BudgetExceeded as e:\n    first = str(e)\n"
        "r = llm_batch(['x'] * 5)\nsubmit([first, len(r), remaining()['calls']])"
    )
    result = play([code], limits=Limits(max_calls=5))
    first, n, left = json.loads(result.answer)
    assert "8 calls asked, 5 of 5 left" in first and (n, left) == (5, 0)
    assert result.usage.by_depth[1].calls == 5


@pytest.mark.parametrize(
    "limits,code,field",
    [
        (Limits(max_calls_per_batch=3), "llm_batch(['x'] * 4)", "max_calls_per_batch"),
        (Limits(max_prompt_chars=10), "llm('x' * 11)", "max_prompt_chars"),
        (Limits(max_total_tokens=9_000, reply_tokens=1), "llm('x' * 40_000)", "max_total_tokens"),
    ],
)
def test_other_limits_refuse_too(play, limits, code, field):
    result = play([code, "submit(1)"], limits=limits)
    assert f"BudgetExceeded: {field}" in result.trace.root.turns[0].cells[0].output
    assert 1 not in result.usage.by_depth


@pytest.mark.parametrize("swallow", ["Exception", "BaseException"])
def test_a_loop_on_a_spent_budget_ends(play, swallow):
    code = f"while True:\n    try:\n        llm('x')\n    except {swallow}:\n        pass"
    began = time.monotonic()
    result = play([code, "submit('on')"], limits=Limits(max_calls=3))
    assert time.monotonic() - began < 15
    assert result.trace.root.turns[0].cells[0].status == "killed" and result.answer == "on"
    assert result.usage.by_depth[1].calls == 3


def deep(messages, tags):
    """Root asks two children, each child asks two leaves."""
    if tags["depth"] == 0:
        return block("submit(rlm_batch(['c0', 'c1'], ['left', 'right']))")
    return block("submit(context + ''.join(llm_batch(['p', 'q'])))")


def test_totals_of_the_tree_equal_what_the_models_counted(sandbox):
    async def once():
        model = ScriptedLM(deep, leaf=lambda p: p * 3, delay=0.01)
        worker = Worker("fork", sandbox=sandbox)
        rlm = RLM(model, repl=worker)
        results = await asyncio.gather(*(rlm.run("x", "q", seed=i) for i in range(5)))
        await worker.close()
        return model, results

    model, results = asyncio.run(once())
    assert [json.loads(r.answer) for r in results] == [["leftpppqqq", "rightpppqqq"]] * 5
    assert sum(r.usage.total.calls for r in results) == len(model.requests) == 5 * 7
    assert sum(r.usage.total.prompt_tokens for r in results) == model.prompt_tokens
    assert sum(r.usage.total.completion_tokens for r in results) == model.completion_tokens
    assert {d: u.calls for d, u in results[0].usage.by_depth.items()} == {0: 1, 1: 2, 2: 4}
    assert results[0].usage.by_model["scripted"].calls == 7


def test_totals_equal_what_a_server_counted(sandbox):
    from palaestra.judges.testing import FakeOpenAI
    from palaestra.lm import OpenAIModel

    def script(request):
        text = request.last
        return block("submit(llm_batch(['a', 'b', 'c']))") if "Turn 1" in text else "leaf"

    with FakeOpenAI(script=script) as server:
        model = OpenAIModel("any", base_url=server.url)
        result = RLM(ChatLM(model)).run_sync("x", "q")
        assert result.answer == '["leaf", "leaf", "leaf"]'
        assert server.hits == 4 == result.usage.total.calls
        assert result.usage.total.tokens == model.usage.tokens > 0
        assert result.usage.by_model["any"].calls == 4


def test_depth_limit_turns_rlm_into_llm(play):
    result = play(["submit(rlm('ask', 'some context'))"], leaf=lambda p: p, limits=Limits(max_depth=0))
    assert result.answer == "ask\n\nsome context"
    assert result.trace.nodes["0/0.0"].kind == "llm" and "depth limit" in result.trace.nodes["0/0.0"].note


def test_children_have_their_own_namespace_and_context(play):
    def turns(messages, tags):
        if tags["depth"] == 0:
            return block("secret = 1\nsubmit(rlm('q', ['a', 'b', 'c']))")
        return block("submit([context, question, 'secret' in globals()])")

    assert json.loads(play(turns).answer) == [["a", "b", "c"], "q", False]


def test_a_long_context_reaches_the_child_whole(play):
    def turns(messages, tags):
        return block("submit(rlm('q', 'ab' * 4_000_000))" if tags["depth"] == 0 else "submit(len(context))")

    assert play(turns).answer == "8000000"


def test_a_failed_child_is_a_failure_not_text(play):
    def turns(messages, tags):
        return block("submit(str(rlm_batch(['q'])[0]))") if tags["depth"] == 0 else "no code"

    result = play(turns)
    assert result.answer.startswith("no_answer") and result.trace.nodes["0/0.0"].status == "no_answer"


def test_aliases_of_the_official_names(play):
    turns = ["a = llm_query('p')\nb = llm_query_batched(['p'])\nc = SHOW_VARS()\nsubmit([a, b, c, context_0])"]
    assert json.loads(play(turns).answer) == ["ok", ["ok"], {"a": "str", "b": "list"}, "abc"]


def test_overwritten_names_are_put_back(play):
    result = play(["llm = None\ndel submit", "submit(llm('x'))"])
    assert result.answer == "ok" and "put back: llm, submit" in result.trace.root.messages[3]["content"]


def test_threads_may_call(play):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool:\n    submit(sorted(pool.map(llm, 'abcd')))"
    )
    assert json.loads(play([code], leaf=lambda p: p).answer) == list("abcd")


def test_cancelling_stops_all_calls(sandbox):
    async def once():
        model = ScriptedLM([block("llm_batch(['x'] * 50)")], delay=lambda t: 20.0 * (t["kind"] == "llm"))
        worker = Worker("fork", sandbox=sandbox)
        rlm = RLM(model, repl=worker, limits=Limits(max_concurrency=64))
        before = asyncio.all_tasks()
        run = asyncio.ensure_future(rlm.run("x", "q"))
        while model.in_flight < 50:
            await asyncio.sleep(0.01)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        in_flight, seen = model.in_flight, len(model.requests)
        await asyncio.sleep(0.2)
        left = asyncio.all_tasks() - before
        await worker.close()
        return in_flight, seen, len(model.requests), left

    in_flight, seen, later, left = asyncio.run(once())
    assert in_flight == 0 and seen == later == 51 and not left


def test_cancel_gives_results(sandbox):
    async def once():
        model = ScriptedLM([block("1")], delay=20.0)
        async with RLM(model, repl="unsafe_inprocess") as rlm:
            run = asyncio.ensure_future(rlm.run("x", "q"))
            while not model.in_flight:
                await asyncio.sleep(0.01)
            await rlm.cancel()
            return await run

    assert asyncio.run(once()).status is Status.CANCELLED


@pytest.mark.parametrize("mode", ["wait", "cancel"])
def test_drain_for_a_weight_update(sandbox, mode):
    async def once():
        model = ScriptedLM([block("submit(len(llm_batch(['x'] * 20)))")], delay=lambda t: 0.2 * (t["kind"] == "llm"))
        worker = Worker("fork", sandbox=sandbox)
        rlm = RLM(model, repl=worker, limits=Limits(max_concurrency=4))
        run = asyncio.ensure_future(rlm.run("x", "q"))
        while model.in_flight < 4:
            await asyncio.sleep(0.01)
        await rlm.drain(mode)
        quiet = model.in_flight
        await asyncio.sleep(0.3)
        still = model.in_flight
        rlm.resume()
        result = await run
        await worker.close()
        return quiet, still, result

    quiet, still, result = asyncio.run(once())
    assert quiet == still == 0
    assert result.answer == "20" and result.usage.by_depth[1].calls == 20 and result.usage.total.failed == 0
