"""RLPR: the reward is how much likelier the reference answer becomes after the sampled reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import Field, model_validator

from ..advantages import group_advantage
from ..filters import ema_std_filter
from ..shaping import rlpr
from ..types import Filter, Method, Objective, Problem
from .common import PolicyParams, clipped_objective


class RlprParams(PolicyParams):
    """Parameters of RLPR."""

    eps_high: float = Field(0.27, ge=0)
    format_weight: float = Field(0.1, ge=0, le=1)
    """Share of the format in the reward."""
    beta_std: float = Field(0.5, ge=0)
    """Groups under this share of the running mean std are dropped; 0 = no filter."""
    ema_ratio: float = Field(0.99, gt=0, lt=1)
    """Memory of the running mean."""
    collect_from: int = Field(6, ge=1)
    """First step whose stds are collected."""
    filter_from: int = Field(11, ge=2)
    """First step that filters."""

    @model_validator(mode="after")
    def _order(self) -> RlprParams:
        if self.collect_from >= self.filter_from:
            raise ValueError(
                f"collect_from {self.collect_from} must be below filter_from {self.filter_from}: there is no running "
                "mean to filter by before anything is collected"
            )
        return self


def _build(params: RlprParams) -> Objective:
    filters: tuple[Filter, ...] = ()
    if params.beta_std > 0:
        filters = (ema_std_filter(params.beta_std, params.ema_ratio, params.collect_from, params.filter_from),)
    return clipped_objective(
        "rlpr",
        params,
        partial(group_advantage, scale="group"),
        shape=rlpr(params.format_weight),
        filters=filters,
        needs={"answer_probs"},
    )


def _problems(params: RlprParams, facts: Mapping[str, Any]) -> list[Problem]:
    if facts.get("text_answers") is False:
        reason = "the reward is the probability of the reference answer, and this environment's tasks have none as text"
        return [Problem("env.id", reason, "Use an environment with text or number answers, or grpo with its rewards")]
    return []


RLPR = Method(
    name="rlpr",
    summary="verifier-free: probability gain of the reference answer; groups of small spread are dropped",
    paper="arXiv 2506.18254",
    params=RlprParams,
    build=_build,
    formula="r = 0.9 max(0, mean p(ref | q, z) - mean p(ref | q)) + 0.1 format; drop if std_g < beta EMA(std)",
    cost="no judge calls; one scoring pass over the reference a rollout and one a prompt",
    when="free-form reference answers that no verifier can compare",
    parts="shape: rlpr; advantage: group; filter: EMA of std; loss: ppo_clip",
    requires=("group", "answers"),
    problems=_problems,
)
