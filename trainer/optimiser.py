"""Optimisers by the name a run file gives them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from .config import ConfigError, TrainConfig

log = logging.getLogger("palaestra.trainer")


def make_optimiser(parameters: Sequence[Any], config: TrainConfig) -> torch.optim.Optimizer:
    """An optimiser of the [train] section.

    Raises:
        ConfigError: it needs a package that is not installed.
    """
    options: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": config.betas,
        "weight_decay": config.weight_decay,
    }
    if config.optimiser == "adamw":
        if any(parameter.dtype == torch.bfloat16 for parameter in parameters):
            log.warning(
                "policy.dtype = 'bfloat16': updates below 1/512 of a weight are rounded away; "
                "use 'mixed', or train.optimiser = 'adamw8bit', which rounds at random"
            )
        return torch.optim.AdamW(parameters, fused=True, **options)
    try:
        from torchao.optim import AdamW8bit
    except ImportError:
        raise ConfigError(
            "train.optimiser = 'adamw8bit' needs the package torchao (pip install torchao); or use 'adamw'"
        ) from None
    narrow = any(parameter.dtype == torch.bfloat16 for parameter in parameters)
    made: torch.optim.Optimizer = AdamW8bit(parameters, bf16_stochastic_round=narrow, **options)
    return made


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Set the rate of every group, in place where the optimiser holds it as a tensor."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value
