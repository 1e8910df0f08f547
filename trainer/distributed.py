"""One run on several processes: parameters, gradients and optimiser states are sharded with FSDP2, rows are dealt out.

    torchrun --nproc-per-node 2 -m palaestra train run.toml

Rank 0 samples, judges, decides and writes the run folder, as a single process would. The other ranks wait for its
word: every optimiser step they get the same rows, take every n-th micro-batch, and FSDP2 adds the gradients up.
Normalisers are counts of the whole step, so the gradient is that of one process. Rank 0 alone also keeps a whole copy
of the weights, which the engine samples with and which checkpoints are written from: they look the same whatever the
number of processes, so a run may go on with another one.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from . import shards
from .config import ConfigError, RunConfig
from .forward import Forward, pad
from .learner import Learner, Unstable
from .loop import Trainer
from .objectives import registry
from .objectives.types import Objective
from .policy import Policy
from .rows import Row
from .sharding import Blueprint, gathered, sharded
from .step_metrics import StepMetrics
from .teachers import Teachers, keeps_initial


def world_size() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> int:
    """Meet the other processes; this one's rank."""
    if not dist.is_initialized():
        gpu = torch.cuda.is_available()
        if gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if gpu else "gloo")
    return dist.get_rank()


def refuse_distributed(config: RunConfig, objective: Objective) -> None:
    """Refuse what several processes cannot do.

    Raises:
        ConfigError: naming the setting.
    """
    teacher = objective.teacher
    reasons = {
        "policy.lora_rank > 0": bool(config.policy.lora_rank),
        "rollout.max_staleness > 0": bool(config.rollout.max_staleness),
        "train.compile": config.train.compile,
        "train.optimiser = 'adamw8bit'": config.train.optimiser != "adamw",
        f"objective {objective.name!r} (it samples inside its loss)": objective.direct is not None,
        f"objective {objective.name!r} (it wants entropies of the batch)": "batch_entropy" in objective.needs,
        f"objective {objective.name!r} with an EMA teacher": teacher is not None and teacher.weights == "ema",
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise ConfigError(f"{'; '.join(found)}: not possible on {world_size()} processes; start one process")


class ShardedForward(Forward):
    """Forward passes of a sharded model, through its root so that FSDP2 gathers parameters when they are needed."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, shared_prefix=False)

    def _hidden_plain(
        self, prompts: Sequence[Any], rows: Sequence[int], ids: Sequence[Any], steps: int, device: torch.device
    ) -> Tensor:
        full = [[*prompts[row], *continuation[:-1]] for row, continuation in zip(rows, ids, strict=True)]
        width = max(len(row) for row in full)
        mask = torch.arange(width, device=device) < torch.tensor([len(row) for row in full], device=device)[:, None]
        out = self.model(
            input_ids=pad(full, width).to(device),
            attention_mask=mask.long(),
            use_cache=False,
            output_hidden_states=True,  # the last one is what the head reads, normalised
            logits_to_keep=1,
        )
        return self._continuations(out.hidden_states[-1], [len(prompts[row]) for row in rows], steps)


class ShardedLearner(Learner):
    """A learner whose optimiser steps all processes take together.

    Every public method is called on rank 0 and carried out by all: `follow` is the other ranks' side.

    Args:
        blueprint: what the policy is.
        policy: the policy with its whole model; None on all ranks but 0.
        objective: what is optimised.
        config: the [train] section.
        temperature: sampling temperature.
    """

    def __init__(
        self, blueprint: Blueprint, policy: Policy | None, objective: Objective, config: Any, temperature: float
    ) -> None:
        source = policy.model if policy else None
        model = sharded(blueprint, source)
        initial = blueprint.whole(source) if keeps_initial(objective) else source
        teachers = Teachers(initial, objective, config)
        mine = Policy(model, policy.tokenizer if policy else None, policy.end_ids if policy else ())
        super().__init__(mine, objective, config.model_copy(update={"shared_prefix": False}), temperature, teachers)
        self.forward = ShardedForward(model)

    # ---- on all ranks ------------------------------------------------------------------------------------------

    def _work(self, batches: list[list[int]]) -> Iterator[tuple[list[int], bool]]:
        """This rank's micro-batches; where there are none left, one for show, since all must gather together."""
        rank, size = dist.get_rank(), dist.get_world_size()
        for start in range(0, len(batches), size):
            mine = start + rank
            yield (batches[mine], True) if mine < len(batches) else (batches[0], False)

    def _backward(self, loss: Tensor) -> None:
        (loss * dist.get_world_size()).backward()  # FSDP2 takes the mean over ranks; a sum is wanted

    def _combine(self, metrics: StepMetrics, largest: float) -> float:
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, (dict(metrics.sums), largest))
        metrics.sums.clear()
        for sums, _ in everyone:
            metrics.add(sums)
        return max(theirs for _, theirs in everyone)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The weights as whole tensors, one at a time."""
        _tell("weights")
        return gathered(self.policy.model)

    def _take_optimiser(self, state: dict[str, Any]) -> None:
        """Take whole tensors and keep this rank's shards."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        parts: dict[Any, dict[str, Any]] = {}
        for i, values in state["state"].items():
            parameter = self.parameters[int(i)]
            assert isinstance(parameter, DTensor)
            parts[i] = {
                k: distribute_tensor(v.to(parameter.device), parameter.device_mesh, parameter.placements)
                if isinstance(v, Tensor) and v.dim()
                else v
                for k, v in values.items()
            }
        self.optimizer.load_state_dict({**state, "state": parts})

    def _save_part(self, folder: str) -> None:
        shards.save_optimiser(Path(folder), self.policy.model, self.optimizer)

    # ---- rank 0 speaks, the others follow ----------------------------------------------------------------------

    def train(self, rows: list[Row], step: int, seed: int = 0, rehearsal: Sequence[Row] = ()) -> dict[str, float]:
        """See `Learner.train`."""
        _tell("train", (rows, step, seed, list(rehearsal), self.length_cap, self.bad_in_a_row))
        return super().train(rows, step, seed, rehearsal)

    def write_shards(self, folder: Path) -> None:
        """See `Learner.write_shards`; the folder must be one that all processes see."""
        _tell("write", str(folder.absolute()))
        self._save_part(str(folder.absolute()))

    def read_shards(self, folder: Path) -> None:
        """See `Learner.read_shards`."""
        _tell("read", str(folder.absolute()))
        super().read_shards(folder)

    def load_optimiser(self, state: dict[str, Any]) -> None:
        """See `Learner.load_optimiser`."""
        _tell("load", state)
        self._take_optimiser(state)

    def load_teachers(self, state: dict[str, Any]) -> None:
        """See `Learner.load_teachers`."""
        _tell("teachers", state)
        super().load_teachers(state)

    def follow(self) -> None:
        """Do what rank 0 says until it says stop."""
        while True:
            word, what = _listen()
            if word == "stop":
                return
            if word == "train":
                rows, step, seed, rehearsal, self.length_cap, self.bad_in_a_row = what
                try:
                    super().train(rows, step, seed, rehearsal)
                except Unstable:
                    continue  # rank 0 has the same and ends the run
            elif word == "write":
                with contextlib.suppress(OSError):  # rank 0 has the same and ends the run
                    self._save_part(what)
            elif word == "read":
                super().read_shards(Path(what))
            elif word == "load":
                self._take_optimiser(what)
            elif word == "teachers":
                self.teachers.load_state_dict(what)
            elif word == "weights":
                for _ in gathered(self.policy.model):
                    pass


def _tell(word: str, what: Any = None) -> None:
    dist.broadcast_object_list([word, what], 0)


def _listen() -> tuple[str, Any]:
    heard: list[Any] = [None, None]
    dist.broadcast_object_list(heard, 0)
    return heard[0], heard[1]


class DistributedTrainer(Trainer):
    """Rank 0 of a run on several processes; see `Trainer` for the arguments."""

    def _new_learner(self) -> Learner:
        blueprint = Blueprint.of(self.policy.model)
        _tell("learner", blueprint)
        temperature = self.config.rollout.temperature
        return ShardedLearner(blueprint, self.policy, self.objective, self.config.train, temperature)

    def _advance(self, cursor: int, memory: dict[str, Any]) -> None:
        assert isinstance(self.learner, ShardedLearner)
        own = dict(self.policy.model.named_parameters())
        with torch.no_grad():
            for name, tensor in self.learner.weights():
                own[name].copy_(tensor)
        super()._advance(cursor, memory)

    def close(self) -> None:
        """Let the other ranks go, then release what `Trainer` holds."""
        _tell("stop")
        super().close()


def follower(config: RunConfig) -> None:
    """The life of every rank but 0."""
    for number in (signal.SIGINT, signal.SIGTERM):  # rank 0 gets them too and says when to stop
        signal.signal(number, signal.SIG_IGN)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    objective = registry.get(config.objective.name, config.objective.params)
    word, blueprint = _listen()
    if word == "learner":
        ShardedLearner(blueprint, None, objective, config.train, config.rollout.temperature).follow()
    dist.destroy_process_group()
