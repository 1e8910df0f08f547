"""What policy-gradient methods share: clip bounds, reduction, importance correction, KL and entropy terms."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ..types import Advantage, Aggregation, Loss, Need, Objective, Params

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
    entropy_coef: float = 0.0
    """Weight of the entropy bonus; needs the full vocabulary."""
    entropy_target: float | None = None
    """No bonus for tokens above this entropy (nats)."""

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
    **parts: Any,
) -> Objective:
    """Any loss with the shared correction, KL and entropy terms; `parts` are further `Objective` fields."""
    from ..corrections import correction
    from ..regularisers import entropy_bonus, kl_to_reference

    wanted: set[Need] = set(needs)
    terms = []
    if params.kl_coef > 0:
        terms.append(kl_to_reference(params.kl_coef, params.kl_estimator, params.aggregation))
        wanted.add("reference")
    if params.entropy_coef != 0:
        terms.append(entropy_bonus(params.entropy_coef, params.entropy_target, params.aggregation))
        wanted.add("entropy")
    weight = None
    if params.correction != "none":
        weight = correction(params.correction, params.correction_low, params.correction_high)
    extra = tuple(parts.pop("regularisers", ()))
    return Objective(
        name=name,
        advantage=advantage,
        loss=loss,
        correction=weight,
        regularisers=(*terms, *extra),
        needs=frozenset(wanted),
        **parts,
    )
