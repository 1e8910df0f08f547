"""A model spread over processes with FSDP2, filled and read one tensor at a time.

Only rank 0 has the whole model. The others build it without memory, shard it, and receive their part of each tensor,
so that what they need at any time is their share and one tensor.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .policy import with_weights_in
from .precision import compute_dtype


@dataclass(frozen=True)
class Blueprint:
    """What builds a model of a policy's shape, in any process.

    Attributes:
        kind: class of the Hugging Face model.
        config: its configuration.
        dtype: type of the weights.
        compute_dtype: what they are converted to where they are used; None = they are not.
        device: type of the devices that hold the shards.
    """

    kind: type
    config: Any
    dtype: torch.dtype
    compute_dtype: torch.dtype | None
    device: str

    @classmethod
    def of(cls, model: Any) -> Blueprint:
        """That of a model in memory."""
        first = next(model.parameters())
        narrow = compute_dtype(model)
        return cls(type(model), copy.deepcopy(model.config), first.dtype, narrow, first.device.type)

    def empty(self) -> Any:
        """The model without memory for its numbers."""
        with torch.device("meta"):
            model = self.kind(self.config)
        return self._finished(with_weights_in(model, self.dtype))

    def whole(self, source: Any = None) -> Any:
        """Rank 0's model, received by every other process as a whole (collective).

        Args:
            source: the model, on rank 0.
        """
        model = source or self._finished(self.empty().to_empty(device=self.device))
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), 0)
        return model

    def _finished(self, model: Any) -> Any:
        model.tie_weights()
        if self.compute_dtype is not None:
            model.compute_dtype = self.compute_dtype
        return model.eval()


def sharded(blueprint: Blueprint, source: Any = None) -> Any:
    """A model sharded layer by layer over all processes, with rank 0's numbers (collective).

    Args:
        blueprint: the same in all processes.
        source: the whole model, on rank 0.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.distributed.tensor import distribute_tensor

    model = blueprint.empty()
    mesh = init_device_mesh(blueprint.device, (dist.get_world_size(),))
    precision = MixedPrecisionPolicy(param_dtype=blueprint.compute_dtype, reduce_dtype=torch.float32)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    model = fully_shard(model, mesh=mesh, mp_policy=precision).to_empty(device=blueprint.device)
    model.tie_weights()
    given = {} if source is None else dict((*source.named_parameters(), *source.named_buffers()))
    with torch.no_grad():
        for name, part in model.named_parameters():
            whole = given[name].detach() if given else torch.empty(part.shape, dtype=part.dtype, device=part.device)
            part.copy_(distribute_tensor(whole, part.device_mesh, part.placements))
        for name, buffer in model.named_buffers():
            if given:
                buffer.copy_(given[name])
            dist.broadcast(buffer, 0)
    return model


def gathered(model: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights of a sharded model, one whole tensor at a time (collective)."""
    for name, part in model.named_parameters():
        yield name, part.detach().full_tensor()
