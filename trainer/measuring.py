"""Numbers that some objectives want about a batch before they decide advantages; each costs a pass over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .chat import ChatFormat
from .config import ConfigError
from .learner import Learner
from .objectives.probes import answer_probs
from .objectives.types import Objective, RolloutBatch
from .rollout import Play
from .rows import Row
from .samples import Sample


def measured(
    batch: RolloutBatch, samples: dict[str, list[Sample]], objective: Objective, learner: Learner
) -> RolloutBatch:
    """The batch with reference log-probabilities and entropies, where its objective wants them."""
    wants = {"batch_reference", "batch_entropy"} & objective.needs
    if not wants:
        return batch
    rows = [Row(sample, np.zeros(len(sample))) for parts in samples.values() for sample in parts]
    sums = {name: dict.fromkeys(batch.ids, 0.0) for name in wants}
    if "batch_reference" in wants:
        learner.score(rows, "batch_reference", forward=learner.teachers.initial)
    if "batch_entropy" in wants:
        learner.entropies(rows, "batch_entropy")
    for row in rows:
        for name in wants:
            sums[name][row.sample.rollout_id] += float(row.scores[name][row.sample.mask_T].sum())
    arrays = {name: np.array([values[i] for i in batch.ids]) for name, values in sums.items()}
    lengths = np.maximum(batch.lengths_B if batch.lengths_B is not None else 1, 1)
    entropies = arrays.get("batch_entropy")
    return replace(
        batch,
        ref_logp_sums_B=arrays.get("batch_reference"),
        entropies_B=None if entropies is None else entropies / lengths,
    )


def probed(
    batch: RolloutBatch, plays: Sequence[Play], objective: Objective, engine: Any, chat: ChatFormat, env_id: str
) -> RolloutBatch:
    """The batch with the probabilities of the reference answers, where its objective is rewarded by them.

    Raises:
        ConfigError: the environment's tasks carry no answer that is a text or a number.
    """
    if "answer_probs" not in objective.needs:
        return batch
    answers = {play.group.id: play.group.task.answer for play in plays}
    if all(answer is None for answer in answers.values()):
        raise ConfigError(
            f"objective {objective.name!r} scores reference answers, and env {env_id!r} has none "
            "that is a text or a number; use grpo with its rewards, or an environment whose tasks carry an answer"
        )
    references = ["" if answers[r.group_id] is None else str(answers[r.group_id]) for r in batch.rollouts]

    def score(prompts: Any, targets: Any) -> list[np.ndarray]:
        return [scored.logp for scored in engine.score(prompts, targets)]

    return replace(batch, answer_probs=answer_probs(batch.rollouts, references, score, chat.encode))
