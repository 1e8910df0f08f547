"""A simulated sub-model for families with hidden labels, and the accuracy of a real one's replies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..score import marked, normal
from ..types import Reply
from .base import LongTask, Rng, seeded
from .labels import Labeller, labeller

_TEXT = re.compile(r"Instance: (.*)$", re.MULTILINE)


def _source(task: LongTask) -> Labeller:
    if "label_args" not in task.meta:
        raise ValueError(f"family {task.family!r} has no hidden labels; only linear and pairs have")
    return labeller(*task.meta["label_args"])


def labels_in(task: LongTask, prompt: str) -> list[str]:
    """True labels of the records that stand in a prompt, in their order. The host knows them; the policy does not."""
    source = _source(task)
    return [source.label_of(text) or "" for text in _TEXT.findall(prompt)]


def leaf_accuracy(task: LongTask, prompt: str, reply: str) -> float | None:
    """Share of a prompt's records that a reply labels rightly: one label a line, in the order of the records.

    Returns:
        None when the prompt holds no record, so that there is nothing to judge. A reply with another number of lines
        gets 0: its lines cannot be told apart.
    """
    truth = labels_in(task, prompt)
    if not truth:
        return None
    lines = [normal(line) for line in marked(reply).splitlines() if line.strip()]
    if len(lines) != len(truth):
        return 0.0
    return sum(normal(a) == b for a, b in zip(truth, lines, strict=True)) / len(truth)


class OracleLM:
    """Answers an `llm` call with the true label of each record in the prompt, one a line; wrong with 1 - `accuracy`.

    It stands for a sub-model of known quality, so that the use of sub-calls can be trained and measured without one.
    Mistakes depend on the engine's seed for the call, so a run can be repeated.
    """

    def __init__(self, task: LongTask, accuracy: float = 1.0) -> None:
        self.task, self.accuracy, self._labeller = task, accuracy, _source(task)

    async def __call__(
        self, messages: Sequence[Mapping[str, Any]], *, n_max_tokens: int, seed: int, tags: Mapping[str, Any]
    ) -> Reply:
        prompt = str(messages[-1]["content"])
        rng: Rng = seeded(b"", "oracle", seed)
        lines = []
        for label in labels_in(self.task, prompt):
            wrong = [name for name in self._labeller.labels if name != label]
            lines.append(label if rng.random() < self.accuracy else rng.pick(wrong))
        text = "\n".join(lines) or "There is no record in the prompt."
        return Reply(text, prompt_tokens=len(prompt) // 4, completion_tokens=len(text) // 4, model="oracle")
