"""Supervised loops over rollouts: which samples are imitated, from which weights, under which prompt."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ..checks import unwritable
from ..filters import best_of_group, keep_correct
from ..preferences import batch_quantiles, control_contexts, keep_best_quantile, keep_scored, keep_winners, ones
from ..prompts import prefixed
from ..types import Method, Objective, Problem, RolloutBatch, TeacherSpec
from .common import RegularisedParams, regularised


class SupervisedParams(RegularisedParams):
    """Parameters of supervised loops."""


class CorrectParams(SupervisedParams):
    """Parameters of loops that imitate correct rollouts."""

    threshold: float = 1.0
    """Reward from which a rollout is imitated."""


class FeedmeParams(SupervisedParams):
    """Parameters of Binary FeedME."""

    flip: float = Field(0.0, ge=0, lt=0.5)
    """Share of preference labels turned over (0.25 simulates noisy annotators)."""
    seed: int = 0
    """Of the pairing and the flips."""


class ConditioningParams(SupervisedParams):
    """Parameters of reward conditioning."""

    good: str = "[good] "
    """Text in front of the prompt of good rollouts, and of every prompt one samples with."""
    bad: str = "[bad] "
    """Text in front of the prompt of the other rollouts."""
    threshold: float = 0.5
    """Reward from which a rollout is good."""

    @model_validator(mode="after")
    def _two_texts(self) -> ConditioningParams:
        if self.good == self.bad or not self.good:
            raise ValueError(f"good = {self.good!r} and bad = {self.bad!r} must differ, and good must not be empty")
        return self


class QuarkParams(SupervisedParams):
    """Parameters of Quark."""

    quantiles: int = Field(4, ge=1)
    """Reward quantiles of a batch."""
    train_on: Literal["best", "all"] = "best"
    """The best quantile without control text, or all of them with theirs."""
    kl_full_coef: float = Field(0.05, ge=0)
    """Weight of KL(policy || initial policy) over the full vocabulary; the reference never sees a control text."""


def _loop(name: str, params: SupervisedParams, **parts) -> Objective:
    from ..losses import score_function

    return regularised(name, params, ones, score_function(params.aggregation), **parts)


def _best(name: str, sampling: Literal["current", "initial"], params: SupervisedParams) -> Objective:
    return _loop(name, params, filters=(best_of_group,), sampling=sampling)


def _correct(name: str, sampling: Literal["current", "initial"], params: CorrectParams) -> Objective:
    return _loop(name, params, filters=(keep_correct(params.threshold),), sampling=sampling)


def _feedme(params: FeedmeParams) -> Objective:
    return _loop("feedme", params, filters=(keep_winners(params.flip, params.seed),), sampling="initial")


def _conditioning(params: ConditioningParams) -> Objective:
    def label(batch: RolloutBatch) -> np.ndarray:
        worse = (batch.rewards_B < params.threshold).astype(int)
        return np.where(batch.scored_B, worse, -1)

    texts = (params.good, params.bad)
    relabel = control_contexts(label, texts)
    return _loop("reward_conditioning", params, filters=(keep_scored,), relabel=relabel, prompt=prefixed(params.good))


def _conditioning_problems(params: ConditioningParams, facts: Mapping[str, Any]) -> list[Problem]:
    return unwritable(facts, good=params.good, bad=params.bad)


def _quality_texts(params: QuarkParams) -> tuple[str, ...]:
    """Control texts of the quantiles, best first."""
    return tuple(f"[quality {params.quantiles - i}] " for i in range(params.quantiles))


def _quark_problems(params: QuarkParams, facts: Mapping[str, Any]) -> list[Problem]:
    return unwritable(facts, train_on="".join(_quality_texts(params))) if params.train_on == "all" else []


def _quark(params: QuarkParams) -> Objective:
    from ..distillation import full_kl_to_teacher

    parts: dict = {"filters": (keep_best_quantile(params.quantiles),)}
    if params.train_on == "all":
        texts = _quality_texts(params)
        parts = {
            "filters": (keep_scored,),
            "relabel": control_contexts(partial(batch_quantiles, k=params.quantiles), texts),
            "prompt": prefixed(texts[0]),
        }
    if params.kl_full_coef > 0:
        texts_to_drop = () if params.train_on == "best" else texts
        parts |= {
            "regularisers": (full_kl_to_teacher(params.kl_full_coef),),
            "teacher": TeacherSpec(_plain(texts_to_drop), "frozen", top_k=None),
            "needs": {"teacher"},
        }
    return _loop("quark", params, **parts)


def _plain(texts: tuple[str, ...]):
    """The reference reads the prompt without any control text; None where prompts carry none."""
    if not texts:
        return None
    return control_contexts(lambda batch: np.zeros(len(batch), int), ("", *texts))


_COST = "no judge calls; one forward and backward pass over the kept rollouts"
BEST_OF_N = Method(
    name="best_of_n",
    summary="imitate the best of n samples of the initial policy (one-pass expert iteration)",
    paper="arXiv 2305.14387",
    params=SupervisedParams,
    build=partial(_best, "best_of_n", "initial"),
    formula="L = -mean log pi over argmax_i r_i of each group; KL(best-of-n || start) <= log n - (n-1)/n",
    cost=_COST,
    when="a strong, cheap baseline for any reward",
    parts="filter: best of group; loss: score_function; sampling: initial",
    requires=("group",),
)
EXPERT_ITERATION = Method(
    name="expert_iteration",
    summary="imitate the best of n samples of the current policy, over and over",
    paper="arXiv 1705.08439",
    params=SupervisedParams,
    build=partial(_best, "expert_iteration", "current"),
    formula="L = -mean log pi over the best rollout of each group, sampled afresh",
    cost=_COST,
    when="graded rewards without a policy gradient",
    parts="filter: best of group; loss: score_function",
    requires=("group",),
)
ITERATIVE_SFT = Method(
    name="iterative_sft",
    summary="imitate correct samples of the current policy",
    paper="arXiv 2510.18874",
    params=CorrectParams,
    build=partial(_correct, "iterative_sft", "current"),
    formula="L = -mean log pi over rollouts with r >= threshold, sampled afresh",
    cost=_COST,
    when="to see whether on-policy data alone explains what RL keeps",
    parts="filter: correct; loss: score_function",
)
SELF_SFT = Method(
    name="self_sft",
    summary="imitate correct samples of the initial policy",
    paper="arXiv 2510.18874",
    params=CorrectParams,
    build=partial(_correct, "self_sft", "initial"),
    formula="L = -mean log pi over rollouts of pi_0 with r >= threshold",
    cost=_COST,
    when="the off-policy control of iterative_sft",
    parts="filter: correct; loss: score_function; sampling: initial",
)
FEEDME = Method(
    name="feedme",
    summary="imitate the preferred rollout of each pair",
    paper="arXiv 2305.14387",
    params=FeedmeParams,
    build=_feedme,
    formula="L = -mean log pi over winners of random pairs of a group",
    cost=_COST,
    when="preferences without scores; a weak baseline",
    parts="filter: pair winners; loss: score_function; sampling: initial",
    requires=("group",),
)
REWARD_CONDITIONING = Method(
    name="reward_conditioning",
    summary="imitate everything under a good or bad control text, sample with the good one",
    paper="arXiv 2305.14387",
    params=ConditioningParams,
    build=_conditioning,
    formula="L = -mean log pi(y | control(r), x)",
    cost=_COST,
    when="to use bad rollouts too without a policy gradient; a weak baseline",
    problems=_conditioning_problems,
    parts="prompt: good text; relabel: by reward; loss: score_function",
)
QUARK = Method(
    name="quark",
    summary="imitate reward quantiles with a full-vocabulary KL to the start",
    paper="arXiv 2205.13636",
    params=QuarkParams,
    build=_quark,
    formula="L = mean(-log pi + c_kl KL(pi || ref) - c_H H) over the best of K quantiles (or all with control texts)",
    cost="no judge calls; one reference forward pass with full logits",
    when="scalar rewards and a wish to stay near the start",
    problems=_quark_problems,
    parts="filter: best quantile; loss: score_function; regularisers: full KL, entropy",
)
