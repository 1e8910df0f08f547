"""Two processes give the loss, gradients and metrics of one, and either may continue the other's run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from palaestra.trainer import ConfigError
from palaestra.trainer.checkpoint import latest, load_tensors
from palaestra.trainer.config import load_config
from palaestra.trainer.distributed import refuse_distributed
from palaestra.trainer.objectives import registry

RUN = """
policy = { characters = "0123456789", layers = 2, hidden = 32 }
env = { id = "palaestra/Sort-v0", args = { digits = 2 } }
warmup = { steps = 20, target = 0.9, check_every = 20, batch_size = 64, tasks = 8 }
rollout = { group_size = 4, prompts_per_step = 7, max_new_tokens = 4 }
objective = { name = "grpo", entropy_coef = 0.01, kl_coef = 0.01 }
train = { steps = 4, checkpoint_every = 1, token_budget = 64, epochs = 2, shared_prefix = false, threads = 1, keep = 9 }
eval = { tasks = 4, samples = 1, start = false }
log = { tensorboard = false, rollouts = 0 }
"""


def launch(tmp_path, processes, *more):
    run_file = tmp_path / "run.toml"
    run_file.write_text(RUN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(port)]
    start = [sys.executable, *(torchrun if processes > 1 else [])]
    done = subprocess.run(
        [*start, "-m", "palaestra", "train", str(run_file), "--json", *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def steps_of(folder):
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "rollouts" in line]


TIMES = ("time/", "tokens_per_second", "train_tokens_per_second", "train_flops", "flops_utilisation", "memory_mb")


def same_numbers(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        keys = {key for key in a if not key.startswith(TIMES)}
        assert keys == {key for key in b if not key.startswith(TIMES)}
        for key in keys:
            assert a[key] == pytest.approx(b[key], abs=1e-5, rel=1e-4), key


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one_and_continue_each_other(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    launch(tmp_path, 1, "--set", f"out={one}")
    launch(tmp_path, 2, "--set", f"out={two}", "--set", "train.steps=2")
    whole, parts = steps_of(one), steps_of(two)
    assert any(step["grad_norm"] > 0 for step in whole[:2])
    same_numbers(whole[:2], parts)
    assert "optimizer" in load_tensors(latest(one / "checkpoints"))
    found = latest(two / "checkpoints")
    assert "optimizer" not in load_tensors(found)
    assert sum(name.startswith("shards/") for name in found.state["files"]) >= 3  # two parts and what joins them
    launch(tmp_path, 1, "--set", f"out={two}", "--set", "train.steps=3", "--resume")
    assert "optimizer" in load_tensors(latest(two / "checkpoints"))
    launch(tmp_path, 2, "--set", f"out={two}", "--resume")
    same_numbers(whole, steps_of(two))
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(latest(two / "checkpoints").folder)  # a Hugging Face folder like any other


@pytest.mark.slow
def test_two_processes_in_mixed_precision_take_the_step_of_one(tmp_path):
    found = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        launch(tmp_path, processes, "--set", f"out={out}", "--set", "policy.dtype=mixed", "--set", "train.steps=1")
        found += steps_of(out)
    one, two = found
    assert one["reward"] == two["reward"]  # the same weights sampled
    assert two["loss"] == pytest.approx(one["loss"], abs=0.02)
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=0.05)
    assert 1e-9 < two["rollout_kl"] < 1e-2  # bfloat16 on both sides, not the same rounding


def test_what_several_processes_cannot_do_is_refused():
    config = load_config({"env": "palaestra/Sort-v0", "rollout": {"max_staleness": 1}, "policy": {"lora_rank": 2}})
    with pytest.raises(ConfigError, match=r"lora_rank.*max_staleness"):
        refuse_distributed(config, registry.get("grpo", {}))
