"""The state that one run's conversations share: budget, trace, models, calls under way, drain and cancellation."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from .budget import Ledger
from .trace import Node, Trace, TurnRecord
from .types import LM, BudgetExceeded, Limits, Reply, Status

Listener = Callable[[str, Node], None]
"""Told of ``("open" | "turn" | "end", node)`` as a run goes; for live views."""


class CallFailed(RuntimeError):
    """A language model call failed; the text is what the calling code may see."""


class Tree:
    """One run.

    Args:
        limits: shared by all nodes.
        root: model of nodes with a REPL.
        sub: model of `llm` calls.
        trace: where nodes go.
        seed: from which every call's own seed is derived.
        listener: told of each step.
    """

    def __init__(
        self, limits: Limits, root: LM, sub: LM, trace: Trace, seed: int = 0, listener: Listener | None = None
    ) -> None:
        self.limits, self.root, self.sub, self.trace, self.seed = limits, root, sub, trace, seed
        self.ledger = Ledger(limits)
        self.cancelled = False
        self._listener = listener
        self._gate = asyncio.Event()
        self._gate.set()
        self._drained_at = 0.0
        self._requests: set[asyncio.Task[Reply]] = set()
        self._children: dict[int, asyncio.Semaphore] = {}

    def tell(self, what: str, node: Node) -> None:
        """Inform the listener, if any."""
        if self._listener:
            self._listener(what, node)

    def open(self, node: Node) -> None:
        """Add a node to the trace and start its clock."""
        node.started = time.monotonic()
        self.trace.open(node)
        self.tell("open", node)

    def end(self, node: Node, status: str, answer: str | None = None, error: str = "") -> None:
        """Close a node."""
        node.status, node.answer, node.error = status, answer, error
        node.seconds = time.monotonic() - node.started
        self.trace.end(node)
        self.tell("end", node)

    def seed_of(self, node_id: str, turn: int) -> int:
        """A seed of its own for each call, the same in every run with the same tree seed."""
        digest = hashlib.sha256(f"{self.seed}/{node_id}/{turn}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1

    def child_slot(self, depth: int) -> asyncio.Semaphore:
        """Bounds the REPLs of one depth that are open at once; one bound a depth, so that parents never wait for
        themselves."""
        return self._children.setdefault(depth, asyncio.Semaphore(self.limits.max_concurrency))

    async def request(self, node: Node, messages: Sequence[Mapping[str, Any]], lm: LM, n_max_tokens: int) -> Reply:
        """One language-model request: reserved, sent, settled.

        A request cancelled by `drain` is sent again after `resume`, with the same seed.

        Raises:
            BudgetExceeded: refused before sending; or the wall limit passed while waiting for the reply.
            CallFailed: the model failed.
        """
        chars = sum(len(m["content"]) for m in messages)
        held = self.ledger.hold(chars, n_max_tokens, node.depth)
        tags = {"node": node.id, "depth": node.depth, "turn": len(node.turns), "kind": node.kind}
        seed = self.seed_of(node.id, len(node.turns))
        try:
            while True:
                async with self.ledger:
                    await self._gate.wait()
                    if self.ledger.seconds_left <= 0:
                        raise BudgetExceeded("wall_s", f"the time limit of {self.limits.wall_s:g} s has passed")
                    task = asyncio.ensure_future(lm(messages, n_max_tokens=n_max_tokens, seed=seed, tags=tags))
                    self._requests.add(task)
                    try:
                        done, _ = await asyncio.wait([task], timeout=self.ledger.seconds_left)
                    finally:
                        self._requests.discard(task)
                        if not task.done():
                            await _stop(task)
                if not done:
                    self.ledger.settle(held, None, node.model)
                    raise BudgetExceeded("wall_s", f"the time limit of {self.limits.wall_s:g} s has passed")
                if task.cancelled() and not self._gate.is_set():
                    continue
                reply = task.result()
                if not isinstance(reply, Reply):
                    raise CallFailed(f"the model gave a {type(reply).__name__}, not a Reply")
                self.ledger.settle(held, reply)
                node.model = node.model or reply.model
                return reply
        except (BudgetExceeded, CallFailed):
            raise
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self.cancelled or (current is not None and current.cancelling()):
                raise
            raise CallFailed("the request was cancelled") from None
        except Exception as error:
            self.ledger.settle(held, None, node.model)
            raise CallFailed(f"{type(error).__name__}: {str(error)[:500]}") from error
        finally:
            self.ledger.release(held)

    async def leaf(self, node: Node, prompt: str, system: str) -> str:
        """A single `llm` call under `node` (already opened).

        Raises:
            CallFailed, BudgetExceeded: as for `request`; the node is closed either way.
        """
        if system:
            node.messages.append({"role": "system", "content": system})
        node.messages.append({"role": "user", "content": prompt})
        try:
            reply = await self.request(node, node.messages, self.sub, self.limits.sub_reply_tokens)
        except BudgetExceeded as error:
            self.end(node, Status.TIMEOUT if error.field == "wall_s" else Status.BUDGET, error=str(error))
            raise
        except CallFailed as error:
            self.end(node, Status.LM_ERROR, error=str(error))
            raise
        except asyncio.CancelledError:
            self.end(node, Status.CANCELLED)
            raise
        node.turns.append(TurnRecord(len(node.messages), reply))
        node.messages.append({"role": "assistant", "content": reply.text})
        self.trace.turn(node)
        self.end(node, Status.ANSWERED, reply.text)
        return reply.text

    async def drain(self, mode: Literal["wait", "cancel"] = "wait") -> None:
        """Hold new requests back until `resume`, and wait until none is under way; ``cancel`` takes back those that
        are and sends them again later. Call it before the weights behind the models change."""
        if self._gate.is_set():
            self._gate.clear()
            self._drained_at = time.monotonic()
        pending = list(self._requests)
        if mode == "cancel":
            for task in pending:
                task.cancel()
        if pending:
            await asyncio.wait(pending)

    def resume(self) -> None:
        """Let requests go again. The time since `drain` does not count towards the wall limit."""
        if not self._gate.is_set():
            self.ledger.extend(time.monotonic() - self._drained_at)
            self._gate.set()

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._requests)


async def _stop(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait([task])


async def gather(jobs: Sequence[Awaitable[Any]]) -> list[Any]:
    """Results in order, exceptions among them; when this is cancelled, all of them are cancelled and waited for."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks, return_exceptions=True))
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        raise
