"""Training rows and their tensors: what the learner's forward and the objective's token-level parts are fed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .samples import Sample


@dataclass
class Row:
    """A sample with everything the objective decided about it.

    Attributes:
        sample: tokens, mask and the engine's log-probabilities.
        advantage_T: one advantage a position, 0 off the mask.
        group: index of its group.
        prompt_ids: context the learner trains it under, when the objective relabels it; None = as sampled.
        teacher_prompt_ids: context the teacher scores it under; None = the tokens the student read.
        taught: whether the teacher has anything to say about it.
        scores: per-token numbers computed for this row before the update ("old", "reference", ...), each [T].
    """

    sample: Sample
    advantage_T: np.ndarray
    group: int = 0
    prompt_ids: tuple[int, ...] | None = None
    teacher_prompt_ids: tuple[int, ...] | None = None
    taught: bool = False
    scores: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def context(self) -> tuple[int, ...]:
        """The prompt the learner reads."""
        return self.sample.prompt_ids if self.prompt_ids is None else self.prompt_ids

    @property
    def teacher_context(self) -> tuple[int, ...]:
        """The prompt the teacher reads."""
        return self.context if self.teacher_prompt_ids is None else self.teacher_prompt_ids

    @property
    def tokens(self) -> int:
        """Sampled tokens."""
        return int(self.sample.mask_T.sum())


def spread(samples: Sequence[Sample], advantage: np.ndarray | float) -> list[np.ndarray]:
    """Give every sampled token of one rollout its advantage.

    Args:
        samples: the rows of the rollout, in order.
        advantage: one number, or one a sampled token (further entries are padding).

    Returns:
        One array a sample, 0 off the mask.
    """
    out, used = [], 0
    for sample in samples:
        count = int(sample.mask_T.sum())
        values = np.zeros(len(sample))
        values[sample.mask_T] = advantage if np.ndim(advantage) == 0 else np.asarray(advantage)[used : used + count]
        used += count
        out.append(values)
    return out


@dataclass(frozen=True)
class Collated:
    """A micro-batch: distinct prompts, row tokens, and which flat positions were sampled."""

    rows: list[Row]
    prompts: list[tuple[int, ...]]
    index: list[int]
    ids: list[tuple[int, ...]]
    targets_N: Tensor
    flat_N: Tensor
    mask_BT: Tensor

    def scatter(self, values_N: Tensor) -> Tensor:
        """Values of the sampled positions as [B, T] (or [B, T, K]), 0 elsewhere; autograd flows."""
        count = self.mask_BT.numel()
        out = values_N.new_zeros(count, *values_N.shape[1:]).index_copy(0, self.flat_N, values_N)
        return out.view(*self.mask_BT.shape, *values_N.shape[1:])

    def field(self, name: str) -> Tensor:
        """A per-token score of the rows as [B, T]."""
        return self._stack([row.scores[name] for row in self.rows])

    @property
    def advantages_BT(self) -> Tensor:
        """Advantages [B, T]."""
        return self._stack([row.advantage_T for row in self.rows])

    @property
    def roll_BT(self) -> Tensor:
        """The engine's log-probabilities [B, T]."""
        return self._stack([row.sample.logp_T for row in self.rows])

    def _stack(self, arrays: Sequence[np.ndarray]) -> Tensor:
        out = np.zeros(tuple(self.mask_BT.shape), dtype=np.float32)
        for target, values in zip(out, arrays, strict=True):
            target[: len(values)] = values
        return torch.from_numpy(out).to(self.mask_BT.device)


def collate(rows: list[Row], device: Any, *, teacher: bool = False) -> Collated:
    """Make tensors of some rows.

    Args:
        rows: a micro-batch.
        device: where the tensors go.
        teacher: read the rows under their teacher contexts.
    """
    prompts: dict[tuple[int, ...], int] = {}
    index = [prompts.setdefault(row.teacher_context if teacher else row.context, len(prompts)) for row in rows]
    width = max(len(row.sample) for row in rows)
    mask = np.zeros((len(rows), width), dtype=np.float32)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        mask[i, : len(row.sample)] = row.sample.mask_T
        ids[i, : len(row.sample)] = row.sample.ids_T
    flat = np.flatnonzero(mask)
    return Collated(
        rows=rows,
        prompts=list(prompts),
        index=index,
        ids=[row.sample.ids_T for row in rows],
        targets_N=torch.from_numpy(ids.reshape(-1)[flat]).to(device),
        flat_N=torch.from_numpy(flat).to(device),
        mask_BT=torch.from_numpy(mask).to(device),
    )
