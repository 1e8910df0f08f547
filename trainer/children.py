"""Sub-calls of a rollout: the policy answers them, and their tokens train with a share of the root's advantage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..rlm.types import Reply
from ..schema import Rollout
from .batcher import Batcher
from .chat import ChatFormat
from .engines.sampling import seed_of
from .rows import Row
from .samples import samples_of


class PolicyLM:
    """The policy in training as the model of an environment's sub-calls (an `LM` of `palaestra.rlm`).

    Args:
        chat: message rendering.
        batcher: the sampler of the rollout it serves.
        order: position of that rollout in the batch.
        key: its seed key.
    """

    def __init__(self, chat: ChatFormat, batcher: Batcher, order: tuple[int, int], key: int) -> None:
        self.chat, self.batcher, self.order, self.key = chat, batcher, order, key

    async def __call__(
        self, messages: Sequence[Mapping[str, Any]], *, n_max_tokens: int, seed: int, tags: Mapping[str, Any]
    ) -> Reply:
        ids = self.chat.first([dict(m) for m in messages])
        turn = await self.batcher.sample(
            (*self.order, 1, str(tags["node"]), tags["turn"]), ids, seed_of(self.key, seed)
        )
        return Reply(
            self.chat.decode(turn.completion_ids),
            turn.stop,
            prompt_tokens=len(turn.prompt_ids),
            completion_tokens=len(turn.completion_ids),
            prompt_ids=turn.prompt_ids,
            token_ids=turn.completion_ids,
            logprobs=turn.logprobs,
            policy_version=turn.policy_version,
            model="policy",
        )


def descendants(rollout: Rollout) -> Iterator[Rollout]:
    """All rollouts below one, parents before children."""
    for child in rollout.children:
        yield child
        yield from descendants(child)


def child_rows(rollout: Rollout, advantage: np.ndarray | float, group: int) -> list[Row]:
    """Training rows of a rollout's sub-calls.

    Args:
        rollout: the root.
        advantage: its advantage; of one a token, the mean is inherited.
        group: the root's group.

    Returns:
        One row a sample of every descendant that has exact tokens and a ``weight`` in its metrics, each with the root's
        advantage times that weight.
    """
    inherited = float(np.mean(advantage))
    rows = []
    for child in descendants(rollout):
        weight = child.metrics.get("weight", 0.0)
        for sample in samples_of(child) if weight else []:
            rows.append(Row(sample, np.where(sample.mask_T, inherited * weight, 0.0), group=group))
    return rows
