"""Our advantages and losses equal verl's own on random tensors, where verl can be imported."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from palaestra.trainer.objectives import RolloutBatch, losses
from palaestra.trainer.objectives import advantages as adv
from palaestra.trainer.objectives.regularisers import kl_values

pytestmark = pytest.mark.slow
core = pytest.importorskip("verl.trainer.ppo.core_algos", reason="verl (with ray, tensordict) is not installed")


@pytest.fixture(params=range(3))
def data(request):
    g = torch.Generator().manual_seed(request.param)
    rows, width = 8, 6
    lengths = torch.randint(1, width + 1, (rows, 1), generator=g)
    logp = -torch.rand(rows, width, generator=g) * 3
    return SimpleNamespace(
        logp=logp,
        old=logp + 0.4 * torch.randn(rows, width, generator=g),
        mask=(torch.arange(width)[None] < lengths).float(),
        rewards=torch.rand(rows, generator=g),
        groups=np.array([0, 0, 0, 0, 1, 1, 1, 1]),
    )


def token_rewards(data):
    scores = torch.zeros_like(data.logp)
    last = data.mask.sum(1).long() - 1
    scores[torch.arange(len(scores)), last] = data.rewards
    return scores


def ours(data, estimator):
    ids = tuple(map(str, range(8)))
    rewards = data.rewards.double().numpy()
    return torch.tensor(estimator(RolloutBatch(ids, data.groups, rewards))).float()[:, None] * data.mask


@pytest.mark.parametrize("std", [True, False])
def test_grpo_advantage(data, std):
    theirs, _ = core.compute_grpo_outcome_advantage(
        token_rewards(data), data.mask, data.groups, norm_adv_by_std_in_grpo=std
    )
    mine = ours(data, lambda b: adv.group_advantage(b, "group" if std else "none"))
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_rloo_advantage(data):
    theirs, _ = core.compute_rloo_outcome_advantage(token_rewards(data), data.mask, data.groups)
    assert torch.allclose(ours(data, adv.leave_one_out), theirs, atol=1e-5)


def test_best_only_advantage(data):
    config = SimpleNamespace(get=lambda key, default=None: False if key == "norm_adv_by_std_in_grpo" else default)
    theirs, _ = core.compute_grpo_passk_outcome_advantage(token_rewards(data), data.mask, data.groups, config=config)
    assert torch.allclose(ours(data, adv.best_only_advantage), theirs * data.mask, atol=1e-5)


def test_dual_clip_loss(data, tokens):
    advantages = torch.linspace(-2, 2, 8)[:, None].expand(8, 6)
    b = tokens(data.logp.clone(), advantages, old=data.old, mask=data.mask)
    value, _ = losses.ppo_clip(0.2, 0.28, 3.0)(b)
    config = SimpleNamespace(
        clip_ratio=0.2,
        clip_ratio_low=0.2,
        clip_ratio_high=0.28,
        get=lambda k, d=None: 3.0 if "clip_ratio_c" in k else d,
    )
    config.global_batch_info = {}
    try:
        theirs = core.compute_policy_loss_vanilla(
            data.old, data.logp, advantages, data.mask, loss_agg_mode="token-mean", config=config
        )[0]
    except (AttributeError, AssertionError, TypeError):
        theirs = core.compute_policy_loss(data.old, data.logp, advantages, data.mask, 0.2, 0.2, 0.28, 3.0)[0]
    assert value.item() == pytest.approx(theirs.item(), abs=1e-5)


@pytest.mark.parametrize(("mine", "theirs"), [("k1", "kl"), ("k2", "mse"), ("k3", "low_var_kl")])
def test_kl_penalties(data, mine, theirs):
    expected = core.kl_penalty(data.logp, data.old, theirs)
    assert torch.allclose(kl_values(data.logp, data.old, mine), expected, atol=1e-5)
