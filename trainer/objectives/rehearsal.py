"""Losses on stored samples of the initial policy (DPH-RL, arXiv 2509.07430). torch."""

from __future__ import annotations

import torch
from torch import Tensor

from .divergences import f_generator, js_definition
from .losses import LOG_RATIO_LIMIT, aggregate
from .types import Loss, LossOutput, Regulariser, TokenBatch


def f_divergence(kind: str, eta: float, alpha: float = 0.5, clamp: float | None = 10.0) -> Loss:
    """eta * token-mean f(pi_theta / pi_ref) on samples of pi_ref, whose log-probabilities are stored.

    Args:
        kind: ``forward``, ``forward_k1``, ``js``, ``alpha`` (see `divergences.f_generator`) or ``js_definition``.
        eta: weight of the rehearsal part.
        alpha: order of the alpha divergence.
        clamp: bound on each token's value, as the published code has it; None for none.
    """

    def loss(batch: TokenBatch) -> LossOutput:
        if batch.logp_ref_BT is None:
            raise ValueError("rehearsal needs TokenBatch.logp_ref_BT: the initial policy's stored log-probabilities")
        zeros = torch.zeros_like(batch.logp_BT)
        logp_BT = torch.where(batch.mask_BT > 0, batch.logp_BT, zeros)
        ref_BT = torch.where(batch.mask_BT > 0, batch.logp_ref_BT, zeros)
        if kind == "js_definition":
            values_BT = js_definition(logp_BT, ref_BT, on_reference=True)
        else:
            log_u_BT = (logp_BT - ref_BT).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
            values_BT = f_generator(log_u_BT, kind, alpha)
        if clamp is not None:
            values_BT = values_BT.clamp(-clamp, clamp)
        metrics: dict[str, Tensor | float] = {"rehearsal_divergence": (values_BT.detach() * batch.mask_BT).sum()}
        return eta * aggregate(values_BT, batch.mask_BT, batch.norm, "token_mean"), metrics

    return loss


def js_exploration(eta: float, share: float) -> Regulariser:
    """The definition form's term on exploration samples: eta * share * k3(theta, M) against a live reference."""

    def term(batch: TokenBatch) -> LossOutput:
        if batch.logp_ref_BT is None:
            raise ValueError("js_definition needs TokenBatch.logp_ref_BT; list 'reference' in the objective's needs")
        zeros = torch.zeros_like(batch.logp_BT)
        logp_BT = torch.where(batch.mask_BT > 0, batch.logp_BT, zeros)
        ref_BT = torch.where(batch.mask_BT > 0, batch.logp_ref_BT, zeros)
        values_BT = js_definition(logp_BT, ref_BT, on_reference=False)
        return eta * share * aggregate(values_BT, batch.mask_BT, batch.norm, "token_mean"), {}

    return term
