"""RLPR's probe: how likely the reference answer becomes after a rollout's own reasoning."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from ...schema import Rollout

ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)

Scorer = Callable[[list[tuple[int, ...]], list[tuple[int, ...]]], list[np.ndarray]]
"""(prompt ids, continuation ids) -> log-probabilities of every continuation token."""
Encoder = Callable[[str], Sequence[int]]


def reasoning_prefix(response: str, pattern: re.Pattern[str] = ANSWER) -> str | None:
    """The text before the answer inside the last answer tags, or None without tags."""
    spans = list(pattern.finditer(response))
    return response[: spans[-1].start(1)] if spans else None


def answer_probs(
    rollouts: Sequence[Rollout],
    references: Sequence[str],
    score: Scorer,
    encode: Encoder,
    opening: str = "<answer>",
    pattern: re.Pattern[str] = ANSWER,
) -> tuple[tuple[np.ndarray, np.ndarray] | None, ...]:
    """Token probabilities of the reference answers, after each rollout's reasoning and without any.

    The reference replaces the sampled answer, so the sampled answer's text has no influence. Prefix and reference are
    tokenised together and cut at the prefix, so tokens that cross the border belong to the reference.

    Args:
        rollouts: single-turn rollouts.
        references: gold answers, aligned on rollouts (they stay on the host).
        score: the engine's scoring at temperature 1.
        encode: text to token ids, without special tokens.
        opening: text that opens the answer when there is no reasoning.
        pattern: answer tags, with the answer as group 1.

    Returns:
        One pair of arrays a rollout; None without answer tags, without a turn or without a reference.
    """
    places, prompts, targets = [], [], []
    for i, (rollout, reference) in enumerate(zip(rollouts, references, strict=True)):
        prefix = reasoning_prefix(rollout.response, pattern)
        if prefix is None or not rollout.turns or not str(reference):
            continue
        start = rollout.turns[0].prompt_ids
        for text in (prefix, opening):
            whole, head = list(encode(text + str(reference))), list(encode(text))
            shared = next((k for k, (a, b) in enumerate(zip(head, whole, strict=False)) if a != b), len(head))
            shared = min(shared, len(whole) - 1)
            prompts.append((*start, *whole[:shared]))
            targets.append(tuple(whole[shared:]))
        places.append(i)
    found: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(rollouts)
    scores = [np.exp(np.asarray(logp, float)) for logp in score(prompts, targets)] if prompts else []
    for n, i in enumerate(places):
        found[i] = (scores[2 * n], scores[2 * n + 1])
    return tuple(found)
