"""Drawing tokens: counter-based random numbers and the inverse of the cumulative distribution, one uniform a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .base import EngineFailed

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD = 0xFFFFFFFFFFFFFFFF
_BLOCK, _LARGE = 128, 8192


def mix64(x: np.ndarray) -> np.ndarray:
    """The splitmix64 finaliser: a bijection of 64-bit words that looks random."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def seed_of(*parts: int) -> int:
    """One 63-bit seed from several integers, order mattering.

    Example:
        >>> seed_of(0, 1) != seed_of(1, 0)
        True
    """
    state = 0
    for part in parts:
        x = (state + 0x9E3779B97F4A7C15 + (part & _WORD) * 0xD1342543DE82EF95) & _WORD
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _WORD
        state = x ^ (x >> 31)
    return state >> 1


def uniforms(keys_B: np.ndarray, steps: int) -> np.ndarray:
    """Uniform numbers in [0, 1) that depend on each row's key and the step alone, not on the batch [B, steps]."""
    with np.errstate(over="ignore"):
        counters = (np.arange(1, steps + 1, dtype=np.uint64) * _GOLDEN)[None]
        words = mix64(mix64(keys_B.astype(np.uint64))[:, None] + counters)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw(logits_BV: Tensor, uniform_B: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draw one token a row.

    Args:
        logits_BV: raw logits.
        uniform_B: one number in [0, 1) a row (float64).
        temperature: 0 takes the most likely token.
        top_p: nucleus mass in (0, 1].

    Returns:
        Token ids [B] and their log-probabilities [B] under the distribution drawn from (greedy: at temperature 1).
    """
    logits = logits_BV.float()
    if temperature == 0:
        ids = logits.argmax(-1)
        return ids, logits.log_softmax(-1).gather(1, ids[:, None])[:, 0]
    logp = (logits if temperature == 1 else logits / temperature).log_softmax(-1)
    if top_p < 1:
        logp = _nucleus(logp, top_p)
    ids = _inverse(logp.exp(), uniform_B)
    return ids, logp.gather(1, ids[:, None])[:, 0]


def _inverse(p_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The token at which the cumulative distribution passes `uniform_B`; it never has probability zero.

    A large vocabulary is searched in two steps, for the block and inside it: sums of blocks are one pass over the
    probabilities, while a cumulative sum of all in float64 is several.
    """
    count = p_BV.shape[1]
    if count <= _LARGE:
        return _first_above(p_BV.cumsum(-1, dtype=torch.float64), uniform_B)[0]
    blocks = (F.pad(p_BV, (0, -count % _BLOCK)) if count % _BLOCK else p_BV).unflatten(1, (-1, _BLOCK))
    ends = blocks.sum(-1).double().cumsum(-1)
    block, point = _first_above(ends, uniform_B)
    inside = blocks[torch.arange(len(block), device=block.device), block].cumsum(-1, dtype=torch.float64)
    total = inside[:, -1]
    start = ends.gather(1, block[:, None])[:, 0] - total
    return block * _BLOCK + _first_above(inside, ((point - start) / total).clamp(0, 1))[0]


def _first_above(cumulative_BV: Tensor, uniform_B: Tensor) -> tuple[Tensor, Tensor]:
    """First entry above a share of the last one [B], and that share of it [B].

    Scaled by the total, so rounding in the sum cannot leave the number above the last entry; an entry that repeats its
    predecessor, a probability of zero, is never the first one above.
    """
    total = cumulative_BV[:, -1]
    point = (uniform_B * total).clamp_max(torch.nextafter(total, total.new_zeros(())))
    found = torch.searchsorted(cumulative_BV, point[:, None], right=True)[:, 0]
    return found.clamp_max(cumulative_BV.shape[1] - 1), point  # nan is above everything; `refuse_nan` tells


def hits_string(tokenizer: Any, rows: Sequence[Sequence[int]], stop_strings: Sequence[str]) -> list[bool]:
    """Whether the text of each row of token ids holds a stop string."""
    if tokenizer is None:
        raise ValueError("SamplingParams.stop_strings needs a tokenizer; give one to the engine")
    return [any(stop in text for stop in stop_strings) for text in tokenizer.batch_decode(rows)]


def refuse_nan(logp: Tensor) -> None:
    """Raise EngineFailed when sampled log-probabilities are not numbers: then the weights are not, either."""
    if bool(logp.isnan().any()):
        raise EngineFailed(
            "the policy's logits are not numbers: its weights have diverged; resume from an earlier checkpoint with a "
            "lower train.learning_rate"
        )


def _nucleus(logp_BV: Tensor, top_p: float) -> Tensor:
    """Keep the fewest most likely tokens whose mass reaches top_p, renormalised."""
    ordered, order = logp_BV.sort(-1, descending=True)
    mass_before = ordered.exp().cumsum(-1) - ordered.exp()
    dropped = torch.zeros_like(mass_before, dtype=torch.bool).scatter(1, order, mass_before >= top_p)
    return logp_BV.masked_fill(dropped, -torch.inf).log_softmax(-1)
