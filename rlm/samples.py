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

from .tasks.base import seeded
from .trace import Node, Trace

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
    below = trace.by_parent()
    for node in trace.walk():
        children = [child for child in below.get(node.id, []) if has_tokens(child)]
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
