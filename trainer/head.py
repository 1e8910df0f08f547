"""From hidden states to log-probabilities without ever holding [tokens, vocabulary] as a whole.

Logits of one chunk of positions exist at a time; the backward pass computes them again and knows their derivative in
closed form. Log-probabilities of the sampled tokens, entropy, and a distribution on a few support tokens come out of
the same pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .precision import add_wide_product_, has_wide_products, wide_linear
from .products import linear


@dataclass(frozen=True)
class HeadOutput:
    """Per position N: log-probability of its token, entropy, and support ids and log-probabilities [N, K]."""

    logp_N: Tensor
    entropy_N: Tensor | None = None
    support_NK: Tensor | None = None
    support_logp_NK: Tensor | None = None


Logits = Callable[[int, int], Tensor]
"""(start, stop) -> logits of these positions."""


class LinearLogits:
    """Logits of one model, in float32 (float64 inputs stay as they are).

    Args:
        hidden_NC: final hidden states.
        weight_VC: output embedding.
        temperature: logits are divided by it.
    """

    def __init__(self, hidden_NC: Tensor, weight_VC: Tensor, temperature: float = 1.0) -> None:
        self.hidden_NC, self.weight_VC, self.temperature = hidden_NC, weight_VC, temperature
        self.dtype = torch.promote_types(hidden_NC.dtype, torch.float32)
        self.narrow = has_wide_products(hidden_NC)
        self.type = hidden_NC.dtype if self.narrow else self.dtype  # of the operands
        self._weight = weight_VC.detach().to(self.type)

    def rows(self, start: int, stop: int) -> Tensor:
        """Hidden states, in the type of the logits unless their products are float32 anyway."""
        rows = self.hidden_NC.detach()[start:stop]
        return rows if self.narrow else rows.to(self.dtype)

    def __call__(self, start: int, stop: int) -> Tensor:
        out = wide_linear(self.rows(start, stop), self._weight)
        return out if self.temperature == 1 else out.div_(self.temperature)

    def backward(self, start: int, stop: int, grad_NV: Tensor, grad_VC: Tensor | None) -> Tensor:
        """Gradient of these hidden states; that of the weights is added to `grad_VC`.

        Args:
            start: first position.
            stop: one beyond the last.
            grad_NV: gradient of the logits before they are divided by the temperature.
            grad_VC: gathers the gradient of the weights; None = not wanted.
        """
        if self.narrow:  # as in any mixed-precision training, gradients of logits are rounded; their sums are not
            grad_NV = grad_NV.to(self.type)
            if grad_VC is not None:
                add_wide_product_(grad_VC, grad_NV.t(), self.rows(start, stop))
        elif grad_VC is not None:
            grad_VC.addmm_(grad_NV.t(), self.rows(start, stop))
        return linear(grad_NV, self._weight.t())


def mixed_logits(parts: list[tuple[float, LinearLogits]]) -> Logits:
    """A weighted sum of logits: the geometric mixture of the models, once normalised. It passes no gradient."""

    def logits(start: int, stop: int) -> Tensor:
        return torch.stack([weight * part(start, stop) for weight, part in parts]).sum(0)

    return logits


def _logit_gradient(
    logits_NV: Tensor, total_N: Tensor, targets_N: Tensor, pull_N: Tensor, dtype: torch.dtype
) -> Tensor:
    """Gradient of the logits when log p of the targets is pulled: (one-hot - p) * pull, rounded once at the end."""
    hit_NV = torch.arange(logits_NV.shape[1], device=logits_NV.device) == targets_N[:, None]
    p_NV = (logits_NV - total_N[:, None]).exp()
    return ((hit_NV.to(p_NV.dtype) - p_NV) * pull_N[:, None]).to(dtype)


def _log_total(logits_NV: Tensor) -> Tensor:
    return logits_NV.logsumexp(-1)


@cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """One pass over the logits instead of one an operation."""
    made: Callable[..., Tensor] = torch.compile(function)
    return made


@dataclass(frozen=True)
class _Wanted:
    chunk: int
    compiled: bool
    entropy: bool
    top_k: int
    targets_N: Tensor
    support_NK: Tensor | None

    def spans(self) -> list[tuple[int, int]]:
        count = len(self.targets_N)
        return [(start, min(start + self.chunk, count)) for start in range(0, count, self.chunk)] or [(0, 0)]


def head(
    logits: Logits,
    targets_N: Tensor,
    *,
    chunk: int = 1024,
    compiled: bool = False,
    entropy: bool = False,
    top_k: int = 0,
    support_NK: Tensor | None = None,
) -> HeadOutput:
    """Score targets under a model.

    Args:
        logits: `LinearLogits` (gradients flow) or `mixed_logits`.
        targets_N: token of each position.
        chunk: positions whose logits exist at once.
        compiled: fuse the passes over the logits with torch.compile.
        entropy: also the entropy (nats) of each position, with gradient.
        top_k: also the model's own most likely tokens and their log-probabilities.
        support_NK: also the log-probabilities of these tokens (instead of `top_k`).

    Returns:
        A `HeadOutput` with true log-probabilities: nothing is renormalised over the support.
    """
    wanted = _Wanted(chunk, compiled, entropy, top_k, targets_N, support_NK)
    if isinstance(logits, LinearLogits):
        logp_N, spread_N, columns_NK, taken_NK, _ = _Head.apply(logits.hidden_NC, logits.weight_VC, logits, wanted)
    else:
        logp_N, spread_N, columns_NK, taken_NK, _ = _scores(logits, wanted)
    has_support = support_NK is not None or top_k > 0
    return HeadOutput(
        logp_N=logp_N,
        entropy_N=spread_N if entropy else None,
        support_NK=columns_NK if has_support else None,
        support_logp_NK=taken_NK if has_support else None,
    )


def _scores(logits: Logits, wanted: _Wanted) -> tuple[Tensor, ...]:
    """Log-probabilities, entropies, support ids, support log-probabilities and log-normalisers of all positions."""
    pieces = []
    for start, stop in wanted.spans():
        scores = logits(start, stop)
        total = _compiled(_log_total)(scores) if wanted.compiled else _log_total(scores)
        taken = scores.gather(1, wanted.targets_N[start:stop, None])[:, 0] - total
        if wanted.support_NK is not None:
            columns = wanted.support_NK[start:stop]
        else:
            columns = scores.topk(min(wanted.top_k, scores.shape[1]), dim=-1).indices
        support = scores.gather(1, columns) - total[:, None]
        spread = total - (scores.softmax(-1) * scores).sum(-1) if wanted.entropy else taken.new_zeros(0)
        pieces.append((taken, spread, columns, support, total))
    return tuple(torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces, strict=True))


class _Head(torch.autograd.Function):
    """`_scores` of one model, differentiable in hidden states and weights.

    With p the softmax of logits z and H its entropy: d log p_t / dz = e_t - p and dH / dz = -p (log p + H).
    """

    @staticmethod
    def forward(ctx: Any, hidden_NC: Tensor, weight_VC: Tensor, logits: LinearLogits, wanted: _Wanted) -> Any:
        out = _scores(logits, wanted)
        ctx.save_for_backward(hidden_NC, weight_VC, *out[1:3], out[4])
        ctx.temperature, ctx.wanted = logits.temperature, wanted
        ctx.mark_non_differentiable(out[2], out[4])
        ctx.set_materialize_grads(False)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, on_logp: Any, on_spread: Any, _columns: Any, on_support: Any, _total: Any) -> Any:
        hidden_NC, weight_VC, spread_N, columns_NK, total_N = ctx.saved_tensors
        logits, wanted = LinearLogits(hidden_NC, weight_VC, ctx.temperature), ctx.wanted
        grad_VC = torch.zeros_like(weight_VC, dtype=logits.dtype) if ctx.needs_input_grad[1] else None
        grad_NC = torch.empty_like(hidden_NC)
        for start, stop in wanted.spans():
            part = slice(start, stop)
            if wanted.compiled and on_spread is None and on_support is None:
                grad_NV = _compiled(_logit_gradient)(
                    logits(start, stop),
                    total_N[part],
                    wanted.targets_N[part],
                    on_logp[part] / ctx.temperature,
                    logits.type,
                )
                grad_NC[part] = logits.backward(start, stop, grad_NV, grad_VC)
                continue
            logp_NV = logits(start, stop).sub_(total_N[part, None])
            p_NV = logp_NV.exp() if on_spread is not None and wanted.entropy else logp_NV.exp_()
            mass_N = total_N.new_zeros(stop - start)  # what each position takes from all its logits, in parts of p
            if on_logp is not None:
                mass_N += on_logp[part]
            if on_support is not None:
                mass_N += on_support[part].sum(-1)
            if p_NV is logp_NV:
                grad_NV = p_NV.mul_(-mass_N[:, None])
            else:
                pull = logp_NV.add_(spread_N[part, None]).mul_(on_spread[part, None]).add_(mass_N[:, None])
                grad_NV = p_NV.mul_(pull).neg_()
            if on_logp is not None:
                grad_NV.scatter_add_(1, wanted.targets_N[part, None], on_logp[part, None])
            if on_support is not None:
                grad_NV.scatter_add_(1, columns_NK[part], on_support[part])
            if ctx.temperature != 1:
                grad_NV.div_(ctx.temperature)
            grad_NC[part] = logits.backward(start, stop, grad_NV, grad_VC)
        return grad_NC, None if grad_VC is None else grad_VC.to(weight_VC.dtype), None, None
