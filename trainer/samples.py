"""From recorded turns to training rows: one token sequence with a mask, log-probabilities and versions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..schema import Rollout


@dataclass(frozen=True)
class Sample:
    """One row of training data: a prompt, and what followed it, sampled or not.

    Attributes:
        rollout_id: where it comes from.
        prompt_ids: ids before the first sampled token.
        ids_T: everything after, environment tokens included.
        mask_T: True on sampled tokens.
        logp_T: the engine's log-probabilities, 0 off the mask.
        version_T: weight version that sampled each token, -1 off the mask.
    """

    rollout_id: str
    prompt_ids: tuple[int, ...]
    ids_T: tuple[int, ...]
    mask_T: np.ndarray
    logp_T: np.ndarray
    version_T: np.ndarray

    def __len__(self) -> int:
        return len(self.ids_T)


def samples_of(rollout: Rollout) -> list[Sample]:
    """The training rows of a rollout: one, plus one for every prefix break.

    A turn whose prompt begins with all earlier ids continues the row; its new prompt ids are masked. Otherwise the
    template rewrote history, and a new row begins, so that every token is scored in the context it was sampled in.
    """
    rows: list[Sample] = []
    prompt: tuple[int, ...] = ()
    ids: list[int] = []
    mask: list[bool] = []
    logp: list[float] = []
    versions: list[int] = []

    def finish() -> None:
        if any(mask):
            rows.append(
                Sample(
                    rollout.id,
                    prompt,
                    tuple(ids),
                    np.array(mask, dtype=bool),
                    np.array(logp, dtype=np.float32),
                    np.array(versions, dtype=np.int64),
                )
            )

    for index, turn in enumerate(rollout.turns):
        known = (*prompt, *ids)
        if index and turn.prompt_ids[: len(known)] == known:
            between = turn.prompt_ids[len(known) :]
        else:
            finish()
            prompt, between = turn.prompt_ids, ()
            ids, mask, logp, versions = [], [], [], []
        ids += [*between, *turn.completion_ids]
        mask += [False] * len(between) + [True] * len(turn.completion_ids)
        logp += [0.0] * len(between) + list(turn.logprobs)
        versions += [-1] * len(between) + list(turn.versions)
    finish()
    return rows
