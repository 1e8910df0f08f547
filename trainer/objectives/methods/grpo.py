"""GRPO and Dr.GRPO: a group of rollouts of one task is its own baseline."""

from __future__ import annotations

from functools import partial
from typing import Literal

from ..advantages import group_advantage
from ..types import Method, Objective
from .common import PolicyParams, clipped_objective


class GrpoParams(PolicyParams):
    """Parameters of GRPO."""

    scale: Literal["none", "group", "batch"] = "group"
    """Whose standard deviation divides the advantage."""
    eps: float = 1e-6
    """Added to the standard deviation."""
    ddof: Literal[0, 1] = 1
    """1 is the unbiased standard deviation."""


class DrGrpoParams(GrpoParams):
    """GRPO without its two normalisations."""

    scale: Literal["none", "group", "batch"] = "none"
    aggregation: Literal["token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "dr_grpo"] = "dr_grpo"


def _build(name: str, params: GrpoParams) -> Objective:
    advantage = partial(group_advantage, scale=params.scale, eps=params.eps, ddof=params.ddof)
    return clipped_objective(name, params, advantage)


GRPO = Method(
    name="grpo",
    summary="reward minus group mean, over group standard deviation; clipped policy loss",
    paper="arXiv 2402.03300",
    params=GrpoParams,
    build=partial(_build, "grpo"),
    formula="A_i = (r_i - mean_g r) / (std_g r + eps); L = -mean min(rho A, clip(rho, 1-eps_low, 1+eps_high) A)",
    when="the baseline; verifiable rewards and groups in which some rollouts succeed and some fail",
    parts="advantage: group; loss: ppo_clip",
    requires=("group",),
)

DR_GRPO = Method(
    name="dr_grpo",
    summary="GRPO without length and difficulty normalisation",
    paper="arXiv 2503.20783",
    params=DrGrpoParams,
    build=partial(_build, "dr_grpo"),
    formula="A_i = r_i - mean_g r; L = -1/(B L_max) sum_i sum_t min(rho A, clip(rho) A)",
    when="responses grow without getting better, or easy and hard tasks should not weigh the same",
    parts="advantage: group without std; loss: ppo_clip over the constant divisor",
    requires=("group",),
)
