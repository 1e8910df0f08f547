"""Divergences between a student and a teacher over a vocabulary, a top-K support or the sampled token. torch.

All inputs are log-probabilities. p is the student, q the teacher.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .losses import LOG_RATIO_LIMIT


def add_tail(logp_topk: Tensor) -> Tensor:
    """Append the log-probability of everything outside the support, so that K+1 outcomes sum to 1."""
    inside = torch.logsumexp(logp_topk, -1, keepdim=True).clamp(max=-1e-7)
    return torch.cat([logp_topk, torch.log(-torch.expm1(inside))], -1)


def renormalise(logp_topk: Tensor) -> Tensor:
    """The distribution conditional on the support."""
    return logp_topk - torch.logsumexp(logp_topk, -1, keepdim=True)


def kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """KL(a || b) over the last axis; outcomes with a = 0 contribute nothing."""
    none = torch.isneginf(log_a)
    safe_a, safe_b = log_a.masked_fill(none, 0.0), log_b.masked_fill(none, 0.0)
    return (safe_a.exp() * (safe_a - safe_b)).masked_fill(none, 0.0).sum(-1)


def generalised_jsd(log_p: Tensor, log_q: Tensor, alpha: float) -> Tensor:
    """SDPO's divergence family (arXiv 2601.20802) over the last axis.

    alpha 0 is KL(q || p), alpha 1 is KL(p || q), and between them (1-alpha) KL(p || m) + alpha KL(q || m) with
    m = (1-alpha) p + alpha q. The family is not continuous at its ends, so 0 and 1 are compared exactly.
    """
    if alpha == 0.0:
        return kl(log_q, log_p)
    if alpha == 1.0:
        return kl(log_p, log_q)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} is outside [0, 1]")
    weights = torch.log(torch.tensor([1 - alpha, alpha], dtype=log_p.dtype, device=log_p.device))
    log_m = torch.logsumexp(torch.stack([log_p + weights[0], log_q + weights[1]]), 0)
    return (1 - alpha) * kl(log_p, log_m) + alpha * kl(log_q, log_m)


def on_support(student: Tensor, teacher: Tensor, alpha: float, tail: bool, full: bool) -> Tensor:
    """The divergence on a support [.., K] of true log-probabilities: everything, top-K plus tail, or top-K alone."""
    if not full:
        prepare = add_tail if tail else renormalise
        student, teacher = prepare(student), prepare(teacher)
    return generalised_jsd(student, teacher, alpha)


def sampled_token(logp: Tensor, logp_teacher: Tensor) -> Tensor:
    """sg(logp - logp_teacher) * logp: the score-function form of KL(p || q). Its value is not a KL."""
    gap = (logp - logp_teacher).detach().clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return gap * logp


def f_generator(log_u: Tensor, kind: str, alpha: float = 0.5) -> Tensor:
    """DPH-RL's generators f(u), u = pi_theta / pi_ref per token, on samples of pi_ref (arXiv 2509.07430).

    Args:
        log_u: log-probability difference, already limited to +-20.
        kind: ``forward`` u - log u - 1, whose mean is KL(ref || theta); ``forward_k1`` -log u; ``js``
            u log u - (u+1) log((u+1)/2), whose mean is twice the Jensen-Shannon divergence; ``alpha``
            (u^(1-a) - (1-a) u - a) / (a (a-1)).
        alpha: order of the alpha divergence, in (0, 1).
    """
    u = log_u.exp()
    if kind == "forward":
        return u - log_u - 1
    if kind == "forward_k1":
        return -log_u
    if kind == "js":
        return u * log_u - (u + 1) * (torch.nn.functional.softplus(log_u) - torch.log(torch.tensor(2.0, dtype=u.dtype)))
    if kind == "alpha":
        if not 0 < alpha < 1:
            raise ValueError(f"alpha {alpha} is outside (0, 1)")
        return (((1 - alpha) * log_u).exp() - (1 - alpha) * u - alpha) / (alpha * (alpha - 1))
    raise ValueError(f"unknown generator {kind!r}; use forward, forward_k1, js or alpha")


def js_definition(logp: Tensor, logp_ref: Tensor, on_reference: bool = True) -> Tensor:
    """k3 against the mixture M = (ref + theta)/2 per token: of ref when `on_reference`, else of theta."""
    log_m = torch.logaddexp(logp, logp_ref) - torch.log(torch.tensor(2.0, dtype=logp.dtype))
    own = logp_ref if on_reference else logp
    gap = (log_m - own).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return gap.exp() - 1 - gap


@torch.no_grad()
def ema_(teacher: Iterable[Tensor], student: Iterable[Tensor], rate: float) -> None:
    """theta' <- (1-rate) theta' + rate theta, in place, parameter by parameter."""
    for slow, fast in zip(teacher, student, strict=True):
        slow.lerp_(fast.to(slow.dtype), rate)


def contrastive_target(log_expert: Tensor, log_amateur: Tensor, alpha: float, max_ratio: float = 20.0) -> Tensor:
    """LightReasoner's target (arXiv 2510.07962): expert/amateur ratios over plausible tokens, normalised.

    Args:
        log_expert: [.., V] expert log-probabilities; log_amateur: the same of the amateur.
        alpha: a token is plausible if its expert probability reaches alpha times the largest one.
        max_ratio: bound on the log-ratio of one token.

    Returns:
        Log of the target distribution, -inf off the plausible set.
    """
    plausible = log_expert >= log_expert.amax(-1, keepdim=True) + torch.log(torch.tensor(alpha, dtype=log_expert.dtype))
    ratio = (log_expert - log_amateur).clamp(-max_ratio, max_ratio)
    return torch.log_softmax(ratio.masked_fill(~plausible, float("-inf")), -1)
