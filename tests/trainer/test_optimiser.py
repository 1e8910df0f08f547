"""Optimisers by name: the missing package, and 8-bit moments for real where torchao is installed."""

from __future__ import annotations

import logging
import sys

import pytest
import torch

from palaestra.trainer import ConfigError, train
from palaestra.trainer.config import TrainConfig
from palaestra.trainer.optimiser import make_optimiser, set_learning_rate


@pytest.fixture
def torchao():
    """torchao without torch.compile: its step is compiled C++ otherwise, which takes most of a minute to build."""
    pytest.importorskip("torchao", reason="torchao is not installed")
    with torch.compiler.set_stance("force_eager"):
        yield


def regress(name, steps=30, dtype=torch.float32, lr=1e-2):
    """Weights of a linear map after some steps of the same regression, and its optimiser."""
    torch.manual_seed(0)
    x, y = torch.randn(64, 128, dtype=dtype), torch.randn(64, 64, dtype=dtype)
    weight = torch.nn.Parameter(torch.zeros(64, 128, dtype=dtype))
    optimiser = make_optimiser([weight], TrainConfig(optimiser=name, weight_decay=0.0))
    set_learning_rate(optimiser, lr)
    for _ in range(steps):
        (x @ weight.T - y).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    return weight.detach(), optimiser


def test_eight_bit_moments_name_their_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(ConfigError, match="pip install torchao"):
        make_optimiser([torch.nn.Parameter(torch.zeros(2))], TrainConfig(optimiser="adamw8bit"))


def test_a_learning_rate_held_as_a_tensor_is_set_in_place():
    rate = torch.tensor(1.0)
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))], lr=rate)
    optimiser.param_groups[0]["lr"] = rate
    set_learning_rate(optimiser, 0.5)
    assert rate.item() == 0.5 and optimiser.param_groups[0]["lr"] is rate


def test_bfloat16_weights_under_plain_adamw_are_warned_about(caplog):
    with caplog.at_level(logging.WARNING, "palaestra.trainer"):
        make_optimiser([torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))], TrainConfig())
    assert "rounded away" in caplog.text


def test_eight_bit_moments_take_a_byte_and_train_like_adamw(torchao):
    plain, _ = regress("adamw")
    found, optimiser = regress("adamw8bit")
    (state,) = optimiser.state.values()
    for name in ("exp_avg", "exp_avg_sq"):
        assert state[name].codes.dtype == torch.uint8 and state[name].codes.shape == found.shape
    assert (found - plain).norm() < 0.1 * plain.norm()


def test_steps_too_small_for_bfloat16_are_rounded_at_random(torchao):
    near_one, _ = regress("adamw", 1, torch.bfloat16, 1.0)  # a first step of Adam is the learning rate
    assert near_one.abs().mean() > 0.9
    torch.manual_seed(1)
    weight = torch.nn.Parameter(torch.ones(64, 128, dtype=torch.bfloat16))
    optimiser = make_optimiser([weight], TrainConfig(optimiser="adamw8bit", weight_decay=0.0))
    set_learning_rate(optimiser, 1e-3)  # a quarter of the distance to the next smaller number
    weight.grad = torch.ones_like(weight)
    optimiser.step()
    assert 0.2 < (weight < 1).float().mean() < 0.3
    assert weight.detach().float().mean().item() == pytest.approx(0.999, abs=2e-4)


def test_a_run_with_eight_bit_moments_resumes_exactly(torchao, run_sections, tmp_path):
    from safetensors.torch import load_file

    run_sections["policy"]["hidden"] = 64
    run_sections["train"]["optimiser"] = "adamw8bit"
    run_sections["eval"] |= {"start": False, "tasks": 2, "samples": 1, "pass_at": [1]}
    whole = train({**run_sections, "out": str(tmp_path / "whole")})
    halved = {**run_sections, "train": {**run_sections["train"], "steps": 2}}
    train(halved)
    parts = train(run_sections, resume=True)
    assert whole.steps == parts.steps == 4 and whole.metrics["optimiser_steps"] > 0
    one, two = (load_file(result.checkpoint / "model.safetensors") for result in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)
