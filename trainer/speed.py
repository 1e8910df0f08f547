"""How fast a step was: tokens a second by phase, and training arithmetic against what this machine can do."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .policy import Policy
from .products import linear
from .sizing import Shape


@dataclass(frozen=True)
class Speed:
    """Sizes of the policy and the peak of matrix products, operations a second.

    Attributes:
        shape: None when the architecture's configuration does not say.
        peak: measured, or given; 0 = unknown.
    """

    shape: Shape | None
    peak: float

    @classmethod
    def of(cls, policy: Policy, peak: float = 0.0) -> Speed:
        """For a policy on its device; the peak is measured unless it is given."""
        parameter = next(policy.model.parameters())
        try:
            shape = Shape.of(policy.model.config.get_text_config().to_dict())
        except (KeyError, TypeError):
            shape = None
        return cls(shape, peak or measured_peak(parameter.device, parameter.dtype))

    def metrics(self, step: Mapping[str, float], device: Any) -> dict[str, float]:
        """Speeds of a step from its times and counts, and memory."""
        found = {"memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        if device.type == "cuda":
            found["gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
        if step.get("time/sampling"):
            found["tokens_per_second"] = step["tokens"] / step["time/sampling"]
        seconds = step.get("time/train", 0.0)
        if seconds and step.get("positions"):
            found["train_tokens_per_second"] = step["trained_tokens"] / seconds
            if self.shape is not None:
                done = self.shape.flops(step["positions"], step["attended"], step["head_positions"])
                found["train_flops_per_second"] = done / seconds
                if self.peak:
                    found["flops_utilisation"] = done / seconds / self.peak
        return found


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a square matrix product, best of a few; a fifth of a second on a CPU core."""
    size = 8192 if device.type == "cuda" else 768
    a = torch.full((size, size), 0.5, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        out = linear(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    del out
    return 2 * size**3 / best
