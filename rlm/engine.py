"""`RLM`: run a recursive language model on a context and a question."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .context import Context
from .conversation import Conversation, Outcome, converse
from .prompt import Prompt
from .repl import ReplFactory
from .trace import Node, Trace
from .tree import Listener, Tree
from .types import LM, Limits, Status, TreeUsage
from .worker import Backend, Worker


@dataclass(frozen=True)
class Result:
    """What a run gives back. It does not raise for anything the model, the context or the network did.

    Attributes:
        answer: the submitted answer; None unless `status` is ``answered``.
        status: how the run ended.
        partial: what `answer["content"]` held last, submitted or not.
        usage: requests, tokens and cost of the whole tree, by depth and by model.
        trace: the tree.
        error: why it ended, when not by an answer.
    """

    answer: str | None
    status: Status
    partial: str
    usage: TreeUsage
    trace: Trace = field(repr=False)
    error: str = ""


class RLM:
    """A recursive language model: one object, many runs, concurrently if you like.

    Args:
        root: model that writes code; any `LM` or `palaestra.lm.LanguageModel`.
        sub: model of `llm` calls; the root model when None.
        limits: limits of each run's tree.
        repl: ``fork`` (a session forked from a process that holds the context; default), ``process`` (one process a
            conversation), ``docker``, ``unsafe_inprocess`` (no isolation at all), or a factory of your own.
        prompt: what the models are told.
        fences: info words of code blocks to run.
        echo_last_expr: show the value of a block's last expression.
        listener: told of each step of every run.

    Example:
        >>> from palaestra.rlm.testing import ScriptedLM
        >>> model = ScriptedLM(["```repl\\nsubmit(context.count('a'))\\n```"])
        >>> result = RLM(model, repl="unsafe_inprocess").run_sync("banana", "How many a?")
        >>> result.status.value, result.answer
        ('answered', '3')
    """

    def __init__(
        self,
        root: Any,
        sub: Any = None,
        limits: Limits = Limits(),
        repl: Backend | ReplFactory = "fork",
        prompt: Prompt = Prompt(),
        fences: Sequence[str] = ("repl", "python"),
        echo_last_expr: bool = True,
        listener: Listener | None = None,
    ) -> None:
        from .lms import as_lm

        self.root: LM = as_lm(root)
        self.sub: LM = as_lm(sub) if sub is not None else self.root
        self.limits, self.prompt, self.fences, self.listener = limits, prompt, tuple(fences), listener
        self._worker = Worker(repl, echo=echo_last_expr) if isinstance(repl, str) else None
        self._factory: ReplFactory = self._worker if self._worker is not None else repl  # type: ignore[assignment]
        self._trees: set[Tree] = set()
        self._tasks: dict[asyncio.Task[Outcome], Tree] = {}

    def tree(self, seed: int = 0, trace_path: str | Path | None = None) -> Tree:
        """A new tree with this engine's models and limits (the environment drives one step by step)."""
        return Tree(self.limits, self.root, self.sub, Trace(trace_path), seed, self.listener)

    def conversation(self, tree: Tree, context: Any, question: str) -> Conversation:
        """The root conversation of a tree."""
        node = Node("0", None, -1, 0, 0, "rlm", tree.seed)
        return Conversation(tree, node, Context.of(context), question, self.prompt, self._factory, self.fences)

    def with_models(self, root: LM, sub: LM | None = None) -> RLM:
        """An engine with other models and everything else shared, REPL processes included."""
        twin = copy.copy(self)
        twin.root, twin.sub = root, sub if sub is not None else root
        twin._trees, twin._tasks, twin._worker = set(), {}, None  # the worker is closed by its owner
        return twin

    async def run(self, context: Any, question: str, *, seed: int = 0, trace_path: str | Path | None = None) -> Result:
        """Answer one question.

        Args:
            context: text, bytes, list of texts, mapping of texts, or a JSON value.
            question: what is asked.
            seed: from which every call's seed is derived.
            trace_path: write the trace there as the run goes.

        Raises:
            TypeError: the context is none of these.
            asyncio.CancelledError: the surrounding task was cancelled; everything under way was stopped first.
        """
        wrapped = Context.of(context)
        tree = self.tree(seed, trace_path)
        self._trees.add(tree)
        conversation = self.conversation(tree, wrapped, question)
        task = asyncio.ensure_future(converse(conversation))
        self._tasks[task] = tree
        try:
            outcome = await task
        except asyncio.CancelledError:
            if not tree.cancelled:  # cancelled from outside
                await _wait_cancelled(task)
                raise
            outcome = conversation.outcome or Outcome(Status.CANCELLED, None, "")
        finally:
            self._trees.discard(tree)
            self._tasks.pop(task, None)
            tree.trace.close(seed=seed, usage=usage_row(tree.ledger.usage))
        return Result(outcome.answer, outcome.status, outcome.partial, tree.ledger.usage, tree.trace, outcome.error)

    def run_sync(self, context: Any, question: str, **options: Any) -> Result:
        """`run` for code without an event loop; REPL processes are closed at the end."""

        async def once() -> Result:
            try:
                return await self.run(context, question, **options)
            finally:
                await self.close()

        return asyncio.run(once())

    async def run_many(self, jobs: Sequence[tuple[Any, str]], *, seed: int = 0) -> list[Result]:
        """Several runs at once; run i has seed ``seed + i``. Contexts that are the same object are loaded once."""
        wrapped: dict[int, Context] = {}
        contexts = [wrapped.setdefault(id(context), Context.of(context)) for context, _ in jobs]
        return list(
            await asyncio.gather(
                *(self.run(c, q, seed=seed + i) for i, (c, (_, q)) in enumerate(zip(contexts, jobs, strict=True)))
            )
        )

    async def drain(self, mode: Literal["wait", "cancel"] = "wait") -> None:
        """Stop sending requests in all runs and wait until none is under way; then weights may change. Requests taken
        back by ``cancel`` are sent again after `resume`."""
        await asyncio.gather(*(tree.drain(mode) for tree in list(self._trees)))

    def resume(self) -> None:
        """Go on after `drain`."""
        for tree in list(self._trees):
            tree.resume()

    async def cancel(self) -> None:
        """End all runs; each gives a result with status ``cancelled``."""
        for task, tree in list(self._tasks.items()):
            tree.cancelled = True
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def close(self) -> None:
        """Cancel what runs and end all REPL processes. Twice is safe."""
        await self.cancel()
        if self._worker is not None:
            await self._worker.close()

    async def __aenter__(self) -> RLM:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def _wait_cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


def usage_row(usage: TreeUsage) -> dict[str, Any]:
    """Usage as JSON."""
    return {
        "total": vars(usage.total),
        "by_depth": {str(depth): vars(row) for depth, row in usage.by_depth.items()},
        "by_model": {model: vars(row) for model, row in usage.by_model.items()},
    }
