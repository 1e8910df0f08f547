"""REINFORCE, REINFORCE++ and RLOO: returns with no, batch-wide or leave-one-out baselines."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from ..advantages import leave_one_out, plain_returns, whitened_returns
from ..types import Method, Objective, RolloutBatch
from .common import PolicyParams, RegularisedParams, clipped_objective, regularised


class ReinforceParams(RegularisedParams):
    """Parameters of REINFORCE; no ratio, no clip."""

    baseline: Literal["none", "batch"] = "none"
    """Subtract nothing, or the mean reward of the batch."""
    aggregation: Literal["token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "dr_grpo"] = "seq_mean_token_sum"


class ReinforcePPParams(PolicyParams):
    """Parameters of REINFORCE++."""

    gamma: float = Field(1.0, gt=0, le=1)
    """Discount a token."""
    group_baseline: bool = False
    """Subtract the group mean before whitening (the "-baseline" form)."""


class RlooParams(RegularisedParams):
    """Parameters of RLOO."""

    kl_in_reward: float = Field(0.0, ge=0)
    """Weight of the summed log-ratio to the initial policy, taken off the reward (0.03 in TRL's example)."""
    aggregation: Literal["token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "dr_grpo"] = "seq_mean_token_sum"


def _reinforce(params: ReinforceParams) -> Objective:
    from ..losses import score_function

    advantage = partial(plain_returns, baseline=params.baseline)
    return regularised("reinforce", params, advantage, score_function(params.aggregation))


def _reinforce_pp(params: ReinforcePPParams) -> Objective:
    advantage = partial(whitened_returns, gamma=params.gamma, group_baseline=params.group_baseline)
    return clipped_objective("reinforce_pp", params, advantage)


def _rloo(params: RlooParams) -> Objective:
    from ..losses import score_function

    def kl_in_reward(group: RolloutBatch) -> np.ndarray:
        if group.ref_logp_sums_B is None or group.logp_sums_B is None:
            raise ValueError("rloo.kl_in_reward needs RolloutBatch.ref_logp_sums_B and logp_sums_B")
        return group.rewards_B - params.kl_in_reward * (group.logp_sums_B - group.ref_logp_sums_B)

    uses_kl = params.kl_in_reward > 0
    return regularised(
        "rloo",
        params,
        leave_one_out,
        score_function(params.aggregation),
        shape=kl_in_reward if uses_kl else None,
        needs={"batch_reference"} if uses_kl else frozenset(),
    )


REINFORCE = Method(
    name="reinforce",
    summary="the reward itself times the score function",
    paper="Williams 1992",
    params=ReinforceParams,
    build=_reinforce,
    formula="A_i = r_i (or r_i - batch mean); L = -A_i sum_t log pi",
    when="a reference point; groups of one",
    parts="advantage: returns; loss: score_function",
)
REINFORCE_PP = Method(
    name="reinforce_pp",
    summary="discounted returns whitened over all tokens of the batch; clipped loss",
    paper="arXiv 2501.03262",
    params=ReinforcePPParams,
    build=_reinforce_pp,
    formula="A_it = (gamma^(T_i-1-t) r_i - mean) / std over all tokens of the batch",
    when="many prompts with few rollouts each",
    parts="advantage: whitened returns; loss: ppo_clip",
)
RLOO = Method(
    name="rloo",
    summary="reward minus the mean of the other rollouts of the group; no clip",
    paper="arXiv 2402.14740",
    params=RlooParams,
    build=_rloo,
    formula="A_i = r_i - mean_{j != i} r_j = G/(G-1) (r_i - mean_g r)",
    cost="no judge calls, one forward and backward pass; one reference pass with kl_in_reward",
    when="small groups, strictly on-policy: the baseline is unbiased",
    parts="advantage: leave-one-out; loss: score_function",
    requires=("group",),
)
