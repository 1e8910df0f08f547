"""GRADE-STE (arXiv 2601.11574): sample with Gumbel-softmax and differentiate a *local* reward. torch.

There is no policy gradient: the reward must be a torch function of the policy's own token one-hots. A judge server, a
test suite or an environment cannot be differentiated, so none of them can be the reward here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .types import Direct, DirectInputs, LossOutput

RewardFunction = Callable[[Tensor, Tensor], Tensor]
"""(one-hots [B, T, V] with gradient, alive [B, T] weight of each position) -> rewards [B]."""


def gumbel(shape: tuple[int, ...], generator: Any = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard Gumbel noise."""
    uniform = torch.rand(shape, generator=generator, dtype=dtype)
    return -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))


def straight_through(logits: Tensor, noise: Tensor, tau: float) -> Tensor:
    """A hard sample with a soft gradient: onehot(argmax) - sg(soft) + soft, both from the same noise.

    Args:
        logits: [..., V]; noise: Gumbel noise of the same shape; tau: temperature > 0.
    """
    if tau <= 0:
        raise ValueError(f"grade.tau {tau} must be > 0; gradients explode as it falls to 0")
    soft = torch.softmax((logits + noise) / tau, -1)
    hard = torch.nn.functional.one_hot(soft.argmax(-1), logits.shape[-1]).to(soft.dtype)
    return hard - soft.detach() + soft


def keep_top(logits: Tensor, k: int | None) -> Tensor:
    """Only the k largest logits, the others -inf."""
    if k is None or k >= logits.shape[-1]:
        return logits
    least = torch.topk(logits, k, -1).values[..., -1:]
    return logits.masked_fill(logits < least, float("-inf"))


def generate_soft(
    inputs: DirectInputs, ids: tuple[int, ...], tau: float, top_k: int | None, eos_id: int | None, beta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample one response of fixed length with gradient.

    Returns:
        One-hots [1, T, V], alive weights [1, T] (1 until the first end token, whose own position still counts), and
        the sum over alive positions of KL(pi || reference).
    """
    table = inputs.model.get_input_embeddings().weight
    embeds = torch.nn.functional.embedding(torch.tensor([ids], device=table.device), table)
    alive = torch.ones(1, dtype=table.dtype, device=table.device)
    divergence = torch.zeros((), dtype=table.dtype, device=table.device)
    tokens, weights = [], []
    for _ in range(inputs.max_new_tokens):
        logits = inputs.model(inputs_embeds=embeds).logits[:, -1]
        if beta and inputs.reference is not None:
            with torch.no_grad():
                log_ref = torch.log_softmax(inputs.reference(inputs_embeds=embeds.detach()).logits[:, -1], -1)
            log_pi = torch.log_softmax(logits, -1)
            divergence = divergence + (alive.detach() * (log_pi.exp() * (log_pi - log_ref)).sum(-1)).sum()
        noise = gumbel(tuple(logits.shape), inputs.generator, logits.dtype).to(logits.device)
        y = straight_through(keep_top(logits, top_k), noise, tau)
        tokens.append(y)
        weights.append(alive)
        if eos_id is not None:
            alive = alive * (1 - y[:, eos_id])
        embeds = torch.cat([embeds, (y @ table)[:, None]], 1)
    return torch.stack(tokens, 1), torch.stack(weights, 1), divergence


def grade_direct(reward: RewardFunction, tau: float, top_k: int | None, beta: float, eos_id: int | None) -> Direct:
    """The loss -reward + beta KL, averaged over the step's prompts."""

    def direct(inputs: DirectInputs) -> LossOutput:
        total = torch.zeros(())
        gained = torch.zeros(())
        for ids in inputs.prompt_ids:
            tokens, alive, divergence = generate_soft(inputs, ids, tau, top_k, eos_id, beta)
            value = reward(tokens, alive).sum()
            total = total + (-value + beta * divergence)
            gained = gained + value.detach()
        return total / max(inputs.norm.sequences, 1.0), {"reward": gained}

    return direct


def load_reward(path: str) -> RewardFunction:
    """Import ``package.module:function``.

    Raises:
        ValueError: if the path has no function.
    """
    module, _, name = path.partition(":")
    function = getattr(import_module(module), name, None) if name else None
    if not callable(function):
        raise ValueError(f"grade.reward = {path!r} is not a function; write it as 'package.module:function'")
    return function
