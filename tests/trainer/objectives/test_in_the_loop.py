"""Objectives inside the real loop: what it cannot do is refused, and dynamic sampling samples again."""

import json

import pytest

from palaestra.trainer import ConfigError, train
from palaestra.trainer.config import load_config
from palaestra.trainer.loop import NOT_YET, check_run
from palaestra.trainer.objectives import get, names
from palaestra.trainer.objectives.checks import loop_features

EXTRA = {
    "aepo": {"tau_token": 1.0},
    "grade": {"reward": "math:sqrt"},
    "pass_at_k": {"k": 2},
    "dapo": {"overlong_cache": 1},
}
EXTRA |= {"task_std": {}, "gspo": {}, "opd": {"teacher": "none"}, "light_reasoner": {"amateur": "none"}}
SUPPORTED = [n for n in names() if n not in ("opd", "arena", "light_reasoner") and not loop_features(get(n, EXTRA.get(n))) & NOT_YET]


def run_file(folder, name, **changes):
    return {
        "out": str(folder),
        "policy": {"model": "tiny", "layers": 1, "hidden": 16, "heads": 2, "characters": "0123456789>abcdef"},
        "env": {"id": "palaestra/Strategies-v0", "args": {"digits": 1, "strategies": 6}, "split": False},
        "rollout": {"group_size": 4, "prompts_per_step": 4, "max_new_tokens": 3},
        "objective": {"name": name, **EXTRA.get(name, {}), **changes},
        "train": {"steps": 1, "threads": 1},
        "eval": {"start": False, "tasks": 2, "samples": 1, "greedy": False},
        "log": {"tensorboard": False, "rollouts": 0},
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", SUPPORTED)
def test_one_step_of_every_supported_objective(name, tmp_path):
    result = train(run_file(tmp_path / "run", name))
    assert result.steps == 1 and result.stopped is None


@pytest.mark.parametrize("name", ["dph", "grade", "best_of_n", "rlpr"])
def test_what_the_loop_lacks_is_refused_and_not_left_out(name, tmp_path):
    run = run_file(tmp_path / "run", name)
    if not loop_features(get(name, EXTRA.get(name))) & NOT_YET:
        pytest.skip("the loop does this now")
    with pytest.raises(ConfigError, match="asks the training loop for"):
        train(run)
    assert any("asks the training loop" in problem for problem in check_run(load_config(run)))


def test_dynamic_sampling_samples_again_up_to_its_limit(tmp_path):
    train(run_file(tmp_path / "run", "grpo", dynamic_sampling=True, max_gen_batches=3))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (step,) = [row for row in rows if "sampling_rounds" in row]
    assert step["sampling_rounds"] == 3  # an untrained policy hardly ever makes a mixed group
