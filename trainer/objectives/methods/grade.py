"""GRADE-STE: back-propagate a local differentiable reward through Gumbel-softmax samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from ..types import Method, Need, Objective, Params, Problem, RolloutBatch, TokenBatch


class GradeParams(Params):
    """Parameters of GRADE-STE. Temperature, KL weight and learning rate are not published."""

    reward: str = ""
    """Local reward as package.module:function of (one-hots [B, T, V], alive [B, T]) -> [B], in torch. An attribute
    vocab_size of it is compared with the policy's."""
    tau: float = Field(1.0, gt=0)
    """Gumbel-softmax temperature; gradients explode as it falls to 0 and shrink as it grows."""
    top_k: int | None = Field(256, ge=1)
    """Logits kept at each step."""
    beta: float = Field(0.0, ge=0)
    """Weight of KL to the initial policy."""
    eos_id: int | None = None
    """End token, after which positions stop counting (softly)."""


def _build(params: GradeParams) -> Objective:
    from ..grade import grade_direct, load_reward

    direct = grade_direct(load_reward(params.reward), params.tau, params.top_k, params.beta, params.eos_id)

    def no_rollouts(batch: RolloutBatch) -> np.ndarray:
        raise RuntimeError("grade samples by itself; the loop must call Objective.direct")

    def no_loss(batch: TokenBatch):
        raise RuntimeError("grade samples by itself; the loop must call Objective.direct")

    needs: frozenset[Need] = frozenset({"reference"}) if params.beta > 0 else frozenset()
    return Objective("grade", no_rollouts, no_loss, needs=needs, uses_rewards=False, direct=direct)


def _problems(params: GradeParams, facts: Mapping[str, Any]) -> list[Problem]:
    found = []
    if facts.get("judge"):
        reason = "a judge server answers over HTTP, and no gradient flows through an answer"
        fix = "Remove [judge] and set objective.reward to a local torch function, or use grpo with this judge"
        found.append(Problem("judge.url", reason, fix))
    if not params.reward:
        reason = "there is no differentiable reward"
        fix = "Set objective.reward = 'package.module:function', or use grpo for rewards of an environment"
        found.append(Problem("objective.reward", reason, fix))
    if facts.get("max_staleness"):
        reason = "it samples inside its loss, so nothing can be sampled beside training"
        found.append(Problem("rollout.max_staleness", reason, "Set rollout.max_staleness = 0"))
    size, theirs = facts.get("vocab_size"), getattr(_loaded(params.reward), "vocab_size", None)
    if size is not None and theirs is not None and size != theirs:
        reason = f"the reward model reads one-hots over {theirs} tokens, the policy writes {size}"
        found.append(Problem("objective.reward", reason, "Use a reward model with the policy's tokenizer"))
    return found


def _loaded(path: str) -> Any:
    """The reward function, or None where its path is wrong (building the objective says so)."""
    from ..grade import load_reward

    try:
        return load_reward(path)
    except (ImportError, ValueError):
        return None


GRADE = Method(
    name="grade",
    summary="differentiate a local reward model through straight-through Gumbel samples",
    paper="arXiv 2601.11574",
    params=GradeParams,
    build=_build,
    formula="y = onehot(argmax) - sg(soft) + soft, soft = softmax((z + g)/tau); L = -r(y) + beta KL(pi || ref)",
    cost="no judge calls; one forward pass a token with gradient through all of them",
    when="a local reward model with the policy's vocabulary; compare with *baselined* REINFORCE",
    parts="direct: Gumbel-softmax straight-through",
    problems=_problems,
    requires=("local_reward",),
)
