"""A rollout tree as nested `Rollout`s: what the trainer, the judges, the run folder and the viewer read.

Beside the fields every rollout has, a nested rollout carries its place and its price in `metrics`:

    depth, turn, call       level below the root; turn of the parent that called it, and number of the call in that turn
    repl                    1 when it has a REPL of its own (`rlm`), 0 for a single `llm` call
    turns, cells, code_errors, restarts
    prompt_tokens, completion_tokens, cost, unreported    of its own requests, without its descendants
    seconds                 from opening to end, descendants included
    weight                  share of the root's advantage its tokens are trained with

and its end in one `Feedback` with ``details``: ``status``, ``answer``, ``kind``, ``model``, ``note``. The answer is
what the caller got, clipped when it is long; None when there was none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from ..schema import Feedback, Message, Rollout, StopReason, Turn
from .samples import ChildWeight, has_tokens, node_weights
from .trace import Node, Trace, clip
from .types import Status, Usage

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
_UNSCORED = (Status.LM_ERROR, Status.REPL_DEAD, Status.CANCELLED)


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
    """The tree as nested rollouts; see the module for what children carry.

    Args:
        trace: the tree.
        reward: the root's, which its descendants share; nodes that failed have none.
        task_id: the root's; a descendant's is named by it and by its place.
        node: start here instead of at the root.
        child_weight, train_depths: as for `to_samples`.
        env_id: of all of them.
        rollout_id: the root's, and the beginning of its descendants'; made from `task_id` when None.
    """
    weights = node_weights(trace, child_weight)
    if train_depths is not None:
        weights = {name: w if trace.nodes[name].depth in train_depths else 0.0 for name, w in weights.items()}
    below = trace.by_parent()
    prefix = rollout_id or task_id

    def make(node: Node, own_id: str) -> Rollout:
        status = Status(node.status or Status.CANCELLED)
        unscored = status in _UNSCORED
        return Rollout(
            id=own_id,
            task_id=task_id if node.parent is None else f"{task_id}/{node.id}",
            env_id=env_id,
            messages=tuple(Message(**m) for m in node.messages),
            turns=tuple(_turns(node)),
            reward=None if unscored else reward,
            feedback=(_ending(node, status),),
            terminated=status is Status.ANSWERED,
            truncated=status is not Status.ANSWERED,
            stop_reason=stop_reason(status),
            error=node.error or status.value if unscored else None,
            metrics={"weight": weights.get(node.id, 0.0), **_numbers(node)},
            children=tuple(make(child, f"{prefix}/{child.id}") for child in below.get(node.id, [])),
        )

    start = node or trace.root
    return make(start, rollout_id or f"{task_id}/{start.id}")


def _turns(node: Node) -> list[Turn]:
    if not has_tokens(node):
        return []
    turns = []
    for turn in node.turns:
        reply = turn.reply
        stop: Literal["stop", "length"] = "length" if reply.finish_reason == "length" else "stop"
        turns.append(
            Turn(
                prompt_ids=reply.prompt_ids, completion_ids=reply.token_ids, logprobs=reply.logprobs, stop=stop,
                policy_version=reply.policy_version,
            )
        )  # fmt: skip
    return turns


def _numbers(node: Node) -> dict[str, float]:
    used = Usage()
    for turn in node.turns:
        used.add(turn.reply)
    cells = [cell for turn in node.turns for cell in turn.cells]
    return {
        "depth": float(node.depth),
        "turn": float(node.parent_turn),
        "call": float(node.call_index),
        "repl": float(node.kind == "rlm"),
        "turns": float(len(node.turns)),
        "cells": float(len(cells)),
        "code_errors": float(sum(cell.status != "ok" for cell in cells)),
        "restarts": float(node.restarts),
        "prompt_tokens": float(used.prompt_tokens),
        "completion_tokens": float(used.completion_tokens),
        "cost": used.cost,
        "unreported": float(used.unreported),
        "seconds": node.seconds,
    }


def _ending(node: Node, status: Status) -> Feedback:
    details: dict[str, Any] = {
        "status": status.value,
        "answer": None if node.answer is None else clip(node.answer),
        "kind": node.kind,
        "model": node.model,
        "note": node.note,
    }
    text = f"{status.value}: {node.error}" if node.error else status.value
    return Feedback(text=text, kind="error" if node.error else "info", details=details)
