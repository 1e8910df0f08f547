"""What every engine promises: sample from a policy, score tokens, take new weights. One contract test holds for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from ...schema import Turn


class EngineFailed(RuntimeError):
    """An engine that runs apart from the learner is gone, refuses, or does not serve the weights it was given."""


@dataclass(frozen=True)
class SamplingParams:
    """How to sample.

    Attributes:
        max_new_tokens: cap on sampled tokens of one turn.
        temperature: 0 means greedy (log-probabilities are then those at temperature 1).
        top_p: nucleus mass; 1 switches it off.
        stop_ids: token ids that end a turn (the sampled one is kept in the turn).
        stop_strings: texts that end a turn; the tokens up to and including the match are kept.
        seed: run seed; a prompt's samples are drawn from hash(seed, prompt key, sample index).
    """

    max_new_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 1.0
    stop_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Prompt:
    """One prompt to be continued `n` times; the prefill is shared inside the group.

    Attributes:
        ids: prompt token ids.
        n: number of continuations.
        keys: seed keys, one a continuation, so that a sample does not depend on its neighbours in the batch.
    """

    ids: tuple[int, ...]
    n: int = 1
    keys: tuple[int, ...] = ()


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of given tokens: logp [T]; with top-k also ids and log-probs [T, K]."""

    logp: np.ndarray
    top_ids: np.ndarray | None = None
    top_logp: np.ndarray | None = None


@dataclass(frozen=True)
class UpdateReceipt:
    """Proof of a weight update: the version now served, a checksum or probe difference, and milliseconds spent."""

    version: int
    probe_gap: float | None = None
    ms: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


def refuse_empty(prompts: Sequence[Prompt]) -> None:
    """Raise ValueError when a prompt has no token."""
    for index, prompt in enumerate(prompts):
        if not prompt.ids:
            raise ValueError(f"prompt {index} is empty; a prompt needs at least one token")


class Engine(Protocol):
    """Samples from a policy. `sample` and `score` may be called from a worker thread, never concurrently."""

    version: int

    def sample(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[list[Turn]]:
        """One list of `Turn`s a prompt, in order."""
        ...

    def score(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]], topk: int | None = None
    ) -> list[Scored]:
        """Log-probabilities of the completions given their prompts, at temperature 1."""
        ...

    def update_weights(self, source: Any, version: int) -> UpdateReceipt:
        """Take new weights (a state dict, a module or a folder) and forget every cache of the old ones."""
        ...

    def pause(self, mode: Literal["keep", "wait", "abort"] = "wait") -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...
