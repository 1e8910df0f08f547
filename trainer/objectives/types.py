"""The seam between the training loop and the methods: what a method is given, and the parts it is made of.

A method is data: an `Objective` whose fields are functions with one signature each. The loop calls the parts in this
order and knows no method by name:

    shape        one group       -> rewards_G          before the advantage (DARLING, unlikeliness, overlong, ranks)
    advantage    whole batch     -> A_B                one number a rollout, spread over its sampled tokens
    filters      whole batch     -> keep_B             which rollouts stay in the loss (and in its normaliser)
    teacher      whole batch     -> teacher contexts   prompts under which the learner scores the same tokens again
    correction   one micro-batch -> w_BT               rollout/learner importance weights, no gradient
    loss         one micro-batch -> scalar, metrics    per-token losses, summed over a *global* normaliser
    regularisers one micro-batch -> scalar, metrics    entropy, KL, rehearsal

Axes: B rollouts, G rollouts of one group, T sampled-token positions, K support tokens, V vocabulary. Batch-level parts
are numpy in and out; micro-batch parts are torch. All are pure: no I/O, no global state, no training-loop names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:  # torch stays out of registry listings and of config validation
    from torch import Tensor

    from ...schema import Rollout

Aggregation = Literal["token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "dr_grpo"]

Need = Literal[
    "clusters",  # RolloutBatch.clusters_B: a partition of each group, from the judge server or the environment
    "ranks",  # RolloutBatch.ranks_B: a judge's ranking of each group, as rewards
    "reference",  # TokenBatch.logp_ref_BT: the frozen initial policy scores the sampled tokens
    "entropy",  # TokenBatch.entropy_BT with gradient, over the full vocabulary
    "teacher",  # TokenBatch.teacher: the tokens scored under a teacher context
]


@dataclass(frozen=True)
class RolloutBatch:
    """What batch-level parts see: arrays aligned on rollouts. A group is the same class with one group in it.

    Attributes:
        ids: rollout ids [B].
        group_ids_B: integer group labels; rollouts with equal labels answer the same task.
        rewards_B: float64 rewards; nan marks an unscored rollout, which no statistic may see.
        task_types: name of the task family each rollout belongs to [B].
        logp_sums_B: sum of old-policy log-probabilities (nats) over the sampled tokens.
        lengths_B: number of sampled tokens.
        max_length: cap on sampled tokens in this run.
        clusters_B: cluster label of each rollout inside its group; -1 = unknown. None when nobody partitioned.
        ranks_B: judge rank reward of each rollout, nan = unranked. None when nobody ranked.
        rollouts: the rollouts themselves, for methods that read text or feedback.
    """

    ids: tuple[str, ...]
    group_ids_B: np.ndarray
    rewards_B: np.ndarray
    task_types: tuple[str, ...] = ()
    logp_sums_B: np.ndarray | None = None
    lengths_B: np.ndarray | None = None
    max_length: int | None = None
    clusters_B: np.ndarray | None = None
    ranks_B: np.ndarray | None = None
    rollouts: tuple[Rollout, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def scored_B(self) -> np.ndarray:
        """Boolean mask of the rollouts that have a reward."""
        return np.isfinite(self.rewards_B)

    def groups(self) -> list[np.ndarray]:
        """Index arrays, one a group, in order of first appearance."""
        order = dict.fromkeys(self.group_ids_B.tolist())
        return [np.flatnonzero(self.group_ids_B == label) for label in order]

    def take(self, index: np.ndarray) -> RolloutBatch:
        """The sub-batch at the given positions."""

        def pick(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[index]

        return RolloutBatch(
            ids=tuple(self.ids[i] for i in index),
            group_ids_B=self.group_ids_B[index],
            rewards_B=self.rewards_B[index],
            task_types=tuple(self.task_types[i] for i in index) if self.task_types else (),
            logp_sums_B=pick(self.logp_sums_B),
            lengths_B=pick(self.lengths_B),
            max_length=self.max_length,
            clusters_B=pick(self.clusters_B),
            ranks_B=pick(self.ranks_B),
            rollouts=tuple(self.rollouts[i] for i in index) if self.rollouts else (),
        )

    def with_rewards(self, rewards_B: np.ndarray) -> RolloutBatch:
        """The same batch with shaped rewards."""
        return replace(self, rewards_B=rewards_B)


@dataclass(frozen=True)
class Normaliser:
    """Global counts of one optimiser step, so that micro-batching and data parallelism give one answer."""

    tokens: float
    sequences: float
    max_length: float


@dataclass(frozen=True)
class TeacherTargets:
    """Teacher log-probabilities at the sampled positions.

    Attributes:
        logp_BT: teacher log-probability of the sampled token.
        mask_BT: 1 where the rollout has a teacher context (and the token is sampled).
        support_BTK: token ids on which the distributions are compared, None for the sampled-token mode.
        teacher_logp_BTK: teacher log-probabilities on the support (true ones, not renormalised).
        student_logp_BTK: student log-probabilities on the support, with gradient.
        full: the support is the whole vocabulary, so there is no tail.
    """

    logp_BT: Tensor
    mask_BT: Tensor
    support_BTK: Tensor | None = None
    teacher_logp_BTK: Tensor | None = None
    student_logp_BTK: Tensor | None = None
    full: bool = False


@dataclass(frozen=True)
class TokenBatch:
    """What micro-batch parts see: tensors over sampled positions, right-padded to T.

    Attributes:
        logp_BT: log-probabilities (nats) of the sampled tokens, with gradient.
        logp_old_BT: the same under the weights before this optimiser step's batch, detached.
        logp_roll_BT: the same as reported by the engine that sampled them.
        advantages_BT: advantages, spread over tokens.
        mask_BT: 1 on sampled tokens that count, 0 on padding and on environment tokens.
        norm: global normaliser of the step.
    """

    logp_BT: Tensor
    logp_old_BT: Tensor
    logp_roll_BT: Tensor
    advantages_BT: Tensor
    mask_BT: Tensor
    norm: Normaliser
    group_ids_B: Tensor | None = None
    entropy_BT: Tensor | None = None
    logp_ref_BT: Tensor | None = None
    teacher: TeacherTargets | None = None
    weights_BT: Tensor | None = None  # importance weights of `correction`, detached; None = 1


@dataclass(frozen=True)
class TeacherContext:
    """For each rollout the messages under which the teacher scores its tokens again; None = no teacher signal."""

    messages: tuple[Any, ...]  # one tuple of Message or None, aligned on B


LossOutput = tuple["Tensor", dict[str, "Tensor | float"]]
"""A scalar that already carries the global normaliser, and metrics as *sums* (divided by the loop, see `Metric`)."""

Shape = Callable[[RolloutBatch], np.ndarray]
Advantage = Callable[[RolloutBatch], np.ndarray]
Filter = Callable[[RolloutBatch, np.ndarray, dict[str, Any]], np.ndarray]
Loss = Callable[[TokenBatch], LossOutput]
Correction = Callable[[TokenBatch], "Tensor"]
Regulariser = Callable[[TokenBatch], LossOutput]


@dataclass(frozen=True)
class TeacherSpec:
    """How the loop makes `TeacherTargets`.

    Attributes:
        contexts: batch -> messages of each rollout's teacher prompt (pure).
        weights: whose weights the teacher uses.
        rate: EMA rate or trust-region mixing weight.
        top_k: support size taken from the student's own top tokens; None = full vocabulary; 0 = sampled token only.
    """

    contexts: Callable[[RolloutBatch], TeacherContext]
    weights: Literal["current", "ema", "frozen", "trust_region", "external"] = "ema"
    rate: float = 0.05
    top_k: int | None = 100
    model: str | None = None


@dataclass(frozen=True)
class Objective:
    """Advantage + loss + regularisers, with parameters already bound."""

    name: str
    advantage: Advantage
    loss: Loss
    shape: Shape | None = None
    filters: tuple[Filter, ...] = ()
    correction: Correction | None = None
    regularisers: tuple[Regulariser, ...] = ()
    teacher: TeacherSpec | None = None
    needs: frozenset[Need] = frozenset()
    uses_rewards: bool = True  # False for pure distillation, which trains without any reward


class Params(BaseModel):
    """Base of every method's parameters: strict, so that a misspelt knob fails with its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Method:
    """A registry row: where a method comes from, its knobs, and how to build it."""

    name: str
    summary: str
    paper: str
    params: type[Params]
    build: Callable[[Any], Objective]
    formula: str = ""
    cost: str = "no judge calls, one forward and backward pass"
    when: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
