"""Decoding rules used as samplers: contrastive decoding. Pure numpy."""

from __future__ import annotations

import numpy as np


def contrastive_scores(
    log_expert: np.ndarray, log_amateur: np.ndarray, alpha: float = 0.1, temperature: float = 1.0
) -> np.ndarray:
    """Contrastive-decoding scores (arXiv 2210.15097): log expert - log amateur over plausible tokens, else -inf.

    Plausible means an expert probability of at least alpha times the *largest* one, so the set is never empty. The
    scores are no log-probabilities; see `contrastive_logprobs`.

    Args:
        log_expert: expert log-probabilities [..., V].
        log_amateur: amateur log-probabilities or logits [..., V].
        alpha: plausibility threshold in (0, 1].
        temperature: of the amateur.

    Raises:
        ValueError: if the vocabularies differ or a parameter is out of range.
    """
    if log_expert.shape != log_amateur.shape:
        raise ValueError(
            f"expert and amateur have vocabularies of {log_expert.shape[-1]} and {log_amateur.shape[-1]} tokens; "
            "contrastive decoding needs two models with one tokenizer"
        )
    if not 0 < alpha <= 1 or temperature <= 0:
        raise ValueError(f"contrastive decoding needs 0 < alpha <= 1 and temperature > 0, got {alpha}, {temperature}")
    amateur = log_amateur / temperature
    amateur = amateur - _logsumexp(amateur)
    plausible = log_expert >= log_expert.max(-1, keepdims=True) + np.log(alpha) - 1e-12
    return np.where(plausible, log_expert - amateur, -np.inf)


def contrastive_logprobs(scores: np.ndarray) -> np.ndarray:
    """The distribution one samples from with contrastive scores: their softmax over the plausible tokens.

    This, and not the score, is what a sampler must report as a rollout's log-probability.
    """
    return scores - _logsumexp(scores)


def contrastive_greedy(
    log_expert: np.ndarray, log_amateur: np.ndarray, alpha: float = 0.1, temperature: float = 1.0
) -> int:
    """The best token; the expert's favourite where the two models agree so that every score is 0."""
    scores = contrastive_scores(log_expert, log_amateur, alpha, temperature)
    finite = scores[np.isfinite(scores)]
    return int(log_expert.argmax()) if np.ptp(finite) < 1e-12 else int(scores.argmax())


def _logsumexp(values: np.ndarray) -> np.ndarray:
    top = values.max(-1, keepdims=True)
    return top + np.log(np.exp(values - top).sum(-1, keepdims=True))
