"""Teachers and adapters in whole runs."""

from __future__ import annotations

import math

import pytest

from palaestra.trainer import train, warm_start
from palaestra.trainer.objectives import registry

BASE = {
    "policy": {"characters": "0123456789", "layers": 1, "hidden": 32},
    "env": {"id": "palaestra/Sort-v0", "args": {"digits": 2}},
    "rollout": {"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 5},
    "warmup": {"steps": 25, "target": 0.4, "check_every": 5, "batch_size": 64, "tasks": 32},
    "train": {"steps": 2, "warmup_steps": 0},
    "eval": {"tasks": 8, "samples": 1, "start": False, "greedy": False},
    "log": {"tensorboard": False},
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return warm_start(BASE, tmp_path_factory.mktemp("start") / "policy")


@pytest.mark.parametrize("weights", ["ema", "frozen", "trust_region", "current"])
@pytest.mark.parametrize("top_k", [0, 3, None])
def test_teachers_in_the_loop(weights, top_k, start, tmp_path):
    """Self-distillation with every kind of teacher and support; at the start the teacher is the student."""
    params = {"teacher": weights, "top_k": top_k}
    if top_k == 0:
        params["alpha"] = 1.0
    known = registry.method("sdpo").params.model_fields
    if not set(params) <= set(known):
        pytest.skip(f"sdpo has other knobs: {sorted(known)}")
    sections = {
        **BASE,
        "out": str(tmp_path / "run"),
        "policy": {"model": str(start)},
        "warmup": {},
        "objective": {"name": "sdpo", **params},
    }
    result = train(sections)
    assert result.stopped is None
    assert math.isfinite(result.metrics["loss"])


def test_adapters_train_and_merge(start, tmp_path):
    """Low-rank adapters: only they move, the run resumes, and the checkpoint is an ordinary merged folder."""
    from safetensors.numpy import load_file
    from transformers import AutoModelForCausalLM

    sections = {
        **BASE,
        "out": str(tmp_path / "run"),
        "policy": {"model": str(start), "lora_rank": 2},
        "warmup": {},
        "train": {"steps": 3, "warmup_steps": 0, "learning_rate": 1e-2},
    }
    result = train(sections)
    before, after = load_file(start / "model.safetensors"), load_file(result.checkpoint / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert moved
    assert all("proj" in name for name in moved)
    AutoModelForCausalLM.from_pretrained(result.checkpoint)
    assert result.metrics["rollout_max_gap"] < 1e-4
    more = train({**sections, "train": {**sections["train"], "steps": 4}}, resume=True)
    assert more.steps == 4
