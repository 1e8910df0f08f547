"""What the micro-batches of a training step add up to.

Names with a leading underscore are raw sums from which `StepMetrics.summary` makes metrics; all others are sums over
tokens, which become means.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

LARGEST = frozenset({"_rollout_max_gap", "_max_log_ratio"})  # of these the largest counts, not the sum


@dataclass
class StepMetrics:
    """Sums gathered over micro-batches, optimiser steps or processes."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, values: Mapping[str, Any]) -> None:
        """Add sums, and keep the larger of what is a maximum.

        Example:
            >>> metrics = StepMetrics()
            >>> metrics.add({"_loss": 1.0, "_rollout_max_gap": 0.5})
            >>> metrics.add({"_loss": 2.0, "_rollout_max_gap": 0.25})
            >>> dict(metrics.sums)
            {'_loss': 3.0, '_rollout_max_gap': 0.5}
        """
        for key, value in values.items():
            known, new = self.sums[key], float(value)
            self.sums[key] = max(known, new) if key in LARGEST else known + new

    def add_mismatch(self, old_BT: Tensor, roll_BT: Tensor, mask_BT: Tensor) -> None:
        """How far the engine's probabilities are from the learner's, over one pass."""
        gap = torch.where(mask_BT > 0, old_BT - roll_BT, torch.zeros_like(old_BT)).clamp(-20, 20)
        kappa = gap.exp()
        self.add(
            {
                "_kappa": (kappa * mask_BT).sum(),
                "_kappa_squares": (kappa.square() * mask_BT).sum(),
                "_rollout_kl": ((gap.expm1() - gap) * mask_BT).sum(),
                "_first_tokens": mask_BT.sum(),
                "_rollout_max_gap": gap.abs().max(),
            }
        )

    def summary(self, tokens: int, passes: int, losses: int) -> dict[str, float]:
        """The step's metrics.

        Args:
            tokens: sampled tokens of the step's rows.
            passes: how often each was trained.
            losses: optimiser steps that were to be taken.
        """
        sums = self.sums
        out = {
            key: value if key.endswith("_tokens") else value / max(tokens, 1) / max(passes, 1)
            for key, value in sums.items()
            if not key.startswith("_")
        }
        out |= {name: sums[f"_{name}"] for name in ("trained_tokens", "positions", "attended")}
        out["head_positions"] = sums["_scored"]
        out["loss"] = sums["_loss"] / max(losses, 1)
        out["max_ratio"] = math.exp(min(sums["_max_log_ratio"], 700.0))
        first_pass = max(sums["_first_tokens"], 1.0)
        if sums["_kappa_squares"]:
            out["ess"] = sums["_kappa"] ** 2 / (first_pass * sums["_kappa_squares"])
            out["rollout_kl"] = sums["_rollout_kl"] / first_pass
            out["rollout_max_gap"] = sums["_rollout_max_gap"]
        return out
