"""Decoding rules used as samplers: contrastive decoding. torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def contrast(
    expert_V: Tensor, amateur_V: Tensor, alpha: float = 0.1, temperature: float = 1.0, greedy: bool = False
) -> Tensor:
    """Contrastive-decoding scores (arXiv 2210.15097): log expert - log amateur over plausible tokens, else -inf.

    Plausible means an expert probability of at least alpha times the *largest* one, so the set is never empty. The
    scores are no log-probabilities: a sampler reports those of their softmax, the distribution it draws from.

    Args:
        expert_V, amateur_V: logits or log-probabilities [..., V].
        alpha: plausibility threshold in (0, 1].
        temperature: of the amateur, above 0.
        greedy: where all plausible tokens score alike, score by the expert, whose favourite is then the best.

    Raises:
        ValueError: the vocabularies differ or a parameter is out of range.
    """
    if expert_V.shape != amateur_V.shape:
        raise ValueError(
            f"expert and amateur have vocabularies of {expert_V.shape[-1]} and {amateur_V.shape[-1]} tokens; "
            "contrastive decoding needs two models with one tokenizer"
        )
    if not 0 < alpha <= 1 or temperature <= 0:
        raise ValueError(f"contrastive decoding needs 0 < alpha <= 1 and temperature > 0, got {alpha}, {temperature}")
    expert, amateur = expert_V.log_softmax(-1), (amateur_V / temperature).log_softmax(-1)
    plausible = expert >= expert.amax(-1, keepdim=True) + math.log(alpha) - 1e-6
    scores = (expert - amateur).masked_fill(~plausible, -torch.inf)
    if greedy:
        least = scores.masked_fill(~plausible, torch.inf).amin(-1, keepdim=True)
        tied = scores.amax(-1, keepdim=True) - least < 1e-6
        scores = torch.where(tied, expert.masked_fill(~plausible, -torch.inf), scores)
    return scores
