"""Importance corrections for the gap between the engine's and the learner's probabilities of the same weights.

kappa = exp(logp_old - logp_roll) compares two computations of one policy; it is separate from the ratio of the loss.
Weights carry no gradient and are multiplied into the per-token loss.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .types import Correction, TokenBatch

Mode = Literal[
    "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_truncate", "geometric_mask"
]


def correction(mode: Mode, low: float = 0.0, high: float = 2.0) -> Correction:
    """Build a correction.

    Args:
        mode: ``token_truncate`` is TIS, ``token_mask`` is IcePop; ``sequence_*`` use the product of a rollout's kappas,
            ``geometric_*`` their geometric mean. ``*_truncate`` clamps to [low, high], ``*_mask`` gives 0 outside it.
        low: smallest accepted weight.
        high: cap.

    Raises:
        ValueError: if the bounds are out of order.
    """
    if not 0 <= low < high:
        raise ValueError(f"correction bounds [{low}, {high}] are out of order; use 0 <= low < high")
    level, _, action = mode.partition("_")

    def weights(batch: TokenBatch) -> Tensor:
        kappa_BT = log_kappa(batch)
        if level != "token":
            total_B1 = (kappa_BT * batch.mask_BT).sum(-1, keepdim=True)
            if level == "geometric":
                total_B1 = total_B1 / batch.mask_BT.sum(-1, keepdim=True).clamp(min=1.0)
            kappa_BT = total_B1.expand_as(kappa_BT)
        weight_BT = kappa_BT.clamp(-60.0, 60.0).exp()
        if action == "truncate":
            return weight_BT.clamp(low, high)
        return torch.where((weight_BT >= low) & (weight_BT <= high), weight_BT, torch.zeros_like(weight_BT))

    return weights


def log_kappa(batch: TokenBatch) -> Tensor:
    """log(pi_old / pi_rollout) of each sampled token, detached, 0 off the mask.

    Raises:
        ValueError: if the engine reported no (finite) log-probability for a sampled token; there is no default of 1.
    """
    missing = batch.logp_roll_BT is None or bool((~torch.isfinite(batch.logp_roll_BT) & (batch.mask_BT > 0)).any())
    if missing:
        raise ValueError(
            "rollout log-probabilities are missing for sampled tokens; an importance correction needs an engine that "
            "reports them (or set objective.correction = 'none')"
        )
    return torch.where(
        batch.mask_BT > 0, (batch.logp_old_BT - batch.logp_roll_BT).detach(), torch.zeros_like(batch.logp_old_BT)
    )
