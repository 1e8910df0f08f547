"""Shared by the tests of the training loop: a tiny policy, small environments, ready run files."""

from __future__ import annotations

from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Test runs share a machine; one thread each also fixes rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def policy() -> Any:
    """A fresh tiny policy over digits."""
    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    return load_policy(PolicyConfig(characters="0123456789", layers=2, hidden=32))


@pytest.fixture
def run_sections(tmp_path) -> dict[str, Any]:
    """Sections of a run that takes a few seconds."""
    return {
        "out": str(tmp_path / "run"),
        "policy": {"characters": "0123456789", "layers": 1, "hidden": 32},
        "env": {"id": "palaestra/Sort-v0", "args": {"digits": 2}},
        "warmup": {"steps": 25, "target": 0.5, "check_every": 5, "batch_size": 64, "tasks": 32},
        "rollout": {"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 5},
        "train": {"steps": 4, "checkpoint_every": 2, "warmup_steps": 2},
        "eval": {"tasks": 16, "samples": 2, "pass_at": [1, 2]},
        "log": {"tensorboard": False},
    }
