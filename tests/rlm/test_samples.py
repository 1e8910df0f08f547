"""From trees to training data: exact tokens, masks, weights; traces on disk; replay."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from palaestra.rlm import (
    RLM,
    Limits,
    Reply,
    Status,
    Trace,
    Worker,
    difference_reward,
    node_weights,
    replay,
    to_rollout,
    to_samples,
    write_html,
)
from palaestra.rlm.testing import ScriptedLM, block


def deep(messages, tags):
    """Two turns at the root; the second asks two children, each of which asks three leaves."""
    if tags["depth"] == 0 and tags["turn"] == 0:
        return block("xs = llm_batch(['a', 'b'])")
    if tags["depth"] == 0:
        return block("submit(rlm_batch(['c0', 'c1'], ['left', 'right']) + xs)")
    return block("submit(context + ''.join(llm_batch(['p', 'q', 'r'])))")


@pytest.fixture
def tree(sandbox):
    async def once():
        model = ScriptedLM(deep, leaf=lambda p: p * 2, tokens=True)
        worker = Worker("fork", sandbox=sandbox)
        result = await RLM(model, repl=worker).run("x", "q")
        await worker.close()
        return model, result

    model, result = asyncio.run(once())
    assert result.status is Status.ANSWERED
    return model, result.trace


def test_ids_are_what_the_engine_saw(tree):
    model, trace = tree
    rows = to_samples(trace, 0.5)
    assert [row.node_id for row in rows] == [node.id for node in trace.walk()]
    for row, node in zip(rows, trace.walk(), strict=True):
        last = node.turns[-1].reply
        assert row.ids == last.prompt_ids + last.token_ids  # one row a node: histories only grew
        assert row.n_sampled == sum(len(turn.reply.token_ids) for turn in node.turns)
        sampled = [i for i, m in zip(row.ids, row.mask, strict=True) if m]
        assert sampled == [i for turn in node.turns for i in turn.reply.token_ids]
        assert all((lp != 0.0) == m for lp, m in zip(row.logprobs, row.mask, strict=True))
        assert all((v >= 0) == m for v, m in zip(row.versions, row.mask, strict=True))
        assert row.advantage == 0.5
    assert sum(row.n_sampled for row in rows) == model.completion_tokens


def test_prefix_property(tree):
    _, trace = tree
    for node in trace.walk():
        for earlier, later in zip(node.turns, node.turns[1:], strict=False):
            known = earlier.reply.prompt_ids + earlier.reply.token_ids
            assert later.reply.prompt_ids[: len(known)] == known


@pytest.mark.parametrize("rule,total", [("mean", 1.0), ("sum", 4.0), ("sample", 1.0), ("none", 0.0)])
def test_weights_of_children(tree, rule, total):
    _, trace = tree
    weights = node_weights(trace, rule)
    children = trace.children(trace.root)
    assert len(children) == 4 and sum(weights[c.id] for c in children) == pytest.approx(total)
    for child in trace.children(trace.root)[2:]:
        below = sum(weights[c.id] for c in trace.children(child))
        expected = {"mean": 0.25, "sum": 3.0, "sample": weights[child.id], "none": 0.0}[rule]
        assert below == pytest.approx(expected)
    rows = to_samples(trace, 1.0, child_weight=rule)
    assert sum(row.weight for row in rows if row.depth == 1) == pytest.approx(total)


def test_depths_and_own_advantages(tree):
    _, trace = tree
    assert {row.depth for row in to_samples(trace, 1.0, train_depths={0, 2})} == {0, 2}
    rows = {row.node_id: row for row in to_samples(trace, {"0": 1.0, "0/1.0": -2.0})}
    assert rows["0/1.0"].advantage == -2.0 and rows["0/1.1"].advantage == 1.0
    with pytest.raises(ValueError, match="child_weight is 'max'"):
        to_samples(trace, 1.0, child_weight="max")


def test_a_rewritten_history_begins_a_new_row(tree):
    _, trace = tree
    first, second = trace.root.turns
    trace.root.turns[1] = replace_reply(second, prompt_ids=(1, 2, 3))
    rows = to_samples(trace, 1.0, "none")
    assert len(rows) == 2 and rows[1].ids[:3] == (1, 2, 3)
    assert rows[0].ids == first.reply.prompt_ids + first.reply.token_ids


def replace_reply(turn, **updates):
    turn.reply = replace(turn.reply, **updates)
    return turn


def test_nodes_without_tokens_are_left_out(play):
    result = play(["submit(llm('x'))"])
    assert to_samples(result.trace, 1.0) == []


def test_rollouts_match_the_learners_rows(tree):
    samples_of = pytest.importorskip("palaestra.trainer.samples").samples_of
    _, trace = tree
    rollout = to_rollout(trace, 1.0, "task-1", env_id="palaestra/RecursiveREPL-v0")
    mine = {row.node_id: row for row in to_samples(trace, 1.0)}

    def walk(r):
        yield r
        for child in r.children:
            yield from walk(child)

    seen = 0
    for node in walk(rollout):
        (theirs,) = samples_of(node)
        row = mine[_node_id(node, rollout)]
        assert theirs.prompt_ids + theirs.ids_T == row.ids
        assert int(theirs.mask_T.sum()) == row.n_sampled
        assert node.metrics["weight"] == row.weight
        seen += 1
    assert seen == len(mine) == 11


def test_nested_rollouts_tell_place_price_and_end(tree):
    model, trace = tree
    root = to_rollout(trace, 1.0, "task-1", rollout_id="g-0")
    assert root.id == "g-0"
    everything = [root, *(r for c in root.children for r in (c, *c.children))]
    assert len({r.id for r in everything}) == len(everything) and all(r.id.startswith("g-0") for r in everything)
    a, _, left, right = root.children
    assert (a.id, left.id) == ("g-0/0/0.0", "g-0/0/1.0")
    places = [(r.metrics["turn"], r.metrics["call"], r.metrics["depth"], r.metrics["repl"]) for r in root.children]
    assert places == [(0, 0, 1, 0), (0, 1, 1, 0), (1, 0, 1, 1), (1, 1, 1, 1)]
    assert [r.feedback[0].details["answer"] for r in (a, left, right)] == ["aa", "leftppqqrr", "rightppqqrr"]
    assert {r.feedback[0].details["status"] for r in everything} == {"answered"}
    assert sum(r.metrics["prompt_tokens"] for r in everything) == model.prompt_tokens
    assert sum(r.metrics["completion_tokens"] for r in everything) == model.completion_tokens
    assert [r.metrics["cells"] for r in (root, left, a)] == [2, 1, 0]


def _node_id(node, rollout):
    """A child's task is named by the task and the node."""
    return "0" if node is rollout else node.task_id.removeprefix("task-1/")


def test_a_failed_node_has_no_reward():
    def turns(messages, tags):
        return Reply(block("submit(str(llm_batch(['x'])[0]))"))

    def leaf(prompt):
        raise ConnectionError("gone")

    result = RLM(ScriptedLM(turns, leaf=leaf), repl="unsafe_inprocess").run_sync("c", "q")
    rollout = to_rollout(result.trace, 0.0, "t")
    assert rollout.reward == 0.0 and rollout.children[0].reward is None and "gone" in rollout.children[0].error
    (ending,) = rollout.children[0].feedback
    assert (ending.kind, ending.details["status"]) == ("error", "lm_error")


def test_trace_on_disk_and_replay(sandbox, tmp_path):
    async def once():
        model = ScriptedLM(deep, leaf=lambda p: p * 2, tokens=True)
        worker = Worker("fork", sandbox=sandbox)
        rlm = RLM(model, repl=worker)
        first = await rlm.run("x", "q", seed=4, trace_path=tmp_path / "t.jsonl")
        asked = len(model.requests)
        loaded = Trace.load(tmp_path / "t.jsonl")
        again = [await replay(rlm, trace, "x") for trace in (first.trace, loaded)]
        neutral = await difference_reward(rlm, first.trace, "x", lambda a: float("aa" in a), "0/0.0", "-")
        nothing = await difference_reward(rlm, first.trace, "x", lambda a: float("zz" in a), "0/0.0", "-")
        with pytest.raises(ValueError, match="sha256"):
            await replay(rlm, first.trace, "y")
        await worker.close()
        return first, again, asked, len(model.requests), neutral, nothing

    first, again, asked, later, neutral, nothing = asyncio.run(once())
    for result in again:
        assert result.answer == first.answer and result.status is Status.ANSWERED
        assert [n.messages for n in result.trace.walk()] == [n.messages for n in first.trace.walk()]
        assert result.usage.total.calls == first.usage.total.calls
    assert asked == later and (neutral, nothing) == (1.0, 0.0)
    meta = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[-1])
    assert meta["usage"]["total"]["calls"] == first.usage.total.calls


def test_replay_asks_nothing_that_was_not_recorded(tree):
    _, trace = tree
    trace.root.messages[1]["content"] += " changed"
    result = asyncio.run(replay(RLM(ScriptedLM([]), repl="unsafe_inprocess"), trace, "x"))
    assert result.status is Status.LM_ERROR and "not the recorded one" in result.error


def test_log_of_a_turn_does_not_grow_with_the_context(sandbox, tmp_path):
    sizes = []
    for n in (10**3, 10**7):

        async def once(n=n):
            worker = Worker("fork", sandbox=sandbox)
            model = ScriptedLM([block("ys = context * 2\nprint(context)")] * 3 + [block("submit(1)")])
            rlm = RLM(model, repl=worker, limits=Limits(output_chars=4_000))
            result = await rlm.run("x" * n, "q", trace_path=tmp_path / f"{n}.jsonl")
            await worker.close()
            return result

        assert asyncio.run(once()).answer == "1"
        sizes.append((tmp_path / f"{n}.jsonl").stat().st_size)
    assert sizes[1] < 4 * 20_000 and sizes[1] - sizes[0] < 4 * 10_000


def test_a_torn_last_line_is_dropped(tmp_path, sandbox):
    async def once():
        worker = Worker("fork", sandbox=sandbox)
        await RLM(ScriptedLM([block("submit(1)")]), repl=worker).run("x", "q", trace_path=tmp_path / "t.jsonl")
        await worker.close()

    asyncio.run(once())
    text = (tmp_path / "t.jsonl").read_text()
    (tmp_path / "t.jsonl").write_text(text[:-20])
    assert Trace.load(tmp_path / "t.jsonl").root.answer == "1"
    (tmp_path / "t.jsonl").write_text("{broken\n" + text)
    with pytest.raises(ValueError, match="line 1"):
        Trace.load(tmp_path / "t.jsonl")


def test_html_escapes_everything(play, tmp_path):
    result = play(["print('<script>alert(1)</script>')", "submit('<b>')"], question="<img src=x>")
    page = write_html(result.trace, tmp_path / "t.html", "<title>").read_text()
    assert "<script" not in page and "<img" not in page and "&lt;b&gt;" in page and "answered" in page
