"""The trainer on the recursive environment: root and sub-calls of a tiny policy, end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from palaestra.schema import Rollout, Turn

CONFIG = {
    "policy": {"model": "tiny", "layers": 1, "hidden": 32, "heads": 2},
    "env": {
        "id": "palaestra/RecursiveREPL-v0",
        "args": {"family": "linear", "tier": "T0", "length": 1_000, "prompt": "none", "bare_code": True, "max_turns": 1,
                 "secret": "t"},
    },
    "rollout": {"group_size": 4, "prompts_per_step": 2, "max_new_tokens": 24, "max_context": 1024},
    "objective": {"name": "grpo"},
    "train": {"steps": 1, "learning_rate": 1e-3, "threads": 1},
    "eval": {"tasks": 2, "samples": 2, "pass_at": [1], "every": 0},
}  # fmt: skip


def test_child_rows_share_the_roots_advantage():
    pytest.importorskip("torch")
    from palaestra.trainer.children import child_rows, descendants

    def made(name, weight, children=()):
        turn = Turn(prompt_ids=(1, 2), completion_ids=(3, 4, 5), logprobs=(-0.1, -0.2, -0.3))
        return Rollout(id=name, task_id="t", turns=(turn,), metrics={"weight": weight}, children=children)

    root = made("r", 1.0, (made("a", 0.5, (made("b", 0.25),)), made("c", 0.5), made("d", 0.0)))
    assert [r.id for r in descendants(root)] == ["a", "b", "c", "d"]
    rows = child_rows(root, 2.0, group=7)
    assert [(r.sample.rollout_id, r.group) for r in rows] == [("a", 7), ("b", 7), ("c", 7)]
    assert np.allclose([r.advantage_T.sum() / 3 for r in rows], [1.0, 0.5, 1.0])
    assert np.allclose(child_rows(root, np.array([1.0, 3.0]), 0)[0].advantage_T, 1.0)


def test_a_tiny_policy_trains_on_it(tmp_path):
    pytest.importorskip("torch")
    from palaestra.trainer import train

    result = train({**CONFIG, "out": str(tmp_path / "run")})
    assert result.stopped is None and result.steps == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    step = next(row for row in rows if "unscored" in row)
    assert step["unscored"] == 0.0 and step["rollouts"] == 8.0
    assert 0.0 <= step["reward"] <= 1.0


class Calling:
    """The environment, but every reply is replaced by code that asks the policy twice and submits what comes out."""

    def __new__(cls, **knobs):
        from palaestra.envs.repl import RecursiveREPL

        class Env(RecursiveREPL):
            async def _aanswer(self, text):
                return await super()._aanswer("rs = llm_batch(['1', '2'])\nsubmit(len(set(rs)) + len(rs[0]) % 7)")

        return Env(**knobs)


def test_sub_calls_are_sampled_from_the_policy_and_trained(tmp_path):
    pytest.importorskip("torch")
    from palaestra.trainer import train

    args = {**CONFIG["env"]["args"], "sub": "policy"}
    config = {**CONFIG, "env": {"id": "palaestra/RecursiveREPL-v0", "args": args}, "out": str(tmp_path / "run")}
    train(config, env_factory=lambda: Calling(**args))
    lines = [json.loads(line) for path in (tmp_path / "run" / "rollouts").glob("*.jsonl") for line in path.open()]
    with_children = [row for row in lines if row.get("children")]
    assert with_children
    for row in with_children:
        assert [child["metrics"]["weight"] for child in row["children"]] == [0.5, 0.5]
        assert all(child["turns"][0]["completion_ids"] for child in row["children"])
        assert [child["id"] for child in row["children"]] == [f"{row['id']}/0/0.{i}" for i in range(2)]
        assert [child["feedback"][0]["details"]["status"] for child in row["children"]] == ["answered"] * 2
        assert all(child["metrics"]["completion_tokens"] > 0 for child in row["children"])
    step = next(r for r in map(json.loads, (tmp_path / "run" / "metrics.jsonl").open()) if "unscored" in r)
    assert step["rows"] % 3 == 0  # each kept rollout brings its two sub-calls


def test_sub_calls_of_a_rollout_that_was_cut_are_kept(tmp_path):
    pytest.importorskip("torch")
    from palaestra.trainer import train

    class Asking:
        def __new__(cls, **knobs):
            from palaestra.envs.repl import RecursiveREPL

            class Env(RecursiveREPL):
                async def _aanswer(self, text):
                    return await super()._aanswer("llm('1')")

            return Env(**knobs)

    args = {**CONFIG["env"]["args"], "sub": "oracle", "max_turns": 9}
    rollout = {**CONFIG["rollout"], "max_turns": 1}
    config = {**CONFIG, "env": {"id": "palaestra/RecursiveREPL-v0", "args": args}, "rollout": rollout}
    train({**config, "out": str(tmp_path / "run")}, env_factory=lambda: Asking(**args))
    rows = [json.loads(line) for path in (tmp_path / "run" / "rollouts").glob("*.jsonl") for line in path.open()]
    assert rows and all(row["stop_reason"] == "turn_limit" and len(row["children"]) == 1 for row in rows)


def test_evaluation_over_a_server_plays_sub_calls_with_the_model(tmp_path):
    """`sub = "policy"` means the model under evaluation there."""
    from palaestra.judges.testing import FakeOpenAI
    from palaestra.lm import OpenAIModel
    from palaestra.rlm.testing import block
    from palaestra.trainer.config import EnvConfig, EvalConfig, RolloutConfig
    from palaestra.trainer.evaluate_server import evaluate_server

    def script(request):
        return block("submit(llm('how many?'))") if "Turn 1" in request.last else "5"

    args = {"family": "linear", "tier": "T0", "length": 1_000, "sub": "policy", "secret": "t"}
    with FakeOpenAI(script=script) as server:
        _, plays = evaluate_server(
            EnvConfig(id="palaestra/RecursiveREPL-v0", args=args), OpenAIModel("m", base_url=server.url),
            EvalConfig(tasks=2, samples=1, greedy=False), RolloutConfig(),
        )  # fmt: skip
    rollouts = [r for play in plays for r in play.group.rollouts]
    assert [r.children[0].feedback[0].details["answer"] for r in rollouts] == ["5", "5"]
