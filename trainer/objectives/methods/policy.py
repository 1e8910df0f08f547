"""Methods that are a different policy loss: DAPO, GSPO, CISPO, importance weighting, PipelineRL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from ..advantages import group_advantage, leave_one_out
from ..types import Aggregation, Method, Objective, Problem
from .common import PolicyParams, RegularisedParams, clipped_objective, regularised


class DapoParams(PolicyParams):
    """Parameters of DAPO; each of its five parts can be switched off."""

    eps_high: float = Field(0.28, ge=0)
    dynamic_sampling: bool = True
    overlong_filter: bool = True
    overlong_factor: float = Field(1.0, ge=0)
    eps: float = 1e-6
    """Added to the standard deviation."""


class GspoParams(RegularisedParams):
    """Parameters of GSPO."""

    eps_low: float = Field(3e-4, ge=0)
    """Lower clip of the sequence ratio."""
    eps_high: float = Field(4e-4, ge=0)
    """Upper clip of the sequence ratio."""
    aggregation: Aggregation = "seq_mean_token_mean"
    eps: float = 1e-6
    """Added to the standard deviation."""


class CispoParams(RegularisedParams):
    """Parameters of CISPO."""

    ratio_cap: float = Field(5.0, gt=0)
    """Absolute upper bound on the importance weight."""
    ratio_floor: float = Field(0.0, ge=0)
    """Absolute lower bound on the importance weight."""
    scale: Literal["none", "group", "batch"] = "batch"
    """Whose standard deviation divides the advantage."""

    @model_validator(mode="after")
    def _order(self) -> CispoParams:
        if self.ratio_floor >= self.ratio_cap:
            raise ValueError(f"ratio_floor {self.ratio_floor} must be below ratio_cap {self.ratio_cap}")
        return self


class ImportanceParams(RegularisedParams):
    """Parameters of plain importance weighting."""

    scale: Literal["none", "group", "batch"] = "group"
    """Whose standard deviation divides the advantage."""
    cap: float | None = Field(None, gt=0)
    """Cap on the detached ratio; None keeps the ratio's own gradient."""


class PipelineParams(RegularisedParams):
    """Parameters of PipelineRL's loss; in-flight weight updates are the rollout worker's."""

    ratio_cap: float = Field(1.02, gt=0)
    """Cap on pi / pi_rollout."""


def _dapo(params: DapoParams) -> Objective:
    return clipped_objective("dapo", params, partial(group_advantage, eps=params.eps))


def _gspo(params: GspoParams) -> Objective:
    from ..losses import gspo

    loss = gspo(params.eps_low, params.eps_high, params.aggregation)
    return regularised("gspo", params, partial(group_advantage, eps=params.eps), loss)


def _cispo(params: CispoParams) -> Objective:
    from ..losses import cispo

    loss = cispo(params.ratio_cap, params.ratio_floor, params.aggregation)
    return regularised("cispo", params, partial(group_advantage, scale=params.scale), loss)


def _importance(params: ImportanceParams) -> Objective:
    from ..losses import importance_sampling

    loss = importance_sampling(params.cap, params.aggregation)
    return regularised("importance", params, partial(group_advantage, scale=params.scale), loss)


def _pipeline(params: PipelineParams) -> Objective:
    from ..losses import against_rollout, importance_sampling

    loss = against_rollout(importance_sampling(params.ratio_cap, params.aggregation))
    return regularised("pipeline_rl", params, leave_one_out, loss)


def _overlong(params: DapoParams, facts: Mapping[str, Any]) -> list[Problem]:
    limit = facts.get("max_new_tokens")
    if params.overlong_factor > 0 and limit is not None and params.overlong_cache > limit:
        reason = f"the soft length penalty grows over {params.overlong_cache} tokens, responses have at most {limit}"
        fix = f"Set objective.overlong_cache to at most {limit} (a fifth of it is usual), or overlong_factor = 0"
        return [Problem("objective.overlong_cache", reason, fix)]
    return []


def _wide_clip(params: GspoParams, facts: Mapping[str, Any]) -> list[Problem]:
    if max(params.eps_low, params.eps_high) > 0.01:
        reason = f"a clip of {max(params.eps_low, params.eps_high)} never binds on a sequence's mean ratio"
        return [Problem("objective.eps_high", reason, "Use values near 3e-4, or objective grpo for token ratios")]
    return []


DAPO = Method(
    name="dapo",
    summary="clip-higher, dynamic sampling, token mean, overlong filter and soft overlong penalty",
    paper="arXiv 2503.14476",
    params=DapoParams,
    build=_dapo,
    formula="grpo with clip 0.2/0.28 and token mean; groups of equal rewards resampled; r += soft overlong penalty",
    cost="no judge calls; up to max_gen_batches times the rollouts of a step",
    when="long reasoning with verifiable rewards",
    parts="shape: overlong; advantage: group; filters: overlong, constant groups; loss: ppo_clip, clip-higher",
    problems=_overlong,
    requires=("group",),
)
GSPO = Method(
    name="gspo",
    summary="one importance ratio a sequence: the geometric mean of its tokens' ratios",
    paper="arXiv 2507.18071",
    params=GspoParams,
    build=_gspo,
    formula="s_i = exp(mean_t (log pi - log pi_old)); L = -mean min(s A, clip(s) A)",
    when="token ratios are noisy, as with mixture-of-experts models; several inner steps",
    parts="advantage: group; loss: gspo",
    problems=_wide_clip,
    requires=("group",),
)
CISPO = Method(
    name="cispo",
    summary="clip the importance weight, not the update: every token keeps its gradient",
    paper="arXiv 2506.13585",
    params=CispoParams,
    build=_cispo,
    formula="L = -mean sg(clip(rho, floor, cap)) A log pi",
    when="clipping silences the rare tokens that matter; several inner steps",
    parts="advantage: group mean, batch std; loss: cispo",
    requires=("group",),
)
IMPORTANCE = Method(
    name="importance",
    summary="importance-weighted policy gradient without any clip",
    paper="Precup et al. 2000",
    params=ImportanceParams,
    build=_importance,
    formula="L = -mean rho A",
    when="one inner step, or as a reference point for the clipped losses",
    parts="advantage: group; loss: importance_sampling",
    requires=("group",),
)
PIPELINE_RL = Method(
    name="pipeline_rl",
    summary="truncated importance weights against the recorded behaviour policy",
    paper="arXiv 2509.19128",
    params=PipelineParams,
    build=_pipeline,
    formula="L = -mean sg(min(pi / pi_roll, 1 + eps)) A log pi, A leave-one-out",
    when="rollouts sampled while weights change: their log-probabilities are exact token by token",
    parts="advantage: leave-one-out; loss: importance_sampling against the rollout",
    requires=("group",),
)
