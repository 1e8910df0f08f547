"""Teachers that are other models: on-policy distillation and LightReasoner."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ..advantages import group_advantage
from ..checks import other_vocabulary
from ..types import Method, Objective, Problem, RolloutBatch, TeacherSpec
from .common import RegularisedParams, regularised


class OpdParams(RegularisedParams):
    """Parameters of on-policy distillation."""

    teacher: str = ""
    """Folder or id of the teacher; its vocabulary must be the student's."""
    mode: Literal["sampled", "full"] = "sampled"
    """Reverse KL from the sampled tokens, or from whole distributions."""
    coef: float = Field(1.0, gt=0)
    """Weight of the teacher signal."""
    gamma: float = Field(0.0, ge=0, le=1)
    """Discount of later tokens' signal; 0 credits each token with its own."""
    reward_coef: float = Field(0.0, ge=0)
    """Weight of the environment's own group advantage."""


class LightReasonerParams(RegularisedParams):
    """Parameters of LightReasoner."""

    amateur: str = ""
    """Folder or id of the weaker model; its vocabulary must be the policy's."""
    alpha: float = Field(0.2, gt=0, le=1)
    """Plausibility: share of the expert's largest probability."""
    beta: float = Field(0.4, ge=0)
    """Steps with KL(expert || amateur) under this many nats are skipped."""


def _zeros(batch: RolloutBatch) -> np.ndarray:
    return np.zeros(len(batch))


def _opd(params: OpdParams) -> Objective:
    from ..distillation import on_policy_distillation, self_distillation
    from ..losses import importance_sampling

    if params.mode == "sampled":
        loss = on_policy_distillation(importance_sampling(None, params.aggregation), params.coef, gamma=params.gamma)
    else:
        loss = self_distillation(1.0, True, None, params.aggregation)
    scored = partial(group_advantage, scale="none")
    uses_rewards = params.reward_coef > 0
    return regularised(
        "opd",
        params,
        (lambda batch: params.reward_coef * scored(batch)) if uses_rewards else _zeros,
        loss,
        needs={"teacher"},
        teacher=TeacherSpec(None, "external", top_k=0 if params.mode == "sampled" else None, model=params.teacher),
        uses_rewards=uses_rewards,
    )


def _light(params: LightReasonerParams) -> Objective:
    from ..distillation import light_reasoner

    return regularised(
        "light_reasoner",
        params,
        _zeros,
        light_reasoner(params.alpha, params.beta),
        needs={"teacher"},
        teacher=TeacherSpec(None, "frozen", top_k=None, amateur=params.amateur),
        uses_rewards=False,
        sampling="initial",
    )


def _problems(who: str, params: OpdParams | LightReasonerParams, facts: Mapping[str, Any]) -> list[Problem]:
    found = other_vocabulary(facts, who, "sdpo, whose teacher is the policy itself")
    if not getattr(params, who):
        found.append(Problem(f"objective.{who}", "no model is named", f"Set objective.{who} to a folder or a model id"))
    if params.dynamic_sampling:
        reason = "rewards may all be equal by design, so every group would be dropped"
        found.append(Problem("objective.dynamic_sampling", reason, "Set it to false"))
    return found


OPD = Method(
    name="opd",
    summary="the student samples, a stronger teacher scores every token",
    paper="Thinking Machines, On-Policy Distillation (2025)",
    params=OpdParams,
    build=_opd,
    formula="A_t = -c (log pi_roll(y_t) - log teacher(y_t)) + reward_coef A_env; importance-sampling loss",
    cost="no judge calls; one teacher forward pass over the sampled tokens",
    when="a stronger model with the same tokenizer is at hand",
    parts="teacher: external; loss: importance_sampling with token advantages, or full KL",
    problems=partial(_problems, "teacher"),
    requires=("teacher",),
)
LIGHT_REASONER = Method(
    name="light_reasoner",
    summary="self-distil towards expert/amateur contrast where the two differ; no labels",
    paper="arXiv 2510.07962",
    params=LightReasonerParams,
    build=_light,
    formula="keep t with KL(E || A) >= beta; w = softmax over plausible tokens of log E - log A; L = KL(w || pi)",
    cost="no judge calls; forward passes of the frozen start and of the amateur over the full vocabulary",
    when="no rewards at all, and a clearly weaker model of the same family",
    parts="teacher: frozen start with an amateur; loss: contrast target",
    problems=partial(_problems, "amateur"),
    requires=("amateur",),
)
