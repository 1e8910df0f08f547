"""Training steps of objectives that sample by themselves (`Objective.direct`): prompts in, one optimiser step out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .chat import ChatFormat
from .learner import Learner
from .objectives.types import DirectInputs, Normaliser
from .optimiser import set_learning_rate
from .step_metrics import StepMetrics
from .tasks import TaskRef, TaskSource


def first_prompts(source: TaskSource, chat: ChatFormat, refs: Sequence[TaskRef], transform: Any) -> list[Any]:
    """The token ids a policy reads first in each task."""
    from ..schema import Message

    prompts = []
    env = source.acquire()
    for ref in refs:
        observation, info = env.reset(seed=ref.seed, options=ref.options)
        messages = [dict(message) for message in observation]
        if transform is not None:
            messages = [m.to_dict() for m in transform(tuple(Message(**m) for m in messages))]
        prompts.append(chat.first(messages, info.get("tools")))
    source.release(env)
    return prompts


def direct_step(
    learner: Learner, prompts: Sequence[tuple[int, ...]], step: int, seed: int, max_new_tokens: int
) -> dict[str, float]:
    """One optimiser step on ``objective.direct``; one prompt at a time, so that memory holds one sample's graph.

    Args:
        learner: owns model and optimiser.
        prompts: token ids of the step's prompts.
        step: training step, for the schedule.
        seed: of the sampling noise.
        max_new_tokens: cap on sampled tokens.

    Returns:
        Metrics; sums of the objective are divided by the number of prompts.

    Raises:
        Unstable: too many optimiser steps in a row were not finite.
    """
    objective, teachers = learner.objective, learner.teachers
    assert objective.direct is not None
    set_learning_rate(learner.optimizer, learner.learning_rate(step))
    count = len(prompts)
    norm = Normaliser(float(count * max_new_tokens), float(count), float(max_new_tokens))
    generator = torch.Generator().manual_seed(seed % 2**63)
    reference = teachers.initial.model if "reference" in objective.needs and teachers.initial is not None else None
    metrics, total = StepMetrics(), 0.0
    for ids in prompts:
        inputs = DirectInputs(learner.policy.model, (tuple(ids),), max_new_tokens, norm, generator, reference)
        loss, values = objective.direct(inputs)
        loss.backward()
        metrics.add(values)
        total += float(loss.detach())
    grad_norm = learner.apply(0.0, metrics)
    teachers.after_step(step)
    out = {key: value / max(count, 1) for key, value in metrics.sums.items() if not key.startswith("_")}
    return {
        **out,
        "loss": total,
        "grad_norm": grad_norm or 0.0,
        "learning_rate": learner.learning_rate(step),
        "optimiser_steps": float(grad_norm is not None),
        "skipped_steps": float(grad_norm is None),
        "tokens": float(count * max_new_tokens),
    }
