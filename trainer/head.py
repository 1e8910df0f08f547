"""From hidden states to log-probabilities without ever holding [tokens, vocabulary] as a whole.

Logits of one chunk of positions exist at a time; in the backward pass they are computed again. Log-probabilities of the
sampled tokens, entropy, and a distribution on a few support tokens come out of the same pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

WHOLE = 4_000_000  # logits up to this many numbers are kept: recomputing them would cost more than it saves


@dataclass(frozen=True)
class HeadOutput:
    """Per position N: log-probability of its token, entropy, and support ids and log-probabilities [N, K]."""

    logp_N: Tensor
    entropy_N: Tensor | None = None
    support_NK: Tensor | None = None
    support_logp_NK: Tensor | None = None


Logits = Callable[[int, int], Tensor]


def linear_logits(hidden_NC: Tensor, weight_VC: Tensor, temperature: float = 1.0) -> Logits:
    """Logits of positions [start, stop) of one model, in float32."""

    def logits(start: int, stop: int) -> Tensor:
        out = F.linear(hidden_NC[start:stop].float(), weight_VC.float())
        return out if temperature == 1 else out / temperature

    return logits


def mixed_logits(parts: list[tuple[float, Logits]]) -> Logits:
    """A weighted sum of logits: the geometric mixture of the models, once normalised."""

    def logits(start: int, stop: int) -> Tensor:
        return torch.stack([weight * part(start, stop) for weight, part in parts]).sum(0)

    return logits


def head(
    logits: Logits,
    targets_N: Tensor,
    *,
    vocabulary: int,
    chunk: int = 1024,
    entropy: bool = False,
    top_k: int = 0,
    support_NK: Tensor | None = None,
) -> HeadOutput:
    """Score targets under a model.

    Args:
        logits: from `linear_logits` or `mixed_logits`.
        targets_N: token of each position.
        vocabulary: number of columns.
        chunk: positions whose logits exist at once.
        entropy: also the entropy (nats) of each position, with gradient.
        top_k: also the model's own most likely tokens and their log-probabilities.
        support_NK: also the log-probabilities of these tokens (instead of `top_k`).

    Returns:
        A `HeadOutput` with true log-probabilities: nothing is renormalised over the support.
    """
    count = len(targets_N)
    top_k = min(top_k, vocabulary)

    def block(start: int, stop: int) -> tuple[Tensor, ...]:
        scores = logits(start, stop)
        total = scores.logsumexp(-1)
        taken = scores.gather(1, targets_N[start:stop, None])[:, 0] - total
        spread = total - (scores.softmax(-1) * scores).sum(-1) if entropy else taken.new_zeros(0)
        if support_NK is not None:
            columns = support_NK[start:stop]
        elif top_k:
            columns = scores.detach().topk(top_k, dim=-1).indices
        else:
            return taken, spread
        return taken, spread, columns, scores.gather(1, columns) - total[:, None]

    if count == 0 or count * vocabulary <= WHOLE:
        pieces = [block(0, count)]
    elif torch.is_grad_enabled():
        pieces = [
            checkpoint(block, start, min(start + chunk, count), use_reentrant=False, preserve_rng_state=False)
            for start in range(0, count, chunk)
        ]
    else:
        pieces = [block(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    columns = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces, strict=True)]
    return HeadOutput(
        logp_N=columns[0],
        entropy_N=columns[1] if entropy else None,
        support_NK=columns[2] if len(columns) > 2 else None,
        support_logp_NK=columns[3] if len(columns) > 2 else None,
    )
