"""How a number of GPUs is best divided between learner and samplers, and what a step then takes. Arithmetic, no torch.

The parts come from `sizing`; here they are put together for runs whose sampling goes on beside training, and for one
device that does both in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

from .sizing import (
    Shape,
    rollout_tokens_per_second,
    train_tokens_per_second,
    training_memory,
    weight_transfer_seconds,
)


@dataclass(frozen=True)
class Device:
    """One accelerator, and the shares of its peaks that are reached.

    The defaults are what one H200 showed: peaks of a large product and a large copy, and shares in the middle of those
    that `docs/benchmarks.md` lists (training 0.35 to 0.56 with gradient checkpointing, sampling 0.47 to 0.67). Its
    memory is the data sheet's; the link is assumed.

    Attributes:
        flops: peak of matrix products in the type that is trained, operations a second.
        bandwidth: of its memory, bytes a second.
        memory: bytes.
        link: bytes a second between machines, for each device.
        train_share: of the arithmetic peak, in training.
        rollout_share: of the bound of sampling.
    """

    flops: float = 762e12
    bandwidth: float = 4.25e12
    memory: float = 141e9
    link: float = 50e9
    train_share: float = 0.45
    rollout_share: float = 0.5


@dataclass(frozen=True)
class Batch:
    """Rollouts of one step: how many, and mean tokens of prompt and completion."""

    rows: int = 4096
    prompt: int = 256
    completion: int = 2048
    token_budget: int = 32768


@dataclass(frozen=True)
class Fleet:
    """A division of devices and what a step takes, in seconds.

    Attributes:
        learners: devices that train.
        samplers: devices that sample; 0 when the one device does both.
        rollout: seconds of sampling a step.
        train: seconds of training a step.
        transfer: seconds to send the weights from learners to samplers.
        learner_memory: bytes on each learner.
    """

    learners: int
    samplers: int
    rollout: float
    train: float
    transfer: float
    learner_memory: float

    @property
    def step(self) -> float:
        """Seconds of a step: the slower side when both work at once, the sum on one device."""
        if not self.samplers:
            return self.rollout + self.train
        return max(self.rollout + self.transfer, self.train)


def fleet(shape: Shape, devices: int, batch: Batch | None = None, device: Device | None = None) -> Fleet | None:
    """The fastest division of `devices`; None when the model fits in no division of them.

    Args:
        shape: the model, in bfloat16.
        devices: accelerators in all.
        batch: rollouts of a step.
        device: what each can do.
    """
    batch, device = batch or Batch(), device or Device()
    if devices == 1:
        return _shared(shape, batch, device)
    found = [_divided(shape, n, devices - n, batch, device) for n in range(1, devices)]
    return min((f for f in found if f is not None), key=lambda f: (f.step, f.learners), default=None)


def _shared(shape: Shape, batch: Batch, device: Device) -> Fleet | None:
    memory = training_memory(shape, bytes_each=2, tokens=batch.token_budget, recompute=True).total
    left = device.memory - memory - shape.parameters * 2
    rollout = _sampling(shape, batch.rows, left, batch, device)
    if rollout is None:
        return None
    return Fleet(1, 0, rollout, _training(shape, 1, batch, device), 0.0, memory)


def _divided(shape: Shape, learners: int, samplers: int, batch: Batch, device: Device) -> Fleet | None:
    memory = training_memory(shape, bytes_each=2, tokens=batch.token_budget, recompute=True, devices=learners).total
    rollout = _sampling(shape, -(-batch.rows // samplers), device.memory * 0.9 - shape.parameters * 2, batch, device)
    if memory > device.memory or rollout is None:
        return None
    train = _training(shape, learners, batch, device)
    return Fleet(learners, samplers, rollout, train, weight_transfer_seconds(shape, device.link), memory)


def _training(shape: Shape, learners: int, batch: Batch, device: Device) -> float:
    length = batch.prompt + batch.completion
    rate = train_tokens_per_second(shape, device.flops, length / 2, device.train_share)
    parameters_over_links = 6 * shape.parameters / device.link if learners > 1 else 0.0  # two gathers and one scatter
    micro_batches = max(1.0, batch.rows * length / (learners * batch.token_budget))
    return max(batch.rows * length / learners / rate, micro_batches * parameters_over_links)


def _sampling(shape: Shape, rows: int, room: float, batch: Batch, device: Device) -> float | None:
    """Seconds to sample `rows` sequences on one device that has `room` bytes for their caches."""
    fit = int(room / (shape.kv_bytes() * (batch.prompt + batch.completion)))
    if fit < 1:
        return None
    together = min(rows, fit)
    context = batch.prompt + batch.completion / 2
    rate = rollout_tokens_per_second(shape, device.bandwidth, device.flops, together, context) * device.rollout_share
    return rows * batch.completion / rate
