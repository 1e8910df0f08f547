"""A run from its file to its result: which loop, and what each way of ending means."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable
from typing import Any

from .config import RunConfig
from .engines.base import EngineFailed
from .events import Callback, RunResult, StopTraining
from .feasible import refuse
from .interrupts import Interrupted
from .judging import JudgeFailed
from .learner import Unstable
from .loop import Trainer
from .objectives import registry
from .oom import advice, is_out_of_memory
from .runfolder import RunFolder


def train_run(
    config: RunConfig,
    *,
    resume: bool = False,
    callbacks: Iterable[Callback] = (),
    factory: Callable[[], Any] | None = None,
    judge_client: Any = None,
) -> RunResult:
    """Train; see `palaestra.trainer.train`."""
    refuse(config, registry.get(config.objective.name, config.objective.params))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from .distributed import follower, join, refuse_distributed

        refuse_distributed(config, registry.get(config.objective.name, config.objective.params))
        if join():
            follower(config)
            raise SystemExit(0)
    folder = RunFolder(config, resume=resume)
    trainer = None
    try:
        trainer = trainer_class(config)(config, folder, callbacks, factory, judge_client)
        stopped = interrupted = None
        lost = False  # whether the step broke off half-way: what is in memory is then no state to save
        with trainer.interrupts:
            try:
                trainer.open()
                gc.freeze()  # modules and weights live to the end: walking them at every collection costs 5 % of a step
                trainer.run()
            except Interrupted as signal:
                stopped, interrupted = f"stopped by signal {signal.number}", signal.number
            except (JudgeFailed, Unstable, EngineFailed, StopTraining) as error:
                stopped = str(error) or "stopped by a callback"
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                stopped, lost = advice(error, config, trainer.step), True
            if stopped is not None and not lost and hasattr(trainer, "learner"):
                trainer.save()
        result = trainer.result(stopped, interrupted)
        trainer._emit("end", message=stopped or f"done; see {folder.path}")
        return result
    finally:
        gc.unfreeze()
        if trainer is not None:
            trainer.close()
        else:
            folder.close()


def trainer_class(config: RunConfig) -> type[Trainer]:
    """The loop that a run file asks for, in this process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from .distributed import DistributedTrainer

        return DistributedTrainer
    if config.rollout.max_staleness:
        from .asynchronous import AsyncTrainer

        return AsyncTrainer
    return Trainer
