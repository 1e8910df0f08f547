"""The seam between the training loop and the methods: what a method is given, and the parts it is made of.

A method is data: an `Objective` whose fields are functions with one signature each. The loop calls the parts in this
order and knows no method by name:

    prompt       one task        -> messages           rewrites a prompt before sampling (repetition, control text)
    shape        one group       -> rewards_G          before the advantage (DARLING, unlikeliness, overlong, ranks)
    advantage    whole batch     -> A_B or A_BT        one number a rollout, spread over its sampled tokens
    gates        whole batch     -> A_B                advantages switched off, rollouts still in the normaliser
    filters      whole batch     -> keep_B             which rollouts stay in the loss (and in its normaliser)
    relabel      whole batch     -> contexts           prompts under which the *learner* trains on the same tokens
    teacher      whole batch     -> teacher contexts   prompts under which the learner scores the same tokens again
    correction   one micro-batch -> w_BT               rollout/learner importance weights, no gradient
    loss         one micro-batch -> scalar, metrics    per-token losses, summed over a *global* normaliser
    regularisers one micro-batch -> scalar, metrics    entropy, KL
    rehearsal    stored samples  -> scalar, metrics    a second loss over rollouts of the initial policy
    direct       prompts, model  -> scalar, metrics    replaces everything above: a loss that samples by itself

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

    from ...schema import Message, Rollout

Aggregation = Literal["token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "dr_grpo"]

Need = Literal[
    "clusters",  # RolloutBatch.clusters_B: a partition of each group, from the judge server or the environment
    "ranks",  # RolloutBatch.ranks_B: a judge's ranking of each group, as rewards
    "reference",  # TokenBatch.logp_ref_BT: the frozen initial policy scores the sampled tokens
    "entropy",  # TokenBatch.entropy_BT with gradient, over the full vocabulary
    "teacher",  # TokenBatch.teacher: the tokens scored under a teacher context
    "batch_reference",  # RolloutBatch.ref_logp_sums_B, before the advantage is computed
    "batch_entropy",  # RolloutBatch.entropies_B, before the gates run
    "diversity",  # RolloutBatch.diversity_B, from the judge server's diversity operation
    "answer_probs",  # RolloutBatch.answer_probs, by `probes.answer_probs` with the engine and the tokenizer
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
        raw_rewards_B: rewards before any shaping; None when nothing has shaped them (see `accuracy_B`).
        ref_logp_sums_B: sum over sampled tokens of the frozen initial policy's log-probabilities (nats).
        entropies_B: mean over a rollout's sampled tokens of the learner's exact entropy (nats, temperature 1).
        diversity_B: judge's diversity in [0, 1] of each rollout inside its group, nan = not judged.
        answer_probs: for each rollout (token probabilities of the reference answer after its reasoning, the same
            without any reasoning), or None where no answer span was found.
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
    raw_rewards_B: np.ndarray | None = None
    ref_logp_sums_B: np.ndarray | None = None
    entropies_B: np.ndarray | None = None
    diversity_B: np.ndarray | None = None
    answer_probs: tuple[tuple[np.ndarray, np.ndarray] | None, ...] = ()

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
            raw_rewards_B=pick(self.raw_rewards_B),
            ref_logp_sums_B=pick(self.ref_logp_sums_B),
            entropies_B=pick(self.entropies_B),
            diversity_B=pick(self.diversity_B),
            answer_probs=tuple(self.answer_probs[i] for i in index) if self.answer_probs else (),
        )

    @property
    def accuracy_B(self) -> np.ndarray:
        """The rewards before shaping, which is what filters compare."""
        return self.rewards_B if self.raw_rewards_B is None else self.raw_rewards_B

    def with_rewards(self, rewards_B: np.ndarray) -> RolloutBatch:
        """The same batch with shaped rewards; the ones before the first shaping stay in `raw_rewards_B`."""
        return replace(self, rewards_B=rewards_B, raw_rewards_B=self.accuracy_B)


@dataclass(frozen=True)
class Normaliser:
    """Global counts of one optimiser step, so that micro-batching and data parallelism give one answer.

    Attributes:
        tokens: sampled tokens that count.
        sequences: rollouts that count.
        max_length: cap on sampled tokens of a rollout.
        teacher_tokens: sampled tokens that have a teacher context; None when the objective has no teacher.
    """

    tokens: float
    sequences: float
    max_length: float
    teacher_tokens: float | None = None


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
        amateur_logp_BTK: log-probabilities of the contrast model (`TeacherSpec.amateur`) on the same support.
    """

    logp_BT: Tensor
    mask_BT: Tensor
    support_BTK: Tensor | None = None
    teacher_logp_BTK: Tensor | None = None
    student_logp_BTK: Tensor | None = None
    full: bool = False
    amateur_logp_BTK: Tensor | None = None


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
"""(batch, advantages_B, state) -> keep_B. `state` is a JSON-able dict of this filter's own, kept in checkpoints."""
Gate = Callable[[RolloutBatch, np.ndarray, dict[str, Any]], np.ndarray]
"""(batch, advantages_B, state) -> advantages_B. Like a filter, but a gated rollout still counts in the normaliser."""
PromptTransform = Callable[[tuple["Message", ...]], tuple["Message", ...]]
Loss = Callable[[TokenBatch], LossOutput]
Correction = Callable[[TokenBatch], "Tensor"]
Regulariser = Callable[[TokenBatch], LossOutput]


@dataclass(frozen=True)
class TeacherSpec:
    """How the loop makes `TeacherTargets`.

    The loop renders a rollout's context with the chat template (generation prompt included), appends the rollout's own
    token ids from its first sampled token on (environment tokens of later turns included), and scores the sampled ones
    at temperature 1. Teachers carry no gradient.

    Attributes:
        contexts: batch -> messages of each rollout's teacher prompt (pure). None: the teacher reads exactly the token
            ids the student read, as teachers that are other models do (they need the student's vocabulary).
        weights: whose weights the teacher uses. ``ema``: theta' <- (1-rate) theta' + rate theta, starting from the
            initial weights. ``trust_region``: log-probabilities are normalised (1-rate) z_frozen + rate z_current of
            two forward passes on the teacher prompt. ``frozen``: the initial weights. ``external``: `model`.
        rate: EMA rate or trust-region mixing weight.
        top_k: support size taken from the student's own top tokens; None = full vocabulary; 0 = sampled token only.
        model: folder or id of the external teacher.
        every: when the EMA moves: after each training batch (as published) or after each optimiser step.
        amateur: folder or id of a weaker contrast model, scored on the same ids and support (LightReasoner).
    """

    contexts: Callable[[RolloutBatch], TeacherContext] | None
    weights: Literal["current", "ema", "frozen", "trust_region", "external"] = "ema"
    rate: float = 0.05
    top_k: int | None = 100
    model: str | None = None
    every: Literal["batch", "step"] = "batch"
    amateur: str | None = None


@dataclass(frozen=True)
class Refill:
    """Dynamic sampling: when `filters` leave fewer groups than `prompts_per_step`, sample more and join them.

    Attributes:
        max_batches: how many times the loop may sample for one step, the first included; 0 = no limit.
        then: what to do when still short: train on what there is and say so, or raise.
    """

    max_batches: int = 10
    then: Literal["train", "raise"] = "train"


@dataclass(frozen=True)
class RehearsalSpec:
    """A second loss on stored samples of the initial policy, for tasks it had already mastered.

    Before training the loop samples `attempts` rollouts a task under the initial weights; tasks with at least
    `threshold` of them at reward >= `correct` form the near-perfect set, all others the exploration set on which alone
    the RL part then trains. For each near-perfect task one fresh rollout is drawn and kept if it is correct, with the
    initial policy's log-probability of every sampled token. Every step then adds `chunk` stored samples in micro-
    batches of their own: `loss` gets a `TokenBatch` whose `logp_ref_BT` are the stored values and whose `norm` counts
    the chunk alone. An empty near-perfect set is reported and trains without this part.

    Attributes:
        loss: stored micro-batch -> scalar, metrics.
        attempts: rollouts a task in the first stage.
        threshold: how many of them must be correct.
        chunk: stored samples a step (cycled, reshuffled each round).
        correct: reward from which a rollout counts as correct.
        split_tasks: whether the RL part leaves the near-perfect tasks out.
    """

    loss: Loss
    attempts: int = 4
    threshold: int = 4
    chunk: int = 256
    correct: float = 1.0
    split_tasks: bool = True


@dataclass(frozen=True)
class DirectInputs:
    """What a loss that samples by itself is given.

    Attributes:
        model: the learner, a Hugging Face causal language model in train mode.
        prompt_ids: token ids of this micro-batch's prompts.
        max_new_tokens: cap on sampled tokens.
        norm: global normaliser; `sequences` counts prompts.
        generator: torch generator seeded for this step.
        reference: the frozen initial policy, or None when not asked for.
    """

    model: Any
    prompt_ids: tuple[tuple[int, ...], ...]
    max_new_tokens: int
    norm: Normaliser
    generator: Any
    reference: Any = None


Direct = Callable[[DirectInputs], LossOutput]


@dataclass(frozen=True)
class Objective:
    """Advantage + loss + regularisers, with parameters already bound.

    Attributes:
        name: registry name.
        advantage: batch -> [B], or [B, T] where column t is the rollout's t-th sampled token and T the longest length.
        loss: micro-batch -> scalar, metrics.
        shape: group -> shaped rewards (nan stays nan).
        filters: run in order on what is left of the batch.
        correction: rollout/learner importance weights, put into `TokenBatch.weights_BT`.
        regularisers: added to the loss.
        teacher: how teacher targets are made; None = no teacher.
        needs: what the loop must put into the batches.
        uses_rewards: False for pure distillation: rollouts without a reward train too, and equal rewards are no reason
            to drop a group.
        gates: run after the advantage and before the filters.
        prompt: transform of a task's messages before sampling, in training and in evaluation.
        relabel: contexts under which the learner's `logp_BT` and gradient are computed, None entries = as sampled.
        sampling: ``current`` weights sample (on-policy), or the ``initial`` ones throughout (one-pass methods).
        rehearsal: a second loss over stored samples.
        refill: sample again while filters leave too few groups.
        balance_task_types: draw the same number of tasks of every task type into each step.
        stop_reward: end training when any rollout reaches this reward (test-time training); None = never.
        direct: a loss that samples by itself; then no rollouts are made for training.
        ranking: options of the judge server's rank operation, for objectives that need ``ranks``.
    """

    name: str
    advantage: Advantage
    loss: Loss
    shape: Shape | None = None
    filters: tuple[Filter, ...] = ()
    correction: Correction | None = None
    regularisers: tuple[Regulariser, ...] = ()
    teacher: TeacherSpec | None = None
    needs: frozenset[Need] = frozenset()
    uses_rewards: bool = True
    gates: tuple[Gate, ...] = ()
    prompt: PromptTransform | None = None
    relabel: Callable[[RolloutBatch], TeacherContext] | None = None
    sampling: Literal["current", "initial"] = "current"
    rehearsal: RehearsalSpec | None = None
    refill: Refill | None = None
    balance_task_types: bool = False
    stop_reward: float | None = None
    direct: Direct | None = None
    ranking: Mapping[str, Any] = field(default_factory=dict)


class Params(BaseModel):
    """Base of every method's parameters: strict, so that a misspelt knob fails with its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Requirement = Literal[
    "group",  # at least two rollouts a task
    "clusters",  # a judge that partitions, or an environment that labels strategies
    "ranks",  # a judge that ranks
    "binary",  # rewards 0 and 1
    "answers",  # tasks whose reference answer is a text
    "teacher",  # a stronger model with the policy's tokenizer
    "amateur",  # a weaker model with the policy's tokenizer
    "local_reward",  # a torch function as reward
]


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
    parts: str = ""
    requires: tuple[Requirement, ...] = ()
    problems: Callable[[Any, Mapping[str, Any]], list[Problem]] | None = None


@dataclass(frozen=True)
class Problem:
    """An impossible combination found before anything runs: which setting, why it cannot work, what would."""

    field: str
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}. {self.fix}"
