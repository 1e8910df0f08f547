"""The example for reading computes what the trainer computes, and runs."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import palaestra
from palaestra.trainer.objectives import registry
from palaestra.trainer.objectives.types import Normaliser, RolloutBatch, TokenBatch

PATH = Path(palaestra.__file__).parent / "examples" / "grpo_in_one_file.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("grpo_in_one_file", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_short_enough_to_read():
    assert len(PATH.read_text().splitlines()) < 350


def test_its_numbers_are_the_trainers(example):
    rng = torch.Generator().manual_seed(0)
    rewards_PG = torch.tensor([[1.0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0]])
    advantages_B = example.group_advantages(rewards_PG).flatten()
    grpo = registry.get("grpo", {})
    batch = RolloutBatch(tuple(map(str, range(12))), np.repeat(np.arange(3), 4), rewards_PG.flatten().double().numpy())
    np.testing.assert_allclose(grpo.advantage(batch), advantages_B.numpy(), rtol=1e-5, atol=1e-6)

    logp_BT = (-torch.rand(12, 5, generator=rng)).requires_grad_()
    logp_old_BT = -torch.rand(12, 5, generator=rng)
    mask_BT = (torch.rand(12, 5, generator=rng) > 0.3).float()
    mine = example.grpo_loss(logp_BT, logp_old_BT, advantages_B, mask_BT)
    (gradient,) = torch.autograd.grad(mine, logp_BT)
    tokens = TokenBatch(
        logp_BT=logp_BT,
        logp_old_BT=logp_old_BT,
        logp_roll_BT=logp_old_BT,
        advantages_BT=advantages_B[:, None].expand(12, 5),
        mask_BT=mask_BT,
        norm=Normaliser(tokens=float(mask_BT.sum()), sequences=12.0, max_length=5.0),
    )
    theirs, _ = grpo.loss(tokens)
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs, logp_BT)[0])


def test_recorded_logprobs_are_those_of_the_learner(example):
    torch.manual_seed(0)
    policy = example.make_policy(hidden=16, layers=1)
    ids, logp_BT, mask_BT = example.sample(policy, ["314", "159"], 4, 4)
    again_BT = example.token_logprobs(policy, ids, 4)
    torch.testing.assert_close(again_BT * mask_BT, logp_BT * mask_BT, atol=1e-5, rtol=0)


def test_it_runs(example, capsys):
    before, after = example.main(
        ["--digits", "3", "--steps", "2", "--warmup-steps", "20", "--prompts", "4", "--group-size", "4"]
    )
    assert 0 <= before <= 1
    assert 0 <= after <= 1
    assert "after 2 GRPO steps" in capsys.readouterr().out
