"""Run a trace again with its recorded replies: the code really runs, the models do not.

Given the same Python, observations come out bit-identical. With the reply of one node replaced, the difference in score
is that node's own contribution (a research option: it costs a REPL, and no model call unless later prompts change).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .engine import RLM, Result
from .trace import CLIPPED, Trace
from .tree import CallFailed
from .types import LM, Reply, Status


class ReplayMismatch(CallFailed):
    """The run asked something else than the recorded one did; there is no recorded reply for it."""


class ReplayLM:
    """Recorded replies as a model.

    Args:
        trace: the recorded run.
        strict: a turn of a conversation with a REPL is answered only when its prompt is the recorded one; otherwise the
            recorded code runs whatever it is shown. `llm` prompts must always be the recorded ones.
        overrides: node id -> text that this node answers instead.
        fallback: model for requests that the recording does not cover; None refuses them.
    """

    def __init__(
        self, trace: Trace, overrides: Mapping[str, str] | None = None, fallback: LM | None = None, strict: bool = True
    ) -> None:
        self.strict = strict
        self.trace, self.overrides, self.fallback = trace, dict(overrides or {}), fallback
        self.replayed = self.asked = 0

    async def __call__(
        self, messages: Sequence[Mapping[str, Any]], *, n_max_tokens: int, seed: int, tags: Mapping[str, Any]
    ) -> Reply:
        node = self.trace.nodes.get(tags["node"])
        if tags["node"] in self.overrides:
            return Reply(self.overrides[tags["node"]], prompt_tokens=0, completion_tokens=0)
        turn = tags["turn"]
        if node is not None and turn < len(node.turns):
            record = node.turns[turn]
            if CLIPPED in record.reply.text:
                raise ReplayMismatch(f"node {node.id}: the reply was clipped on disk; replay from memory")
            recorded = node.messages[: record.n_messages]
            held = not self.strict and node.kind == "rlm"
            if held or [dict(m) for m in messages] == recorded:
                self.replayed += 1
                return record.reply
        elif node is not None and node.status in (Status.LM_ERROR, Status.BUDGET, Status.TIMEOUT):
            raise CallFailed(node.error)
        if self.fallback is None:
            raise ReplayMismatch(f"node {tags['node']} turn {turn}: the prompt is not the recorded one")
        self.asked += 1
        return await self.fallback(messages, n_max_tokens=n_max_tokens, seed=seed, tags=tags)


async def replay(
    rlm: RLM,
    trace: Trace,
    context: Any,
    overrides: Mapping[str, str] | None = None,
    fallback: LM | None = None,
    strict: bool = True,
) -> Result:
    """Run a recorded trace again with `rlm`'s limits, prompt and REPLs.

    Args:
        rlm: the engine it was made with, or one with the same settings.
        trace: the recorded run.
        context: the same context; the trace does not hold it.
        overrides, fallback, strict: see `ReplayLM`.

    Raises:
        ValueError: the context is another one.
    """
    from .context import Context

    wrapped = Context.of(context)
    root = trace.root
    if wrapped.sha256 != root.context_sha256:
        raise ValueError("the context is not the one the trace was made with (sha256 differs)")
    player = ReplayLM(trace, overrides, fallback, strict)
    again = rlm.with_models(player)
    return await again.run(wrapped, root.question, seed=root.seed)


async def difference_reward(
    rlm: RLM,
    trace: Trace,
    context: Any,
    score: Callable[[str], float],
    node_id: str,
    neutral: str = "",
    fallback: LM | None = None,
) -> float | None:
    """Score of the tree minus its score with one node's answer replaced by `neutral`.

    The recorded code is held fixed; only what it computes changes.

    Returns:
        None when the changed run could not be finished (it asked a sub-model what was never recorded, and there is no
        fallback).
    """
    if node_id not in trace.nodes:
        raise ValueError(f"node_id is {node_id!r}; the trace has {', '.join(list(trace.nodes)[:5])} ...")
    changed = await replay(rlm, trace, context, {node_id: neutral}, fallback, strict=False)
    if changed.status in (Status.LM_ERROR, Status.REPL_DEAD, Status.CANCELLED):
        return None
    return score(trace.root.answer or "") - score(changed.answer or "")
