"""What a checkpoint holds of a run, beside the Hugging Face folder, and how a run takes it up again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from . import checkpoint as ckpt
from .evaluation import EvalReport
from .lora import is_adapted

if TYPE_CHECKING:
    from .loop import Trainer


def save(trainer: Trainer) -> Path:
    """Write a checkpoint of the current step; see `checkpoint.save` for the errors."""
    learner, policy, settings = trainer.learner, trainer.policy, trainer.config.train
    tensors: dict[str, Any] = {"teachers": learner.teachers.state_dict()}
    if learner.write_shards is None:
        tensors["optimizer"] = learner.optimizer.state_dict()
    if is_adapted(policy.model):
        tensors["adapters"] = {n: p for n, p in policy.model.named_parameters() if p.requires_grad}
    state = {
        **trainer.position(),
        "memory": trainer.memory,
        "version": trainer.engine.version,
        "bad_in_a_row": learner.bad_in_a_row,
        "warmup": trainer.warmup,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    keep = ckpt.Retention(settings.keep, settings.keep_every, _best(trainer) if settings.keep_best else None)
    return ckpt.save(trainer.folder.checkpoints, trainer.step, policy, tensors, state, keep, learner.write_shards)


def _best(trainer: Trainer) -> int | None:
    """The step whose evaluation was best: by pass@1 where it was asked for, else by mean reward."""
    found = {}
    for step, report in trainer.evals.items():
        estimate = report.pass_at.get(1) or report.reward
        if estimate is not None:
            found[step] = estimate.value
    return max(found, key=lambda step: (found[step], step), default=None)


def restore(trainer: Trainer, found: ckpt.Checkpoint) -> None:
    """Take a checkpoint's state into a trainer whose policy was loaded from it and whose learner is new."""
    tensors, state, learner = ckpt.load_tensors(found), found.state, trainer.learner
    if "optimizer" in tensors:
        learner.load_optimiser(tensors["optimizer"])
    else:
        learner.read_shards(found.shards)
    learner.load_teachers(tensors["teachers"])
    if "adapters" in tensors:
        trainer.policy.model.load_state_dict(tensors["adapters"], strict=False)
    trainer.step, trainer.memory = found.step, state["memory"]
    trainer.restore_position(state)
    learner.bad_in_a_row, trainer.warmup = state["bad_in_a_row"], state["warmup"]
    trainer.engine.update_weights(trainer.policy.model, state["version"])
    for path in sorted((trainer.folder.path / "evals").glob("step-*.json")):
        report = EvalReport.model_validate_json(path.read_text(encoding="utf-8"))
        if report.step <= trainer.step:
            trainer.evals[report.step] = report
