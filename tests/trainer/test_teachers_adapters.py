"""Teachers and adapters in whole runs."""

from __future__ import annotations

import json
import math

import pytest

from palaestra.trainer import train, warm_start

BASE = {
    "policy": {"characters": "0123456789\n=!?", "layers": 1, "hidden": 32},
    "env": {"id": "palaestra/Sort-v0", "args": {"digits": 2}},
    "rollout": {"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 5},
    "warmup": {"steps": 120, "target": 0.4, "check_every": 10, "batch_size": 64, "tasks": 32},
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
    params = {"teacher": weights, "top_k": top_k, "solution_text": "=", "feedback_text": "!", "closing_text": "?"}
    if top_k == 0:
        params["alpha"] = 1.0
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


def test_rehearsal_stores_once_and_trains_beside_the_new_tasks(start, tmp_path):
    """Mastered tasks are found, stored and left out of the policy-gradient part; a resumed run goes on with them."""
    sections = {
        **BASE,
        "policy": {"model": str(start)},
        "warmup": {},
        "train": {"steps": 3, "warmup_steps": 0, "rehearsal_tasks": 60, "checkpoint_every": 1},
        "objective": {"name": "dph", "attempts": 4, "threshold": 1, "chunk": 16},
    }
    whole = train({**sections, "out": str(tmp_path / "whole")})
    stored = json.loads((whole.folder / "rehearsal.json").read_text())
    assert stored["mastered"]
    assert stored["rows"]
    assert math.isfinite(whole.metrics["rehearsal_divergence"])
    played = set()
    for path in (whole.folder / "rollouts").iterdir():
        played |= {json.loads(line)["task_id"].split(":")[1].split("-")[0] for line in path.read_text().splitlines()}
    assert played.isdisjoint({str(seed) for seed in stored["mastered"]})
    parts = {**sections, "out": str(tmp_path / "parts")}
    train({**parts, "train": {**sections["train"], "steps": 3}}, callbacks=[stop_after(2)])
    resumed = train(parts, resume=True)
    files = [run.checkpoint / "model.safetensors" for run in (whole, resumed)]
    assert files[0].read_bytes() == files[1].read_bytes()


def stop_after(step):
    import os
    import signal

    def watch(event):
        if event.kind == "step" and event.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


def test_methods_that_sample_from_the_initial_policy_keep_doing_so(start, tmp_path):
    from palaestra.trainer.config import load_config
    from palaestra.trainer.loop import Trainer
    from palaestra.trainer.runfolder import RunFolder

    sections = {
        **BASE,
        "out": str(tmp_path / "run"),
        "policy": {"model": str(start)},
        "warmup": {},
        "objective": {"name": "best_of_n"},
        "train": {"steps": 2, "warmup_steps": 0, "learning_rate": 1e-2},
    }
    config = load_config(sections)
    trainer = Trainer(config, RunFolder(config))
    trainer.open()
    trainer.run()
    fresh = {n: p.clone() for n, p in trainer.policy.model.named_parameters()}
    initial = dict(trainer.sampler.decoder.model.named_parameters())
    assert any((fresh[n] != initial[n]).any() for n in fresh)
    refs, _ = trainer.source.take("train", 4)
    from palaestra.trainer.batcher import Batcher
    from palaestra.trainer.engines import make_engine
    from palaestra.trainer.policy import load_policy

    untouched = make_engine("native", load_policy(config.policy))
    plays = [
        trainer.worker.play(refs, 4, Batcher(engine, trainer._sampling()), 7)
        for engine in (trainer.sampler, untouched, trainer.engine)
    ]
    said = [[r.turns[0].logprobs for p in played for r in p.group.rollouts] for played in plays]
    assert said[0] == said[1] != said[2]
    trainer.close()
