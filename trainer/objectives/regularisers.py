"""Terms added to a policy loss: entropy bonus and KL to the initial policy. torch in and out."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .losses import LOG_RATIO_LIMIT, aggregate, log_ratio
from .types import Aggregation, LossOutput, Regulariser, TokenBatch

Estimator = Literal["k1", "k2", "k3", "straight_through"]


def kl_values(logp_BT: Tensor, logp_ref_BT: Tensor, estimator: Estimator) -> Tensor:
    """Per-token estimates of KL(pi || ref) from samples of pi, with lr = log(ref / pi) limited to +-20.

    Args:
        logp_BT: log-probabilities under the policy, with gradient.
        logp_ref_BT: the same under the reference.
        estimator: ``k1`` = -lr (unbiased; as a loss it has zero expected gradient), ``k2`` = lr^2/2 (as a loss it has
            the gradient of the KL), ``k3`` = exp(lr) - 1 - lr (unbiased and >= 0; as a loss it has the gradient of
            KL(ref || pi)), ``straight_through``: the value of k3 with the gradient of k2.
    """
    lr_BT = (logp_ref_BT - logp_BT).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    if estimator == "k1":
        return -lr_BT
    if estimator == "k2":
        return 0.5 * lr_BT.square()
    if estimator == "k3":
        return lr_BT.exp() - 1 - lr_BT
    if estimator == "straight_through":
        k2_BT = 0.5 * lr_BT.square()
        return k2_BT + (lr_BT.exp() - 1 - lr_BT - k2_BT).detach()
    raise ValueError(f"unknown KL estimator {estimator!r}; use k1, k2, k3 or straight_through")


def kl_to_reference(
    coef: float,
    estimator: Estimator = "straight_through",
    aggregation: Aggregation = "token_mean",
    off_policy: bool = False,
) -> Regulariser:
    """coef * KL(pi || ref) on the sampled tokens; `off_policy` weights them by sg(pi / pi_old)."""

    def term(batch: TokenBatch) -> LossOutput:
        if batch.logp_ref_BT is None:
            raise ValueError(
                "kl_coef > 0 needs TokenBatch.logp_ref_BT; the objective must list 'reference' in its needs"
            )
        logp_BT = torch.where(batch.mask_BT > 0, batch.logp_BT, torch.zeros_like(batch.logp_BT))
        ref_BT = torch.where(batch.mask_BT > 0, batch.logp_ref_BT, torch.zeros_like(batch.logp_ref_BT))
        values_BT = kl_values(logp_BT, ref_BT, estimator)
        if off_policy:
            values_BT = values_BT * log_ratio(batch.logp_BT, batch.logp_old_BT, batch.mask_BT).exp().detach()
        metric = kl_values(logp_BT.detach(), ref_BT, "k3") * batch.mask_BT
        return coef * aggregate(values_BT, batch.mask_BT, batch.norm, aggregation), {"kl_to_reference": metric.sum()}

    return term


def entropy_bonus(coef: float, target: float | None = None, aggregation: Aggregation = "token_mean") -> Regulariser:
    """-coef * mean exact entropy of the policy (nats), with the mask of the policy loss.

    Args:
        coef: weight; 0 switches the term off.
        target: tokens whose entropy is already above this many nats get no bonus, so entropy cannot run away.
        aggregation: reduction mode.
    """

    def term(batch: TokenBatch) -> LossOutput:
        if batch.entropy_BT is None:
            raise ValueError("entropy_coef needs TokenBatch.entropy_BT; the objective must list 'entropy' in its needs")
        entropy_BT = batch.entropy_BT
        if target is not None:
            entropy_BT = entropy_BT.clamp(max=target)
        metric = (batch.entropy_BT.detach() * batch.mask_BT).sum()
        return -coef * aggregate(entropy_BT, batch.mask_BT, batch.norm, aggregation), {"entropy": metric}

    return term
