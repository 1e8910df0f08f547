"""One conversation with a REPL: replies go in, cells run, observations come out. Engine and environment share it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .context import Context
from .fences import find_blocks
from .prompt import Prompt
from .repl import CALLS, CellOutcome, Repl, ReplDead, ReplFactory, StopCell, Uploads, text_list
from .trace import Cell, Node, TurnRecord
from .tree import CallFailed, Tree, gather
from .types import BudgetExceeded, Reply, Status

MAX_RESTARTS = 5
_SHORT_PROMPT = 2_000


@dataclass(frozen=True)
class Outcome:
    """How a conversation ended. `answer` is set only when the model submitted; `partial` is what `answer` held last.
    `infra` says that the machinery failed, not the model: such a run has no score."""

    status: Status
    answer: str | None
    partial: str
    error: str = ""
    infra: bool = False


class Conversation:
    """A node with a REPL.

    Args:
        tree: the run it belongs to.
        node: its place in the tree, opened by `start`.
        context, question: what it is about.
        prompt: words.
        factory: makes REPLs.
        fences: info words of code blocks.
    """

    def __init__(
        self,
        tree: Tree,
        node: Node,
        context: Context,
        question: str,
        prompt: Prompt,
        factory: ReplFactory,
        fences: tuple[str, ...],
    ) -> None:
        self.tree, self.node, self.prompt = tree, node, prompt
        self.outcome: Outcome | None = None
        self._context, self._question, self._factory, self._fences = context, question, factory, fences
        self._repl: Repl | None = None
        self._partial = ""
        self._idle = 0
        self._cell_calls = 0
        self._turn_calls = 0
        self._refusals = 0
        self._uploads = Uploads()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far; it only grows."""
        return self.node.messages

    def start(self) -> list[dict[str, Any]]:
        """Open the node; returns the first messages. The REPL is opened by the first block of code."""
        limits = self.tree.limits
        node = self.node
        node.question, node.context_kind, node.context_chars = self._question, self._context.kind, self._context.chars
        node.context_sha256 = self._context.sha256
        system = self.prompt.system(limits)
        if system:
            node.messages.append({"role": "system", "content": system})
        node.messages.append(
            {"role": "user", "content": self.prompt.first(self._question, self._context.describe(), limits)}
        )
        self.tree.open(node)
        return list(node.messages)

    async def _new_repl(self) -> None:
        self._repl = self._factory(self._context, self._question, self.tree.limits, self._handle)
        await self._repl.start()

    async def act(self, reply: Reply, refuse_answer: bool = False) -> list[dict[str, Any]]:
        """Take the model's reply, run its code, and return the new observation messages; none when it is over.

        Args:
            reply: what the model wrote.
            refuse_answer: an answer submitted in this turn does not count.
        """
        if self.outcome is not None:
            raise RuntimeError("the conversation is over; start a new one")
        began = time.monotonic()
        node, limits = self.node, self.tree.limits
        record = TurnRecord(len(node.messages), reply)
        node.turns.append(record)
        node.messages.append({"role": "assistant", "content": reply.text})
        self._turn_calls = 0
        notes: list[str] = []
        output: list[str] = []
        blocks = find_blocks(reply.text, self._fences)
        cut = reply.finish_reason == "length"
        if cut and blocks and not blocks[-1].closed:
            blocks.pop()
            notes.append("Your reply was cut off at the token limit inside a block; that block was not run.")
        elif not blocks:
            notes.append(self.prompt.reminder)
        self._idle = 0 if blocks else self._idle + 1
        dead: ReplDead | None = None
        for block in blocks:
            try:
                outcome = await self._run(block.code)
            except ReplDead as error:
                dead = error
                record.cells.append(Cell(block.code, status="dead"))
                break
            record.cells.append(
                Cell(
                    block.code, outcome.output, outcome.status, outcome.seconds, outcome.omitted,
                    self._cell_calls, outcome.state_lost,
                )
            )  # fmt: skip
            output.append(outcome.output)
            notes += self._notes(outcome)
            if outcome.content or outcome.kind:
                self._partial = outcome.content
            if outcome.ready and refuse_answer:
                notes.append("Not accepted: an answer in the first turn. Look at the context, then submit again.")
            elif outcome.ready:
                self._finish(Status.ANSWERED, outcome.content)
                break
            if outcome.status != "ok":
                break
            if self.tree.ledger.seconds_left <= 0:
                break
        done = len(node.turns)
        if self.outcome is None:
            if dead is not None:
                self._finish(Status.REPL_DEAD, error=str(dead), infra=dead.infra)
            elif self.tree.ledger.seconds_left <= 0:
                self._finish(Status.TIMEOUT, error="the time limit of the run has passed")
            elif self._idle >= limits.idle_turns:
                self._finish(Status.NO_ANSWER, error=f"{self._idle} replies in a row held no code")
            elif done >= limits.max_turns:
                self._finish(Status.TURN_LIMIT, error=f"{limits.max_turns} turns are used up")
        fresh: list[dict[str, Any]] = []
        if self.outcome is None:
            mark = hashlib.sha256(f"{self.tree.seed}/{node.id}/{done}/output".encode()).hexdigest()[:6]
            text = self.prompt.observation("".join(output), mark, notes, done + 1, limits.max_turns)
            fresh = [{"role": "user", "content": text}]
            node.messages += fresh
        record.seconds = time.monotonic() - began
        self.tree.trace.turn(node)
        self.tree.tell("turn", node)
        if self.outcome is not None:
            self._close_node()
        return fresh

    def _notes(self, outcome: CellOutcome) -> list[str]:
        limits = self.tree.limits
        notes = []
        if outcome.status == "timeout":
            notes.append(f"The cell was stopped: it took longer than {limits.cell_s:g} s.")
        elif outcome.status == "killed":
            notes.append("The cell was stopped by the host: it went on calling after its budget was spent.")
        elif outcome.status == "memory":
            notes.append(f"The cell was stopped: it used more than {(limits.mem_bytes or 0) >> 20} MiB.")
        elif outcome.status not in ("ok", "exception", "exit"):
            notes.append(f"The cell was stopped ({outcome.status}).")
        if outcome.state_lost:
            notes.append("The REPL was restarted: your variables are gone; context and question are there again.")
        if outcome.problem:
            notes.append(f"Not accepted: {outcome.problem}.")
        if outcome.restored:
            notes.append(f"These names belong to the REPL and were put back: {', '.join(outcome.restored)}.")
        return notes

    async def _run(self, code: str) -> CellOutcome:
        """Run one block, with a fresh REPL afterwards when it lost its state."""
        if self._repl is None:
            await self._new_repl()
        assert self._repl is not None
        self._cell_calls = self._refusals = 0
        self._uploads = Uploads()
        outcome = await self._repl.run(code, max(0.05, min(self.tree.limits.cell_s, self.tree.ledger.seconds_left)))
        if outcome.state_lost:
            self.node.restarts += 1
            await self._repl.close()
            self._repl = None
            if self.node.restarts > MAX_RESTARTS:
                raise ReplDead(f"the REPL was lost {self.node.restarts} times")
        return outcome

    def _finish(self, status: Status, answer: str | None = None, error: str = "", infra: bool = False) -> None:
        self.outcome = Outcome(status, answer, self._partial, error, infra)

    def _close_node(self) -> None:
        assert self.outcome is not None
        self.tree.end(self.node, self.outcome.status, self.outcome.answer, self.outcome.error)

    def stop(self, status: Status, error: str = "") -> None:
        """End from outside: the model failed, the budget is spent, the run was cancelled. Twice is safe."""
        if self.outcome is None:
            self._finish(status, error=error)
        if not self.node.status:
            self._close_node()

    @property
    def has_repl(self) -> bool:
        """Whether a REPL is open, which `close` would close."""
        return self._repl is not None

    async def close(self) -> None:
        """Close the REPL."""
        if self._repl is not None:
            await self._repl.close()

    # ------------------------------------------------------------------------------------- calls from the REPL
    async def _handle(self, name: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call of the running cell. `args` come from the worker and are checked here."""
        if name not in CALLS:
            raise ReplDead(f"unknown call {str(name)[:40]!r}")
        tree = self.tree
        if name == "remaining":
            turns = tree.limits.max_turns - len(self.node.turns)
            return {"left": tree.ledger.remaining(turns, self.node.depth)}
        if name == "upload":
            return self._uploads.add(args)
        prompts = text_list(args, "prompts")
        contexts = self._uploads.contexts(args.get("contexts"), len(prompts)) if name == "rlm" else None
        try:
            tree.ledger.reserve_calls(prompts)
        except BudgetExceeded as error:
            self._refusals += 1
            if self._refusals >= tree.limits.refusals_per_cell:
                raise StopCell(str(error)) from None
            return {"refused": f"{error.field}: {error}"}
        self._cell_calls += len(prompts)
        first, self._turn_calls = self._turn_calls, self._turn_calls + len(prompts)
        jobs = [
            self._child(first + i, prompt, contexts[i]) if contexts is not None else self._leaf(first + i, prompt)
            for i, prompt in enumerate(prompts)
        ]
        items = []
        for result in await gather(jobs):
            if isinstance(result, str):
                items.append({"text": result})
            elif isinstance(result, Outcome):
                reason = f"{result.status}: {result.error or 'no answer'}"
                items.append({"error": reason, "partial": result.partial[:10_000]})
            elif isinstance(result, CallFailed | BudgetExceeded):
                items.append({"error": str(result)})
            elif isinstance(result, BaseException):
                raise result
        return {"items": items}

    def _node(self, index: int, kind: str, note: str = "") -> Node:
        turn = len(self.node.turns) - 1
        path = f"{self.node.id}/{turn}.{index}"
        seed = self.tree.seed_of(path, 0)
        return Node(path, self.node.id, turn, index, self.node.depth + 1, kind, seed, note=note)  # type: ignore[arg-type]

    async def _leaf(self, index: int, prompt: str, note: str = "") -> str:
        node = self._node(index, "llm", note)
        self.tree.open(node)
        return await self.tree.leaf(node, prompt, self.prompt.leaf)

    async def _child(self, index: int, prompt: str, context: Any) -> str | Outcome:
        limits = self.tree.limits
        if self.node.depth + 1 > limits.max_depth:
            text = prompt if context is None else f"{prompt}\n\n{_as_text(context)}"
            if len(text) > limits.max_prompt_chars:
                raise CallFailed(
                    f"at the depth limit rlm acts as llm, and {len(text)} characters are too many for a prompt"
                )
            return await self._leaf(index, text, "rlm at the depth limit, answered by llm")
        if context is None:
            context = prompt
            prompt = prompt if len(prompt) <= _SHORT_PROMPT else "Do what `context` asks."
        async with self.tree.child_slot(self.node.depth + 1):
            child = Conversation(
                self.tree,
                self._node(index, "rlm"),
                Context.of(context),
                prompt,
                self.prompt,
                self._factory,
                self._fences,
            )
            outcome = await converse(child)
        return outcome.answer if outcome.answer is not None else outcome


async def converse(conversation: Conversation) -> Outcome:
    """Run a conversation to its end with the tree's root model. Never raises but for cancellation."""
    tree, node = conversation.tree, conversation.node
    try:
        conversation.start()
        while conversation.outcome is None:
            reply = await tree.request(node, node.messages, tree.root, tree.limits.reply_tokens)
            await conversation.act(reply)
    except BudgetExceeded as error:
        conversation.stop(Status.TIMEOUT if error.field == "wall_s" else Status.BUDGET, str(error))
    except CallFailed as error:
        conversation.stop(Status.LM_ERROR, str(error))
    except asyncio.CancelledError:
        conversation.stop(Status.CANCELLED)
        raise
    finally:
        if conversation.outcome is not None:
            conversation.stop(conversation.outcome.status)
        await asyncio.shield(conversation.close())
    assert conversation.outcome is not None
    return conversation.outcome


def _as_text(context: Any) -> str:
    if isinstance(context, str):
        return context
    if isinstance(context, list) and all(isinstance(item, str) for item in context):
        return "\n".join(context)
    return Context.of(context).blob.decode("utf-8", "replace")
