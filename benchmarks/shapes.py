"""Model shapes and prompts that the trainer's benchmarks share."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

SIZES = {
    "1M": {"layers": 4, "hidden": 128, "heads": 4, "mlp": 512},
    "10M": {"layers": 8, "hidden": 320, "heads": 10, "mlp": 896},
    "50M": {"layers": 12, "hidden": 576, "heads": 18, "mlp": 1536},
}
CHARACTERS = "".join(chr(0x4E00 + i) for i in range(508))  # with > and three special tokens: 512


def policy(size: str) -> Any:
    """A random policy of a size, over 512 characters, that never ends a turn by itself."""
    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    made = load_policy(PolicyConfig(characters=CHARACTERS, **SIZES[size]))
    made.end_ids = ()
    return made


def prompts(count: int, length: int, seed: int = 0) -> list[str]:
    """Random prompts of exactly `length` tokens once the template has added its last one."""
    rng = np.random.default_rng(seed)
    return ["".join(CHARACTERS[i] for i in rng.integers(0, 508, length - 1)) for _ in range(count)]


def refuse_when_busy(force: bool) -> None:
    """Wall-clock numbers of a busy machine mean nothing."""
    load = os.getloadavg()[0]
    if load > 2.5 and not force:
        raise SystemExit(f"load is {load:.1f}; wait until it is under 2.5, or give --force and read CPU-seconds only")
