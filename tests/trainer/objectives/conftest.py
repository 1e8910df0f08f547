"""Shared helpers: oracle vectors, batches from plain lists, token batches from tensors."""

import json
from pathlib import Path

import numpy as np
import pytest

from palaestra.trainer.objectives import RolloutBatch

ORACLES = {item["id"]: item for item in json.loads(Path("tests/data/oracles.json").read_text(encoding="utf-8"))}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors here are tiny; several threads only wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def oracle():
    """oracle(id) -> (inputs, expected, tolerance)."""

    def find(name):
        item = ORACLES[name]
        return item["inputs"], item["expected"], max(item["tolerance"], 1e-9)

    return find


@pytest.fixture(scope="session")
def batch():
    """batch(rewards, groups=None, **fields): a RolloutBatch; one group unless told otherwise; None = unscored."""

    def make(rewards, groups=None, **fields):
        rewards_B = np.array([np.nan if r is None else r for r in rewards], float)
        groups_B = np.zeros(len(rewards_B), int) if groups is None else np.array(groups)
        arrays = {k: np.asarray(v) if isinstance(v, list) and k.endswith("_B") else v for k, v in fields.items()}
        ids = arrays.pop("ids", tuple(f"r{i}" for i in range(len(rewards_B))))
        return RolloutBatch(ids=ids, group_ids_B=groups_B, rewards_B=rewards_B, **arrays)

    return make


@pytest.fixture(scope="session")
def tokens():
    """tokens(logp, ...): a TokenBatch from lists or tensors, float64, with gradient on logp."""
    import torch

    from palaestra.trainer.objectives.types import Normaliser, TokenBatch

    def as_tensor(value):
        return value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=torch.float64)

    def make(logp, advantages=1.0, old=None, roll=None, mask=None, norm=None, max_length=None, **fields):
        logp_BT = as_tensor(logp)
        if logp_BT.is_leaf and not logp_BT.requires_grad:
            logp_BT.requires_grad_(True)
        old_BT = logp_BT.detach().clone() if old is None else as_tensor(old)
        roll_BT = old_BT if roll is None else as_tensor(roll)
        mask_BT = torch.ones_like(old_BT) if mask is None else as_tensor(mask)
        adv_BT = torch.zeros_like(old_BT) + as_tensor(advantages)
        if norm is None:
            length = float(max_length or logp_BT.shape[1])
            norm = Normaliser(float(mask_BT.sum()), float(logp_BT.shape[0]), length)
        return TokenBatch(logp_BT, old_BT, roll_BT, adv_BT, mask_BT, norm, **fields)

    return make
