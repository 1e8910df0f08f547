"""What policy-gradient methods share: clip bounds, reduction, importance correction, KL and entropy terms."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ..filters import drop_constant_groups, drop_overlong
from ..prompts import prompt_repetition
from ..shaping import chain, overlong_penalty
from ..types import Advantage, Aggregation, Filter, Loss, Need, Objective, Params, Refill, Regulariser, Shape

CorrectionName = Literal[
    "none",
    "token_truncate",
    "token_mask",
    "sequence_truncate",
    "sequence_mask",
    "geometric_truncate",
    "geometric_mask",
]


class RegularisedParams(Params):
    """Knobs of every method with a policy loss."""

    aggregation: Aggregation = "token_mean"
    """How per-token losses become one number."""
    correction: CorrectionName = "none"
    """Correction of the engine/learner probability gap; token_truncate is TIS, token_mask is IcePop."""
    correction_low: float = Field(0.0, ge=0)
    """Smallest accepted importance weight."""
    correction_high: float = Field(2.0, gt=0)
    """Cap of the importance weight."""
    kl_coef: float = Field(0.0, ge=0)
    """Weight of KL to the initial policy; above 0 costs one reference forward pass."""
    kl_estimator: Literal["k1", "k2", "k3", "straight_through"] = "straight_through"
    """Estimator; straight_through has the value of k3 and the gradient of k2, which is the gradient of the KL."""
    kl_off_policy: bool = False
    """Weight the KL of each token by pi / pi_old, for several optimiser steps on one batch."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus; needs the full vocabulary."""
    entropy_target: float | None = None
    """No bonus for tokens above this entropy (nats)."""
    dynamic_sampling: bool = False
    """Drop groups of equal (unshaped) rewards and sample others instead."""
    max_gen_batches: int = Field(10, ge=0)
    """How often one step may sample for dynamic sampling; 0 = no limit."""
    overlong_filter: bool = False
    """Leave responses out of the loss that were cut at the length limit."""
    overlong_factor: float = Field(0.0, ge=0)
    """Size of the soft penalty on long responses; 0 = none."""
    overlong_cache: int = Field(4096, gt=0)
    """Tokens before the limit over which the soft penalty grows to its full size."""
    balance_task_types: bool = False
    """Draw the same number of tasks of every type into each step."""
    prompt_transform: Literal["none", "twice", "verbose", "thrice", "pad"] = "none"
    """Prompt repetition, in training and evaluation."""

    @model_validator(mode="after")
    def _bounds(self) -> RegularisedParams:
        if self.correction_low >= self.correction_high:
            raise ValueError(
                f"correction_low {self.correction_low} is not below correction_high {self.correction_high}; swap them"
            )
        return self


class PolicyParams(RegularisedParams):
    """Knobs of methods with PPO's clipped surrogate."""

    eps_low: float = Field(0.2, ge=0, le=1)
    """Lower clip of the ratio."""
    eps_high: float = Field(0.2, ge=0)
    """Upper clip of the ratio (0.28 is DAPO's clip-higher)."""
    dual_clip: float | None = Field(None, gt=1)
    """Bound c*A on the penalty of negative advantages; 3.0 in verl."""
    delta: float | None = Field(None, gt=1)
    """Two-sided clip: upper bound on the ratio in the unclipped term."""

    @model_validator(mode="after")
    def _two_sided(self) -> PolicyParams:
        if self.delta is not None and self.delta <= 1 + self.eps_high:
            raise ValueError(f"delta {self.delta} must exceed 1 + eps_high = {1 + self.eps_high}")
        return self


def clipped_objective(name: str, params: PolicyParams, advantage: Advantage, **parts: Any) -> Objective:
    """An objective with PPO's clipped loss and the shared terms."""
    from ..losses import ppo_clip

    loss = ppo_clip(params.eps_low, params.eps_high, params.dual_clip, params.delta, params.aggregation)
    return regularised(name, params, advantage, loss, **parts)


def regularised(
    name: str,
    params: RegularisedParams,
    advantage: Advantage,
    loss: Loss,
    needs: frozenset[Need] | set[Need] = frozenset(),
    shape: Shape | None = None,
    filters: tuple[Filter, ...] = (),
    regularisers: tuple[Regulariser, ...] = (),
    **parts: Any,
) -> Objective:
    """Any loss with the shared options; `parts` are further `Objective` fields."""
    from ..corrections import correction
    from ..regularisers import entropy_bonus, kl_to_reference

    wanted: set[Need] = set(needs)
    terms: list[Regulariser] = []
    if params.kl_coef > 0:
        terms.append(kl_to_reference(params.kl_coef, params.kl_estimator, params.aggregation, params.kl_off_policy))
        wanted.add("reference")
    if params.entropy_coef != 0:
        terms.append(entropy_bonus(params.entropy_coef, params.entropy_target, params.aggregation))
        wanted.add("entropy")
    weight = None
    if params.correction != "none":
        weight = correction(params.correction, params.correction_low, params.correction_high)
    shapes = [] if shape is None else [shape]
    if params.overlong_factor > 0:
        shapes.append(overlong_penalty(params.overlong_factor, params.overlong_cache))
    if params.overlong_filter:
        filters = (*filters, drop_overlong)
    if params.dynamic_sampling:
        filters = (*filters, drop_constant_groups)
    prompt = parts.pop("prompt", None)
    if params.prompt_transform != "none":
        prompt = prompt_repetition(params.prompt_transform)
    return Objective(
        name=name,
        advantage=advantage,
        loss=loss,
        shape=chain(shapes),
        filters=filters,
        correction=weight,
        regularisers=(*terms, *regularisers),
        needs=frozenset(wanted),
        prompt=prompt,
        refill=Refill(max_batches=params.max_gen_batches) if params.dynamic_sampling else None,
        balance_task_types=params.balance_task_types,
        **parts,
    )
