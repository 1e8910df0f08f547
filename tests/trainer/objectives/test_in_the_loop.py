"""Objectives inside the real loop: what it cannot do is refused, and dynamic sampling samples again."""

import json
import sys

import pytest

import palaestra as pl
from palaestra.envs.turns import Result
from palaestra.schema import Task
from palaestra.trainer import ConfigError, StopTraining, train
from palaestra.trainer.config import load_config
from palaestra.trainer.feasible import check_run
from palaestra.trainer.objectives import names

EXTRA = {
    "aepo": {"tau_token": 1.0},
    "grade": {"reward": "math:sqrt"},
    "pass_at_k": {"k": 2},
    "dapo": {"overlong_cache": 1},
}
EXTRA |= {"task_std": {}, "gspo": {}, "opd": {"teacher": "none"}, "light_reasoner": {"amateur": "none"}}


@pl.env("test/Parity-v0")
def parity(rng, hi=9):
    """Whether a digit is odd, as 0 or 1."""
    n = int(rng.integers(1, hi + 1))
    return f"{n}", str(n % 2)


@parity.oracle
def _solve_parity(rng, hi=9):
    yield f"<answer>{int(rng.integers(1, hi + 1)) % 2}</answer>"


@pl.env("test/ThreeTypes-v0")
def mixed(rng):
    """Tasks of three types, one of them rare."""
    kind = "aaaaabbbbc"[int(rng.integers(10))]
    return Task(prompt=f"{kind}{int(rng.integers(10))}", answer="1", metadata={"task_type": kind})


@pl.env("test/Halves-v0")
def halves(rng):
    """Right is every reply whose first character has an even code: an untrained policy makes mixed groups."""

    def grade(reply):
        info = {"solution_key": reply[:1], "extracted": reply}
        if reply and ord(reply[0]) % 2 == 0:
            return Result(1.0, "Right.", "correct", info=info)
        return Result(0.0, "The first character has an odd code.", "wrong", info=info)

    return Task(prompt=f"{int(rng.integers(10))}>", answer=grade)


@halves.oracle
def _solve_halves(rng):
    return "2468"[int(rng.integers(4))]


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


NEEDS_MORE = {"opd", "light_reasoner", "arena", "grade", "rlpr"}  # other models, a judge, or another environment


READS_TEXT = {"sdpo", "sdpo_test_time", "reward_conditioning"}  # their prompts are English


def run_file(folder, name, **changes):
    characters = "" if name in READS_TEXT else "0123456789>abcdef"
    return {
        "out": str(folder),
        "policy": {"model": "tiny", "layers": 1, "hidden": 16, "heads": 2, "characters": characters},
        "env": {"id": "palaestra/Strategies-v0", "args": {"digits": 1, "strategies": 6}, "split": False},
        "rollout": {"group_size": 4, "prompts_per_step": 4, "max_new_tokens": 3},
        "objective": {"name": name, **EXTRA.get(name, {}), **changes},
        "train": {"steps": 1, "threads": 1},
        "eval": {"start": False, "tasks": 2, "samples": 1, "greedy": False},
        "log": {"tensorboard": False, "rollouts": 0},
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in names() if n not in NEEDS_MORE])
def test_one_step_of_every_objective(name, tmp_path):
    run = run_file(tmp_path / "run", name)
    run["env"] = {"id": "test/Halves-v0", "split": False}
    result = train(run)
    assert (result.steps, result.stopped) == (1, None)
    assert result.metrics["optimiser_steps"] == 1 and result.metrics["grad_norm"] > 0


def test_rewards_from_reference_answers_reach_the_optimiser(tmp_path):
    run = run_file(tmp_path / "run", "rlpr", beta_std=0.0)
    run["policy"]["characters"] += "</answer>"
    run["env"], run["train"]["steps"] = {"id": "test/Parity-v0", "split": False}, 2
    run["warmup"] = {"steps": 40, "target": 1.0, "batch_size": 16, "check_every": 40, "tasks": 2, "learning_rate": 0.01}
    run["rollout"]["max_new_tokens"] = 20
    result = train(run)
    assert result.steps == 2 and result.metrics["unscored"] == 0
    assert any(row.get("advantage_abs", 0.0) > 0 for row in metrics(tmp_path / "run"))


def test_reference_answers_that_are_no_text_are_refused(tmp_path):
    run = run_file(tmp_path / "run", "rlpr")
    with pytest.raises(ConfigError, match="reference answers"):
        train(run)
    assert any("env.id" in problem for problem in check_run(load_config(run)))


def longer_is_better(tokens_BTV, alive_BT):
    """A differentiable reward: the probability mass of the digit 7 (token 10 of this alphabet) at each position."""
    return tokens_BTV[..., 10].mean(-1)


def test_a_differentiable_reward_is_climbed(tmp_path):
    run = run_file(tmp_path / "run", "grade", reward=f"{__name__}:longer_is_better")
    run["train"] |= {"steps": 30, "learning_rate": 0.02, "warmup_steps": 0}
    sys.modules.setdefault(__name__, sys.modules[longer_is_better.__module__])
    result = train(run)
    rewards = [row["reward"] for row in metrics(tmp_path / "run") if "reward" in row and "loss" in row]
    assert len(rewards) == 30 and result.stopped is None
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.3


def test_steps_are_balanced_over_task_types(tmp_path):
    run = run_file(tmp_path / "run", "task_std")
    run["env"] = {"id": "test/ThreeTypes-v0", "split": False}
    run["rollout"] |= {"prompts_per_step": 6, "group_size": 2}
    run["log"]["rollouts"] = 6
    train(run)
    (path,) = (tmp_path / "run" / "rollouts").glob("*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = [row["messages"][0]["content"][0] for row in rows]
    assert kinds.count("a") == kinds.count("b") == kinds.count("c") == 4  # one task in ten is of type c


def test_a_callback_can_end_a_run_which_then_resumes(tmp_path):
    run = run_file(tmp_path / "run", "grpo")
    run["train"]["steps"] = 4

    def stop(event):
        if event.kind == "step" and event.step == 2:
            raise StopTraining("enough")

    result = train(run, callbacks=[stop])
    assert (result.steps, result.stopped, result.checkpoint.name) == (2, "enough", "step-000002")
    assert train(run, resume=True).steps == 4


def test_impossible_combinations_are_refused_before_training(tmp_path):
    run = run_file(tmp_path / "run", "grade", reward=f"{__name__}:longer_is_better")
    run["judge"] = {"url": "http://127.0.0.1:9"}
    with pytest.raises(ConfigError, match="no gradient flows"):
        train(run)
    run = run_file(tmp_path / "run", "grpo")
    run["rollout"]["group_size"] = 1
    with pytest.raises(ConfigError, match="group_size"):
        train(run)
    run = run_file(tmp_path / "run", "arena", topology="swiss")
    run["judge"], run["rollout"]["group_size"] = {"url": "http://127.0.0.1:9"}, 1
    with pytest.raises(ConfigError, match="topology swiss needs two rollouts to compare, the group has 1"):
        train(run)
    run = run_file(tmp_path / "run", "sdpo")
    run["policy"]["characters"] = "0123456789"
    with pytest.raises(ConfigError, match="tokenizer lacks the characters"):
        train(run)


def test_a_teacher_with_other_tokens_is_refused_even_if_it_has_as_many(tmp_path):
    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    for characters, says in (("0123456789>abcde", "16 tokens|vocabulary"), ("0123456789>abcdeg", "other ones")):
        folder = tmp_path / characters
        load_policy(PolicyConfig(layers=1, hidden=16, characters=characters)).save(folder)
        with pytest.raises(ConfigError, match=says):
            train(run_file(tmp_path / "run", "opd", teacher=str(folder)))
    assert not (tmp_path / "run").exists()


def test_a_dry_run_asks_the_judge_server_what_it_can_do(tmp_path):
    from palaestra.judges.testing import judge_server

    run = run_file(tmp_path / "run", "arena")
    run["judge"] = {"url": "http://127.0.0.1:9"}
    assert any("cannot be reached" in problem for problem in check_run(load_config(run)))
    with judge_server() as url:
        run["judge"] = {"url": url, "judge": "nobody"}
        assert any("is not on the server" in problem for problem in check_run(load_config(run)))
        run["judge"] = {"url": url}
        assert [p for p in check_run(load_config(run)) if p.startswith("judge")] == []


def test_dynamic_sampling_samples_again_up_to_its_limit(tmp_path):
    train(run_file(tmp_path / "run", "grpo", dynamic_sampling=True, max_gen_batches=3))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (step,) = [row for row in rows if "sampling_rounds" in row]
    assert step["sampling_rounds"] == 3  # an untrained policy hardly ever makes a mixed group


def test_a_batch_without_any_teacher_is_named_and_trains_nothing(tmp_path):
    from safetensors.numpy import load_file

    run = run_file(tmp_path / "run", "sdpo", success=2.0, feedback=False)
    run["train"] |= {"steps": 2, "checkpoint_every": 1, "warmup_steps": 0, "weight_decay": 0.0}
    result = train(run)
    steps = [row for row in metrics(tmp_path / "run") if "empty_target_batch" in row]
    assert [row["empty_target_batch"] for row in steps] == [1.0, 1.0] and result.metrics["taught"] == 0
    first, last = (load_file(tmp_path / f"run/checkpoints/step-00000{n}/model.safetensors") for n in (1, 2))
    assert all((first[name] == last[name]).all() for name in first)
