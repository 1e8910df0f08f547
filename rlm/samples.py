"""From a rollout tree to training data: exact token rows of every node, and how much each one counts.

A node whose history only grew gives one row; where the prompt of a turn does not begin with everything before it (a
template that rewrites history, a summary), a new row begins. Only sampled tokens are trained; nothing is re-tokenised.

Credit: all nodes inherit the root's advantage, times a weight per node.

    mean    weight of the parent / number of its children; a tree counts the same however many calls it made
    sum     weight of the parent
    sample  one child of each parent, drawn by `seed`, with the weight of the parent
    none    children are not trained
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from ..schema import Feedback, Message, Rollout, StopReason, Turn
from .tasks.base import seeded
from .trace import Node, Trace
from .types import Status

ChildWeight = Literal["mean", "sum", "sample", "none"]


@dataclass(frozen=True)
class TreeSample:
    """One training row.

    Attributes:
        node_id: the conversation it comes from.
        depth: of that node.
        ids: all token ids, prompt first.
        mask: True on sampled tokens.
        logprobs: of the sampled tokens, 0.0 elsewhere.
        versions: policy version that sampled a token, -1 elsewhere.
        weight: of the node.
        advantage: of the node.
        is_truncated: a reply of the row was cut at the token limit.
    """

    node_id: str
    depth: int
    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    logprobs: tuple[float, ...]
    versions: tuple[int, ...]
    weight: float
    advantage: float
    is_truncated: bool = False

    @property
    def n_sampled(self) -> int:
        """Tokens that are trained."""
        return sum(self.mask)


def has_tokens(node: Node) -> bool:
    """Whether the engine gave exact token ids for the node's turns."""
    return bool(node.turns) and all(turn.reply.token_ids and turn.reply.prompt_ids for turn in node.turns)


def node_weights(trace: Trace, child_weight: ChildWeight = "mean", seed: int = 0) -> dict[str, float]:
    """Weight of every node that has exact tokens; the root has 1."""
    if child_weight not in ("mean", "sum", "sample", "none"):
        raise ValueError(f"child_weight is {child_weight!r}; choose mean, sum, sample or none")
    weights: dict[str, float] = {trace.root.id: 1.0}
    for node in trace.walk():
        children = [child for child in trace.children(node) if has_tokens(child)]
        if not children:
            continue
        own = weights.get(node.id, 0.0)
        chosen = seeded(b"", "child", seed, node.id).pick(children) if child_weight == "sample" else None
        for child in children:
            share = {"mean": 1 / len(children), "sum": 1.0, "sample": float(child is chosen), "none": 0.0}[child_weight]
            weights[child.id] = own * share
    return weights


def to_samples(
    trace: Trace,
    advantage: float | Mapping[str, float],
    child_weight: ChildWeight = "mean",
    train_depths: Collection[int] | None = None,
    seed: int = 0,
) -> list[TreeSample]:
    """Training rows of a tree.

    Args:
        trace: a run whose models gave exact token ids; nodes without them are left out.
        advantage: the root's advantage, inherited by all nodes; or one a node id (others inherit the root's, ``"0"``).
        child_weight: see the module.
        train_depths: depths to train; None trains all.
        seed: for ``sample``.

    Returns:
        Rows with a weight other than 0, parents before children.
    """
    weights = node_weights(trace, child_weight, seed)
    of = advantage if isinstance(advantage, Mapping) else {trace.root.id: advantage}
    rows: list[TreeSample] = []
    for node in trace.walk():
        weight = weights.get(node.id, 0.0)
        if not weight or not has_tokens(node) or (train_depths is not None and node.depth not in train_depths):
            continue
        rows += _rows(node, weight, of.get(node.id, of[trace.root.id]))
    return rows


def _rows(node: Node, weight: float, advantage: float) -> list[TreeSample]:
    rows: list[TreeSample] = []
    ids: list[int] = []
    mask: list[bool] = []
    logprobs: list[float] = []
    versions: list[int] = []
    truncated = False

    def finish() -> None:
        if any(mask):
            rows.append(
                TreeSample(
                    node.id, node.depth, tuple(ids), tuple(mask), tuple(logprobs), tuple(versions), weight, advantage,
                    truncated,
                )
            )  # fmt: skip

    for turn in node.turns:
        reply = turn.reply
        known = len(ids)
        if list(reply.prompt_ids[:known]) != ids:
            finish()
            ids, mask, logprobs, versions, truncated, known = [], [], [], [], False, 0
        between = reply.prompt_ids[known:]
        ids += [*between, *reply.token_ids]
        mask += [False] * len(between) + [True] * len(reply.token_ids)
        logprobs += [0.0] * len(between) + list(reply.logprobs)
        versions += [-1] * len(between) + [reply.policy_version] * len(reply.token_ids)
        truncated = truncated or reply.finish_reason == "length"
    finish()
    return rows


_STOP = {
    Status.ANSWERED: StopReason.FINISHED,
    Status.NO_ANSWER: StopReason.INVALID_ACTION,
    Status.TURN_LIMIT: StopReason.TURN_LIMIT,
    Status.BUDGET: StopReason.BUDGET,
    Status.TIMEOUT: StopReason.TIMEOUT,
    Status.LM_ERROR: StopReason.ENV_ERROR,
    Status.REPL_DEAD: StopReason.ENV_ERROR,
    Status.CANCELLED: StopReason.CANCELLED,
}


def stop_reason(status: str) -> StopReason:
    """The shared word for how a node ended."""
    return _STOP[Status(status)]


def to_rollout(
    trace: Trace,
    reward: float | None,
    task_id: str,
    node: Node | None = None,
    child_weight: ChildWeight = "mean",
    train_depths: Collection[int] | None = None,
    env_id: str = "",
    rollout_id: str | None = None,
) -> Rollout:
    """The tree as nested rollouts: what the trainer, the judges and the viewer read.

    Children carry the root's reward and, in `metrics`, their ``weight`` and ``depth``. A child is a rollout of the
    sub-task, named by the task's id and its place in the tree.
    """
    weights = node_weights(trace, child_weight)
    if train_depths is not None:
        weights = {name: w if trace.nodes[name].depth in train_depths else 0.0 for name, w in weights.items()}

    def make(node: Node, own_id: str) -> Rollout:
        turns = []
        if has_tokens(node):
            for turn in node.turns:
                reply = turn.reply
                stop: Literal["stop", "length"] = "length" if reply.finish_reason == "length" else "stop"
                turns.append(Turn(
                    prompt_ids=reply.prompt_ids, completion_ids=reply.token_ids, logprobs=reply.logprobs, stop=stop,
                    policy_version=reply.policy_version,
                ))  # fmt: skip
        status = Status(node.status or Status.CANCELLED)
        infra = status in (Status.LM_ERROR, Status.REPL_DEAD, Status.CANCELLED)
        feedback = [Feedback(text=f"{status.value}: {node.error}", kind="error")] if node.error else []
        return Rollout(
            id=own_id,
            task_id=task_id if node.parent is None else f"{task_id}/{node.id}",
            env_id=env_id,
            messages=tuple(Message(**m) for m in node.messages),
            turns=tuple(turns),
            reward=None if infra else reward,
            feedback=tuple(feedback),
            terminated=status is Status.ANSWERED,
            truncated=status is not Status.ANSWERED,
            stop_reason=stop_reason(status),
            error=node.error or status.value if infra else None,
            metrics={
                "weight": weights.get(node.id, 0.0), "depth": float(node.depth), "turns": float(len(node.turns)),
            },
            children=tuple(make(child, f"{own_id}/{child.id}") for child in trace.children(node)),
        )  # fmt: skip

    start = node or trace.root
    return make(start, rollout_id or f"{task_id}/{start.id}")
