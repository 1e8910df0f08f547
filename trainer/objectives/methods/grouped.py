"""Other statistics over a group: task-level std, differential smoothing, pass@k, unlikeliness."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import Field

from ..advantages import best_only_advantage, differential_smoothing, group_advantage, pass_at_k_advantage
from ..shaping import unlikeliness
from ..types import Method, Objective, Problem
from .common import PolicyParams, clipped_objective


class TaskStdParams(PolicyParams):
    """Parameters of task-level normalisation."""

    balance_task_types: bool = True
    eps: float = Field(0.0, ge=0)
    """Added to the standard deviation; the report has none, and a task of equal rewards gives 0 anyway."""


class SmoothingParams(PolicyParams):
    """Parameters of differential smoothing. The weights are not published: start so that the term stays under 0.5."""

    gamma_p: float = Field(0.005, ge=0)
    """Entropy bonus on correct rollouts."""
    gamma_n: float = Field(0.005, ge=0)
    """Entropy penalty on wrong rollouts."""
    logp_reduce: Literal["sum", "mean"] = "sum"
    """Sum over tokens, or their mean."""
    clip_term: float | None = Field(0.5, gt=0)
    """Bound on the size of the added term."""
    skip_zero_variance: bool = False
    """Leave groups of equal rewards alone, as GRPO does."""
    eps: float = 1e-6
    """Added to the standard deviation."""


class PassAtKParams(PolicyParams):
    """Parameters of the analytic pass@k advantage."""

    k: int = Field(4, ge=1)
    """Budget whose success probability is optimised; at most the group size."""
    eps: float = 1e-6
    """Added to the standard deviation."""


class BestOnlyParams(PolicyParams):
    """Parameters of the best-only pass@k advantage."""

    scale: Literal["none", "group"] = "none"
    """Divide the lead by the group's standard deviation."""


class UnlikelinessParams(PolicyParams):
    """Parameters of the unlikeliness reward."""

    beta: float = Field(0.25, ge=0, le=1)
    """How much of its reward the likeliest correct rollout loses."""
    gate: bool = True
    """Leave groups without a failure alone."""
    eps: float = 1e-6
    """Added to the standard deviation."""


def _task_std(params: TaskStdParams) -> Objective:
    return clipped_objective("task_std", params, partial(group_advantage, scale="task", eps=params.eps))


def _smoothing(params: SmoothingParams) -> Objective:
    advantage = partial(
        differential_smoothing,
        gamma_p=params.gamma_p,
        gamma_n=params.gamma_n,
        reduce=params.logp_reduce,
        clip=params.clip_term,
        skip_zero_variance=params.skip_zero_variance,
        eps=params.eps,
    )
    return clipped_objective("ds_grpo", params, advantage)


def _pass_at_k(params: PassAtKParams) -> Objective:
    return clipped_objective("pass_at_k", params, partial(pass_at_k_advantage, k=params.k, eps=params.eps))


def _best_only(params: BestOnlyParams) -> Objective:
    return clipped_objective("pass_at_k_best", params, partial(best_only_advantage, scale=params.scale))


def _unlikeliness(params: UnlikelinessParams) -> Objective:
    advantage = partial(group_advantage, eps=params.eps)
    return clipped_objective("unlikeliness", params, advantage, shape=unlikeliness(params.beta, params.gate))


def _k_fits(params: PassAtKParams, facts) -> list[Problem]:
    size = facts.get("group_size")
    if size is not None and params.k > size:
        fix = f"Set objective.k to at most {size}, or rollout.group_size to at least {params.k}"
        return [Problem("objective.k", f"pass@{params.k} cannot be estimated from groups of {size}", fix)]
    return []


TASK_STD = Method(
    name="task_std",
    summary="group mean as baseline, standard deviation of the task family in the batch",
    paper="arXiv 2512.12967",
    params=TaskStdParams,
    build=_task_std,
    formula="A_i = (r_i - mean_g r) / std(rewards of all rollouts of the same task type in the batch)",
    when="a mix of tasks whose rewards have different scales",
    parts="advantage: group mean, task std; sampler: balanced types; loss: ppo_clip",
    requires=("group",),
)
DS_GRPO = Method(
    name="ds_grpo",
    summary="GRPO plus an entropy bonus on correct and an entropy penalty on wrong rollouts",
    paper="arXiv 2511.19942",
    params=SmoothingParams,
    build=_smoothing,
    formula="A_i - gamma_p log pi_old(y_i) if correct, A_i + gamma_n log pi_old(y_i) if wrong",
    when="GRPO narrows to few solutions and there is no judge; verifiable rewards",
    parts="advantage: group + differential smoothing; loss: ppo_clip",
    requires=("group",),
)
PASS_AT_K = Method(
    name="pass_at_k",
    summary="analytic advantage of pass@k",
    paper="arXiv 2508.10751",
    params=PassAtKParams,
    build=_pass_at_k,
    formula="rho = 1 - C(n-c,k)/C(n,k); A+ = (1-rho)/sigma; A- = (1 - rho - C(n-c-1,k-1)/C(n-1,k-1))/sigma",
    when="the best of k answers counts; the signal fades once k failures no longer fit into a group",
    parts="advantage: pass@k; loss: ppo_clip",
    problems=_k_fits,
    requires=("group", "binary"),
)
PASS_AT_K_BEST = Method(
    name="pass_at_k_best",
    summary="only the best rollout learns, by its lead over the second best",
    paper="arXiv 2503.19595",
    params=BestOnlyParams,
    build=_best_only,
    formula="A_best = r_max - r_second; 0 for all others and on ties",
    when="graded rewards and the best of k counts; with 0/1 rewards only lone successes learn",
    parts="advantage: best only; loss: ppo_clip",
    requires=("group",),
)
UNLIKELINESS = Method(
    name="unlikeliness",
    summary="correct answers that were likely already earn less",
    paper="arXiv 2506.02355",
    params=UnlikelinessParams,
    build=_unlikeliness,
    formula="r_i <- r_i (1 - beta rank_i / G), rank 0 = least likely by mean log-probability; then grpo",
    when="rare correct answers never get reinforced; pair it with two inner steps",
    parts="shape: unlikeliness; advantage: group; loss: ppo_clip",
    requires=("group",),
)
