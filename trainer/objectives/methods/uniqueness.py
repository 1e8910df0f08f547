"""Uniqueness-aware RL: a rollout's advantage shrinks with the number of rollouts that share its strategy."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from ..advantages import cluster_weights, group_advantage
from ..types import Method, Objective, RolloutBatch
from .common import PolicyParams, clipped_objective


class UniquenessParams(PolicyParams):
    """Parameters of uniqueness-aware weighting. The paper reports no alpha; 0.5 is our choice."""

    alpha: float = Field(0.5, ge=0, le=1)
    """Exponent of the cluster size; 0 is GRPO."""
    apply_to: Literal["all", "correct_only"] = "all"
    """Weight every advantage, or those of correct rollouts alone."""
    count_over: Literal["all", "correct"] = "all"
    """Count cluster sizes over the whole group or its correct rollouts."""
    eps: float = 1e-6
    """Added to the standard deviation."""


def _build(params: UniquenessParams) -> Objective:
    def advantage(batch: RolloutBatch) -> np.ndarray:
        weights_B = cluster_weights(batch, params.alpha, params.apply_to, params.count_over)
        return weights_B * group_advantage(batch, "group", params.eps)

    return clipped_objective("uniqueness", params, advantage, needs={"clusters"})


UNIQUENESS = Method(
    name="uniqueness",
    summary="GRPO's advantage times 1 / (strategy cluster size)^alpha",
    paper="arXiv 2601.08763",
    params=UniquenessParams,
    build=_build,
    formula="A'_i = f_i^(-alpha) A_i, f_i = rollouts in the same strategy cluster, A_i as in grpo",
    cost="one partition call a group, or cluster labels of the environment; one forward and backward pass",
    when="one strategy crowds out the others and a judge (or the environment) can tell strategies apart",
    parts="advantage: group x cluster weight; loss: ppo_clip",
    requires=("group", "clusters"),
)
