"""`palaestra/RecursiveREPL-v0`."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import time

import gymnasium
import pytest

import palaestra as pl
from palaestra.envs.check import check
from palaestra.envs.repl import RecursiveREPL, VectorREPL
from palaestra.envs.repl.loop import host
from palaestra.rlm import Reply
from palaestra.rlm.testing import ScriptedLM, block
from palaestra.schema import Rollout, StopReason

ID = "palaestra/RecursiveREPL-v0"


@pytest.fixture
def env():
    made = pl.make(ID, length=3_000, tier="T0", secret="t")
    yield made
    made.close()


def test_contract_holds():
    report = check(ID, leak_seeds=5, length=2_000, tier="T0")
    assert report.ok, [f for f in report.findings if f.ok is False]


@pytest.mark.parametrize(
    "knobs", [{"family": "needle"}, {"family": "pairs", "tier": "T0"}, {"family": "multihop"}, {"family": "json_sum"}]
)
def test_gold_earns_the_maximum_in_every_family(knobs):
    env = pl.make(ID, length=4_000, **knobs)
    env.reset(seed=2)
    for action in env.unwrapped.oracle():
        _, reward, terminated, truncated, info = env.step(action)
    assert (reward, terminated, truncated) == (1.0, True, False) and info["status"] == "answered"
    env.close()


def test_a_whole_episode(env):
    messages, info = env.reset(seed=1)
    assert [m["role"] for m in messages] == ["system", "user"]
    assert "Date:" not in str(messages)  # the context is not shown
    messages, reward, terminated, truncated, info = env.step(block("rows = context.splitlines()\nprint(len(rows))"))
    assert reward == 0.0 and not terminated and not truncated and len(messages) == 1
    assert info["budget"]["turns"] == 19 and info["metrics"]["cells"] == 1.0
    label = env.unwrapped.current_task.prompt.split("have the label ")[1].split("?")[0]
    _, reward, terminated, truncated, info = env.step(block(f"submit(sum('[{label}]' in r for r in rows))"))
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["scores"]["score"] == 1.0 and info["children"] == ()


def test_gold_and_seed_are_not_shown(env):
    env.reset(seed=5)
    task = env.unwrapped.current_task
    _, _, _, _, info = env.step(block("1"))
    assert "answer" not in task.model_dump() and "gold" not in repr(info) and "baselines" not in repr(info)


def test_errors_become_feedback(env):
    env.reset(seed=1)
    _, _, _, _, info = env.step(block("ans"))
    assert "name 'ans' is not defined" in info["feedback"][0].text and info["feedback"][0].kind == "error"
    _, _, _, _, info = env.step("no code")
    assert info["reason"] == "no_code"


def test_wrong_form_is_explained_without_the_answer(env):
    env.reset(seed=1)
    _, reward, terminated, _, info = env.step(block("submit('between 3 and 5')"))
    assert reward == 0.0 and terminated
    assert "One integer was asked" in info["feedback"][-1].text


def test_statuses_of_the_end(env):
    env.reset(seed=1)
    for _ in range(3):
        _, reward, terminated, truncated, info = env.step("words")
    assert (reward, terminated, truncated, info["status"]) == (0.0, False, True, "no_answer")
    assert info["stop_reason"] == StopReason.INVALID_ACTION.value
    env.reset(seed=1, options={"max_turns": 2})
    env.step(block("1"))
    _, reward, terminated, truncated, info = env.step(block("2"))
    assert (reward, truncated, info["status"], info["stop_reason"]) == (0.0, True, "turn_limit", "turn_limit")


def test_machinery_that_fails_gives_no_reward(env, monkeypatch):
    from palaestra.rlm.repl import ReplDead
    from palaestra.rlm.worker import SessionRepl

    async def broken(self):
        raise ReplDead("no sandbox", infra=True)

    monkeypatch.setattr(SessionRepl, "start", broken)
    env.reset(seed=1)
    _, reward, terminated, truncated, info = env.step(block("1"))
    assert math.isnan(reward) and truncated and not terminated and "no sandbox" in info["error"]
    assert info["children"] == ()


def test_a_worker_that_lies_is_scored_zero(env):
    env.reset(seed=1)
    _, reward, _, truncated, info = env.step(block("import __main__\n__main__.palaestra_call('grant', {})"))
    assert reward == 0.0 and truncated and info["status"] == "repl_dead"


def test_half_a_block_is_not_run(env):
    env.reset(seed=1)
    messages, *_ = env.step("```repl\nsubmit(1)")
    assert "cut off" in messages[0]["content"]


def test_first_turn_answers_can_be_refused():
    env = pl.make(ID, length=2_000, tier="T0", first_turn_answer=False)
    env.reset(seed=1)
    messages, _, terminated, _, _ = env.step(block("submit(1)"))
    assert not terminated and "Not accepted" in messages[0]["content"]
    assert env.step(block("submit(1)"))[2]
    env.close()


def test_oracle_sub_model():
    env = pl.make(ID, length=3_000, tier="T2", sub="oracle")
    env.reset(seed=3)
    label = env.unwrapped.current_task.prompt.split("have the label ")[1].split("?")[0]
    code = f"replies = llm_batch(context.splitlines())\nsubmit(sum(r == {label!r} for r in replies))"
    _, reward, _, _, info = env.step(block(code))
    assert reward == 1.0
    assert all(isinstance(child, Rollout) for child in info["children"]) and len(info["children"]) > 10
    env.close()
    with pytest.raises(ValueError, match="sub is 'gpt'"):
        pl.make(ID, sub="gpt").reset(seed=0)


def test_no_sub_model_is_said(env):
    env.reset(seed=1)
    messages, *_ = env.step(block("llm('x')"))
    assert "no sub-model" in messages[0]["content"]


def test_sub_calls_run_in_the_loop_that_steps():
    async def once():
        here = asyncio.get_running_loop()
        seen = []

        async def sub(messages, *, n_max_tokens, seed, tags):
            seen.append(asyncio.get_running_loop() is here)
            await asyncio.sleep(0.01)
            return Reply("s", token_ids=(1,), logprobs=(-0.5,), prompt_ids=(2, 3))

        env = pl.make(ID, length=2_000, tier="T0").unwrapped
        await env.areset(seed=1)
        env.use_sub(sub)
        await env.astep(block("a = llm_batch(['x', 'y'])"))
        *_, info = await env.astep(block("submit(1)"))
        await asyncio.to_thread(env.close)
        return seen, info["children"]

    seen, children = asyncio.run(once())
    assert seen == [True, True]
    assert [c.turns[0].completion_ids for c in children] == [(1,), (1,)]
    assert sum(c.metrics["weight"] for c in children) == 1.0


def test_recursion_uses_the_same_sub_model():
    def turns(messages, tags):
        return block("submit(len(context))")

    env = pl.make(ID, length=2_000, tier="T0", sub=ScriptedLM(turns), limits={"max_depth": 1})
    env.reset(seed=1)
    messages, *_ = env.step(block("rlm('q', 'abcd')"))
    assert "'4'" in messages[0]["content"]
    assert env.unwrapped.trace().nodes["0/0.0"].kind == "rlm"
    env.close()


def test_fork_asks_no_sub_model_again():
    model = ScriptedLM(leaf=lambda p: f"reply {len(model.requests)}")
    env = pl.make(ID, length=2_000, tier="T0", sub=model).unwrapped
    env.reset(seed=1)
    env.step(block("x = llm('q')"))
    asked = len(model.requests)
    twin = env.fork()
    assert len(model.requests) == asked
    for one in (env, twin):
        messages, *_ = one.step(block("x"))
        assert "reply 1" in messages[0]["content"]
    twin.step(block("llm('new')"))
    assert len(model.requests) == asked + 1
    env.close()
    twin.close()


def test_cancelling_a_step():
    async def once():
        env = pl.make(ID, length=2_000, tier="T0", sub=ScriptedLM(delay=30.0)).unwrapped
        await env.areset(seed=1)
        step = asyncio.ensure_future(env.astep(block("llm_batch(['x'] * 5)")))
        await asyncio.sleep(0.5)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        await env.areset(seed=1)
        messages, *_ = await env.astep(block("41 + 1"))
        await asyncio.to_thread(env.close)
        return messages

    assert "42" in asyncio.run(once())[0]["content"]


def test_unknown_knob_is_named():
    with pytest.raises(ValueError, match="no knob 'teir'"):
        pl.make(ID, teir="T0").reset(seed=0)
    with pytest.raises(ValueError, match="family is 'x'"):
        pl.make(ID, family="x").reset(seed=0)


def test_length_may_be_drawn():
    env = pl.make(ID, length=[1_000, 100_000], tier="T0", secret="t").unwrapped
    lengths = []
    for seed in range(60):
        env.reset(seed=seed)
        lengths.append(len(env._long.context))
    assert min(lengths) < 3_000 and max(lengths) > 40_000
    assert 20 <= sum(n < 10_000 for n in lengths) <= 40  # uniform in the logarithm
    with pytest.raises(ValueError, match="length is"):
        pl.make(ID, length=[9, 2]).reset(seed=0)


def test_gymnasium_finds_it():
    env = gymnasium.make(ID, length=2_000)
    assert env.reset(seed=0)[1]["task_id"].startswith(ID)
    env.close()


def test_secret_changes_the_tasks():
    texts = set()
    for secret in ("a", "b", "a"):
        env = pl.make(ID, length=2_000, secret=secret).unwrapped
        env.reset(seed=1)
        texts.add(env._long.context)
    assert len(texts) == 2


def test_vector_steps_overlap_and_leak_nothing():
    def resources():
        gc.collect()
        with open("/proc/self/statm") as file:
            rss = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
            children = file.read().split()
        return len(os.listdir("/proc/self/fd")), len(children), rss

    def round_of(turns, n=100):
        vector = VectorREPL(n, length=2_000, tier="T0", secret="s")
        vector.reset(list(range(n)))
        for turn in range(turns):
            steps = vector.step([block(f"x = {turn}\nx")] * n)
            assert all(f"\n{turn}\n" in step[0][0]["content"] for step in steps)
        steps = vector.step([block("submit(x)")] * n)
        assert all(step[2] for step in steps)
        assert vector.step([None] * n) == [None] * n
        vector.close()

    round_of(2)  # the pools reach their size
    before = resources()
    round_of(9)
    for _ in range(50):
        after = resources()
        if after[:2] <= before[:2] and after[2] - before[2] < 2 << 20:
            break
        time.sleep(0.1)
    host().close()
    assert after[0] <= before[0] and after[1] <= before[1]
    assert after[2] - before[2] < 2 << 20


def test_direct_class_has_the_same_face():
    env = RecursiveREPL(length=2_000)
    assert env.reset(seed=0)[0]
    env.close()
    env.close()
