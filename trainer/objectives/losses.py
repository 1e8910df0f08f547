"""Per-token policy losses and their reduction to one scalar. torch in and out.

Every loss is a mean over *global* counts (`Normaliser`), so any split into micro-batches or ranks sums to the same
value and the same gradient. Metrics are sums over the micro-batch; keys ending in ``_tokens`` are counts, the others
are sums over masked tokens, to be divided by the step's token count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from .types import Aggregation, Loss, LossOutput, Normaliser, TokenBatch

LOG_RATIO_LIMIT = 20.0


def aggregate(values_BT: Tensor, mask_BT: Tensor, norm: Normaliser, mode: Aggregation) -> Tensor:
    """Reduce per-token values to this micro-batch's share of the step's mean.

    Args:
        values_BT: per-token losses.
        mask_BT: 1 on tokens that count.
        norm: counts of the whole optimiser step.
        mode: ``token_mean`` every token weighs the same; ``seq_mean_token_mean`` every sequence weighs the same;
            ``seq_mean_token_sum`` sequences are summed, then averaged; ``dr_grpo`` the constant divisor
            sequences x max_length.

    Returns:
        Scalar; 0 with a graph when nothing is masked in.
    """
    masked_BT = torch.where(mask_BT > 0, values_BT * mask_BT, torch.zeros_like(values_BT))
    if mode == "token_mean":
        return masked_BT.sum() / max(norm.tokens, 1.0)
    if mode == "seq_mean_token_mean":
        return (masked_BT.sum(-1) / mask_BT.sum(-1).clamp(min=1.0)).sum() / max(norm.sequences, 1.0)
    if mode == "seq_mean_token_sum":
        return masked_BT.sum() / max(norm.sequences, 1.0)
    if mode == "dr_grpo":
        return masked_BT.sum() / max(norm.sequences * norm.max_length, 1.0)
    raise ValueError(
        f"unknown loss aggregation {mode!r}; use token_mean, seq_mean_token_mean, seq_mean_token_sum or dr_grpo"
    )


def log_ratio(logp_BT: Tensor, logp_old_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """log(pi / pi_old) of the sampled tokens, 0 off the mask, limited to +-20 before any exponential."""
    ratio_BT = torch.where(mask_BT > 0, logp_BT - logp_old_BT, torch.zeros_like(logp_BT))
    return ratio_BT.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def clipped_surrogate(
    rho_BT: Tensor,
    advantages_BT: Tensor,
    eps_low: float,
    eps_high: float,
    dual_clip: float | None = None,
    delta: float | None = None,
) -> Tensor:
    """PPO's clipped surrogate, to be maximised.

    Args:
        rho_BT: importance ratios with gradient.
        advantages_BT: advantages.
        eps_low: lower clip; eps_high: upper clip (clip-higher when larger).
        dual_clip: c > 1 bounds the penalty of negative advantages at c*A.
        delta: two-sided clip: upper bound on rho in the unclipped term, > 1 + eps_high.
    """
    unclipped_BT = (rho_BT if delta is None else rho_BT.clamp(max=delta)) * advantages_BT
    surrogate_BT = torch.minimum(unclipped_BT, rho_BT.clamp(1 - eps_low, 1 + eps_high) * advantages_BT)
    if dual_clip is not None:
        bounded_BT = torch.maximum(surrogate_BT, dual_clip * advantages_BT)
        surrogate_BT = torch.where(advantages_BT < 0, bounded_BT, surrogate_BT)
    return surrogate_BT


def _finish(values_BT: Tensor, batch: TokenBatch, mode: Aggregation, metrics: dict[str, Tensor | float]) -> LossOutput:
    """Apply the importance correction, reduce, and add the ratio diagnostics."""
    weighted_BT = values_BT if batch.weights_BT is None else batch.weights_BT * values_BT
    return aggregate(weighted_BT, batch.mask_BT, batch.norm, mode), metrics


def _ratio_metrics(rho_BT: Tensor, batch: TokenBatch, low: float, high: float) -> dict[str, Tensor | float]:
    mask_BT, advantages_BT = batch.mask_BT, batch.advantages_BT
    with torch.no_grad():
        return {
            "clipfrac_low": (((rho_BT < low) & (advantages_BT < 0)) * mask_BT).sum(),
            "clipfrac_high": (((rho_BT > high) & (advantages_BT > 0)) * mask_BT).sum(),
            "approx_kl": ((rho_BT - 1 - torch.log(rho_BT)) * mask_BT).sum(),
        }


def ppo_clip(
    eps_low: float = 0.2,
    eps_high: float = 0.2,
    dual_clip: float | None = None,
    delta: float | None = None,
    aggregation: Aggregation = "token_mean",
) -> Loss:
    """Token-level clipped policy loss; see `clipped_surrogate` for the arguments."""

    def loss(batch: TokenBatch) -> LossOutput:
        rho_BT = log_ratio(batch.logp_BT, batch.logp_old_BT, batch.mask_BT).exp()
        values_BT = -clipped_surrogate(rho_BT, batch.advantages_BT, eps_low, eps_high, dual_clip, delta)
        return _finish(values_BT, batch, aggregation, _ratio_metrics(rho_BT, batch, 1 - eps_low, 1 + eps_high))

    return loss


def sequence_ratio(batch: TokenBatch) -> Tensor:
    """GSPO's ratio s_i = exp(mean_t log rho), shape [B, 1], value and gradient of the sequence form."""
    ratio_BT = log_ratio(batch.logp_BT, batch.logp_old_BT, batch.mask_BT)
    return ((ratio_BT * batch.mask_BT).sum(-1, keepdim=True) / batch.mask_BT.sum(-1, keepdim=True).clamp(min=1.0)).exp()


def gspo(eps_low: float = 3e-4, eps_high: float = 4e-4, aggregation: Aggregation = "seq_mean_token_mean") -> Loss:
    """Sequence-level clipped loss (GSPO, arXiv 2507.18071) in its token form: sg(s) * pi / sg(pi)."""

    def loss(batch: TokenBatch) -> LossOutput:
        s_B1 = sequence_ratio(batch).detach()
        here_BT = torch.where(batch.mask_BT > 0, batch.logp_BT, torch.zeros_like(batch.logp_BT))
        s_BT = s_B1 * (here_BT - here_BT.detach()).exp()
        values_BT = -clipped_surrogate(s_BT, batch.advantages_BT, eps_low, eps_high)
        return _finish(values_BT, batch, aggregation, _ratio_metrics(s_BT, batch, 1 - eps_low, 1 + eps_high))

    return loss


def cispo(ratio_cap: float = 5.0, ratio_floor: float = 0.0, aggregation: Aggregation = "token_mean") -> Loss:
    """Clip the importance weight and keep every token's gradient: -sg(clip(rho)) A log pi (CISPO, arXiv 2506.13585).

    Args:
        ratio_cap: absolute upper bound on rho.
        ratio_floor: absolute lower bound on rho, 0 for none.
        aggregation: reduction mode.
    """

    def loss(batch: TokenBatch) -> LossOutput:
        rho_BT = log_ratio(batch.logp_BT, batch.logp_old_BT, batch.mask_BT).exp().detach()
        weight_BT = rho_BT.clamp(ratio_floor, ratio_cap)
        values_BT = -weight_BT * batch.advantages_BT * batch.logp_BT
        return _finish(values_BT, batch, aggregation, _ratio_metrics(rho_BT, batch, ratio_floor, ratio_cap))

    return loss


def importance_sampling(cap: float | None = None, aggregation: Aggregation = "token_mean") -> Loss:
    """Plain importance weighting -rho A, with gradient through rho; with a cap it is -sg(min(rho, cap)) A log pi."""

    def loss(batch: TokenBatch) -> LossOutput:
        rho_BT = log_ratio(batch.logp_BT, batch.logp_old_BT, batch.mask_BT).exp()
        if cap is None:
            values_BT = -rho_BT * batch.advantages_BT
        else:
            values_BT = -rho_BT.detach().clamp(max=cap) * batch.advantages_BT * batch.logp_BT
        return _finish(values_BT, batch, aggregation, _ratio_metrics(rho_BT, batch, 0.0, cap or float("inf")))

    return loss


def score_function(aggregation: Aggregation = "token_mean") -> Loss:
    """REINFORCE's -A log pi without ratio or clip. With advantages of 1 it is the supervised loss."""

    def loss(batch: TokenBatch) -> LossOutput:
        return _finish(-batch.advantages_BT * batch.logp_BT, batch, aggregation, {})

    return loss


def against_rollout(loss: Loss) -> Loss:
    """Use the engine's log-probabilities as the old policy (two policies instead of three)."""
    return lambda batch: loss(replace(batch, logp_old_BT=batch.logp_roll_BT))


def weighted_tokens(loss: Loss, weight: Callable[[TokenBatch], Tensor]) -> Loss:
    """Multiply a per-token weight without gradient into a loss, leaving its normaliser alone."""

    def weighted(batch: TokenBatch) -> LossOutput:
        weight_BT = weight(batch).detach()
        return loss(replace(batch, weights_BT=weight_BT if batch.weights_BT is None else batch.weights_BT * weight_BT))

    return weighted
