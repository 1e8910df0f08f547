"""Whole runs: they learn, resume bit for bit after SIGKILL, stop cleanly, and never train on invented rewards."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from palaestra.trainer import ConfigError, evaluate, load_config, train, warm_start
from palaestra.trainer.checkpoint import CheckpointError, latest


def weights(folder):
    return hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()


def lines(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_folder_that_transformers_opens(run_sections):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    events = []
    result = train(run_sections, callbacks=[events.append])
    assert result.steps == 4
    assert result.stopped is None
    assert result.before is not None
    assert result.after is not None
    assert set(result.after.pass_at) == {1, 2}
    assert [e.step for e in events if e.kind == "step"] == [1, 2, 3, 4]
    assert load_config(result.folder / "config.toml") == load_config(run_sections)
    steps = [line for line in lines(result.folder) if "reward" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    gaps = [line["rollout_max_gap"] for line in steps if "rollout_max_gap" in line]
    assert gaps
    assert max(gaps) < 1e-4
    rollouts = [json.loads(line) for line in (result.folder / "rollouts/step-000001.jsonl").read_text().splitlines()]
    assert len(rollouts) == 16
    assert {"reward", "turns", "advantage", "feedback"} <= rollouts[0].keys()
    model = AutoModelForCausalLM.from_pretrained(result.checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(result.checkpoint)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "210"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "210>"
    assert model.num_parameters() < 50_000
    assert model.config.model_type == "qwen3"


def test_a_folder_in_use_or_of_another_run_is_refused(run_sections):
    train({**run_sections, "train": {"steps": 1}})
    with pytest.raises(ConfigError, match="--resume"):
        train({**run_sections, "train": {"steps": 1}})
    changed = {**run_sections, "train": {"steps": 2}, "rollout": {**run_sections["rollout"], "group_size": 3}}
    with pytest.raises(ConfigError, match=r"rollout\.group_size"):
        train(changed, resume=True)
    assert train({**run_sections, "train": {"steps": 2}}, resume=True).steps == 2


def test_resuming_in_parts_gives_the_same_weights(run_sections, tmp_path):
    whole = train({**run_sections, "out": str(tmp_path / "whole")})
    parts = {**run_sections, "out": str(tmp_path / "parts")}

    def stop(event):
        if event.kind == "step" and event.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    first = train(parts, callbacks=[stop])
    assert first.interrupted == signal.SIGTERM
    assert first.steps == 3
    second = train(parts, resume=True)
    assert second.steps == 4
    assert weights(whole.checkpoint) == weights(second.checkpoint)
    keep = ("reward", "loss", "grad_norm", "eval/pass@1")
    numbers = [[{k: r[k] for k in keep if k in r} for r in lines(run.folder)] for run in (whole, second)]
    assert numbers[0] == numbers[1]


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_is_bit_identical(tmp_path):
    """A real `palaestra train` process, warm start included, killed with SIGKILL again and again."""
    run_file = tmp_path / "run.toml"
    run_file.write_text(
        """
[policy]
characters = "0123456789"
layers = 1
hidden = 32
[env]
id = "palaestra/Sort-v0"
args = { digits = 2 }
[warmup]
steps = 25
check_every = 10
target = 0.5
batch_size = 64
tasks = 16
[rollout]
group_size = 4
prompts_per_step = 16
max_new_tokens = 5
[objective]
name = "grpo"
entropy_coef = 0.001
kl_coef = 0.01
[train]
steps = 40
epochs = 2
checkpoint_every = 3
threads = 1
[eval]
every = 20
tasks = 16
samples = 2
[log]
tensorboard = false
"""
    )

    def command(out, *more):
        code = "from palaestra.cli.app import main; main()"
        return [sys.executable, "-c", code, "train", str(run_file), "--json", "--set", f"out={out}", *more]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = tmp_path / "whole"
    subprocess.run(command(whole), check=True, timeout=300, env=environment, stdout=subprocess.DEVNULL)
    killed = tmp_path / "killed"
    luck = random.Random(4)
    kills = 0
    for _ in range(40):
        more = ["--resume"] if (killed / "config.toml").exists() else []
        process = subprocess.Popen(command(killed, *more), env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        wanted = luck.randint(2, 14)  # so many events after the start, then anywhere inside the next step
        for count, _line in enumerate(process.stdout):
            if count == wanted:
                break
        else:
            assert process.wait(timeout=60) == 0
            break
        time.sleep(luck.random() * 0.05)
        if kills < 4:
            process.send_signal(signal.SIGKILL)
            kills += 1
            process.wait(timeout=60)
        else:
            process.communicate(timeout=300)
            assert process.returncode == 0
            break
    assert kills == 4
    assert weights(latest(whole / "checkpoints").folder) == weights(latest(killed / "checkpoints").folder)
    assert [r["step"] for r in lines(whole)] == [r["step"] for r in lines(killed)]
    rewards = [[r["reward"] for r in lines(folder) if "reward" in r] for folder in (whole, killed)]
    assert rewards[0] == rewards[1]
    assert len(rewards[0]) == 40
    assert 0 < np.mean(rewards[0]) < 1


def test_a_damaged_checkpoint_is_skipped(run_sections, caplog):
    result = train(run_sections)
    newest = result.checkpoint
    data = bytearray((newest / "model.safetensors").read_bytes())
    data[-3] ^= 255
    (newest / "model.safetensors").write_bytes(data)
    found = latest(result.folder / "checkpoints")
    assert found.step == 2
    assert "damaged" in caplog.text
    again = train(run_sections, resume=True)
    assert again.steps == 4


def test_a_full_disk_loses_nothing(run_sections, monkeypatch):
    import errno

    from palaestra.trainer.policy import Policy

    saved = Policy.save

    def full(self, folder):
        if "000004" in str(folder):
            (folder / "half.bin").write_bytes(b"x")
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(self, folder)

    monkeypatch.setattr(Policy, "save", full)
    with pytest.raises(CheckpointError, match=r"disk is full .*step-000002 is intact.*--resume"):
        train(run_sections)
    folder = Path(run_sections["out"]) / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["step-000000", "step-000002"]
    monkeypatch.setattr(Policy, "save", saved)
    assert train(run_sections, resume=True).steps == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_really_full_disk(run_sections, tmp_path):
    """A file system of 600 kB: the second checkpoint does not fit, and the first is still there."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mount is not permitted here")
    try:
        with pytest.raises(CheckpointError, match="disk is full"):
            train({**run_sections, "out": str(disk / "run"), "policy": {"layers": 1, "hidden": 64}})
        assert latest(disk / "run" / "checkpoints") is not None
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


SORT = {
    "policy": {"characters": "0123456789", "layers": 1, "hidden": 48},
    "env": {"id": "palaestra/Sort-v0", "args": {"digits": 3}},
    "rollout": {"group_size": 8, "prompts_per_step": 24, "max_new_tokens": 4},
    "warmup": {"steps": 200, "target": 0.35, "check_every": 5, "batch_size": 128, "tasks": 128},
    "train": {"steps": 40, "epochs": 2, "warmup_steps": 5, "learning_rate": 2e-3, "checkpoint_every": 1000},
    "eval": {"tasks": 200, "samples": 2},
    "log": {"tensorboard": False, "rollouts": 0},
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    import torch

    torch.set_num_threads(1)
    return warm_start(SORT, tmp_path_factory.mktemp("start") / "policy")


def shuffled():
    """Sorting whose reward was drawn beforehand and has nothing to do with the answer."""
    from palaestra.envs import make

    class Shuffled:
        def __init__(self):
            self.unwrapped = self
            self.env = make("palaestra/Sort-v0", digits=3).unwrapped
            self.settings = self.env.settings
            self.luck = np.random.default_rng(0)

        def oracle(self):
            return self.env.oracle()

        def reset(self, **k):
            return self.env.reset(**k)

        def step(self, text):
            observation, _, terminated, truncated, info = self.env.step(text)
            return observation, float(self.luck.random() < 0.5), terminated, truncated, info

        def close(self):
            self.env.close()

    return Shuffled()


@pytest.mark.slow
def test_it_learns_and_a_shuffled_reward_does_not(start, tmp_path):
    sections = {**SORT, "warmup": {}, "policy": {"model": str(start)}}
    before = evaluate(sections)
    assert before.pass_at[1].value < 0.7
    result = train({**sections, "out": str(tmp_path / "real")})
    assert result.after.pass_at[1].value > before.pass_at[1].value + 0.15
    control = train({**sections, "out": str(tmp_path / "shuffled")}, env_factory=shuffled)
    truth = evaluate(sections, model=control.checkpoint)
    assert truth.pass_at[1].value < before.pass_at[1].value + 0.05


def test_evaluation_is_reproducible(start):
    sections = {**SORT, "policy": {"model": str(start)}, "eval": {"tasks": 20, "samples": 4, "pass_at": [1, 4]}}
    first, second = evaluate(sections), evaluate(sections)
    assert first.model_copy(update={"seconds": 0}) == second.model_copy(update={"seconds": 0})
    assert first.pass_at[1].low <= first.pass_at[1].value <= first.pass_at[1].high
    assert first.pass_at[4].value >= first.pass_at[1].value
