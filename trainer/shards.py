"""Optimiser states of sharded models on disk (torch.distributed.checkpoint): written by n processes, read by any m.

Each process writes the parts it holds; the metadata says where each part belongs, so another number of processes, or
one alone, reads exactly what it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def save_optimiser(folder: Path, model: Any, optimiser: torch.optim.Optimizer) -> None:
    """Write this process's part; all processes call it together.

    Raises:
        OSError: some process could not write.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        dcp.save(_named(model, optimiser), checkpoint_id=str(folder))
    except CheckpointException as error:  # derives from BaseException and would pass every handler
        raise OSError(f"shards: {error}") from error


def load_optimiser(folder: Path, model: Any, optimiser: torch.optim.Optimizer) -> None:
    """Read what this process holds of the states; all processes, however many there are now, call it together.

    Args:
        folder: from `save_optimiser`.
        model: the model, sharded as it is now.
        optimiser: a new one over its parameters, in order.

    Raises:
        ValueError: the folder holds states of another model.
    """
    import torch.distributed.checkpoint as dcp

    known = dcp.FileSystemReader(str(folder)).read_metadata().state_dict_metadata
    state: dict[str, Tensor] = {}
    targets: list[tuple[Any, str, str]] = []
    for name, parameter in _parameters(model, optimiser):
        prefix = f"{name}/"
        for key in known:
            if key.startswith(prefix):
                whole = tuple(getattr(known[key], "size", ())) == tuple(parameter.shape)
                state[key] = torch.zeros_like(parameter) if whole and parameter.dim() else torch.zeros(())
                targets.append((parameter, key.removeprefix(prefix), key))
    if len(state) != len(known):
        raise ValueError(f"{folder} holds optimiser states of another model: {len(known)} tensors, {len(state)} wanted")
    dcp.load(state, checkpoint_id=str(folder))
    for parameter, key, full in targets:
        optimiser.state[parameter][key] = state[full].detach()


def _named(model: Any, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value
        for name, parameter in _parameters(model, optimiser)
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def _parameters(model: Any, optimiser: torch.optim.Optimizer) -> list[tuple[str, Any]]:
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    return [(name, p) for name, p in model.named_parameters() if id(p) in held]
