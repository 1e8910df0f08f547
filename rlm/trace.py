"""The rollout tree: one node a conversation, appended to as it grows. Variables are never stored.

On disk a trace is JSON lines: ``node`` when a conversation opens, ``turn`` after each of its turns (only what is new),
``end`` when it closes. A turn costs the length of its own text, whatever the context.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from .types import Reply

NodeKind = Literal["rlm", "llm"]
CLIPPED = " characters left out, sha256 "
_LOGGED = 4_000  # characters of a prompt or reply of an `llm` node on disk; the hash covers the rest


@dataclass
class Cell:
    """One block of code and what came of it."""

    code: str
    output: str = ""
    status: str = "ok"
    seconds: float = 0.0
    omitted: int = 0
    calls: int = 0
    state_lost: bool = False


@dataclass
class TurnRecord:
    """One reply of the model and the cells it ran.

    Attributes:
        n_messages: messages of the node the reply was made from.
        reply: exactly what the engine gave, ids and log-probabilities included when it has them.
        cells: blocks run, in order.
        seconds: time in the harness: parsing, cells (sub-calls included), composing the observation.
    """

    n_messages: int
    reply: Reply
    cells: list[Cell] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Node:
    """One conversation: the root, a child with a REPL, or a single `llm` call.

    Attributes:
        id: path from the root: ``0``, ``0/2.5`` (turn 2, call 5 of that turn), ``0/2.5/0.1`` ...
        depth: 0 for the root.
        kind: ``rlm`` has a REPL, ``llm`` is one call.
        note: what the host did otherwise than asked, such as ``rlm at the depth limit, answered by llm``.
        messages: the conversation, appended to and never rewritten.
        answer: what was handed to the parent or to the caller.
    """

    id: str
    parent: str | None
    parent_turn: int
    call_index: int
    depth: int
    kind: NodeKind
    seed: int
    question: str = ""
    model: str = ""
    note: str = ""
    context_kind: str = ""
    context_chars: int = 0
    context_sha256: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    turns: list[TurnRecord] = field(default_factory=list)
    status: str = ""
    answer: str | None = None
    error: str = ""
    started: float = 0.0
    seconds: float = 0.0
    restarts: int = 0
    logged: int = 0  # messages already written to the log

    @property
    def policy_version(self) -> int:
        """Weights that sampled the first turn."""
        return self.turns[0].reply.policy_version if self.turns else 0


class Trace:
    """All nodes of one run, by id, in order of opening.

    Args:
        path: JSON-lines file to write as the run goes; None keeps the trace in memory only.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.nodes: dict[str, Node] = {}
        self.meta: dict[str, Any] = {}
        self._file: IO[str] | None = open(path, "w", encoding="utf-8") if path else None  # noqa: SIM115

    @property
    def root(self) -> Node:
        """The first node."""
        return next(iter(self.nodes.values()))

    def by_parent(self) -> dict[str | None, list[Node]]:
        """Direct children by the parent's id (None for the root), in order of (turn, call)."""
        found: dict[str | None, list[Node]] = {}
        for node in list(self.nodes.values()):  # a copy: a run in another thread may be opening nodes
            found.setdefault(node.parent, []).append(node)
        for row in found.values():
            row.sort(key=lambda n: (n.parent_turn, n.call_index))
        return found

    def children(self, node: Node) -> list[Node]:
        """Direct children of one node, in order of (turn, call); for all nodes see `by_parent`."""
        return self.by_parent().get(node.id, [])

    def walk(self) -> Iterator[Node]:
        """Nodes depth first, parents before children."""
        below = self.by_parent()
        todo = below.get(None, [])[::-1]
        while todo:
            node = todo.pop()
            yield node
            todo += below.get(node.id, [])[::-1]

    def open(self, node: Node) -> None:
        """Add a node."""
        self.nodes[node.id] = node
        if self._file:
            head = {k: v for k, v in asdict_shallow(node).items() if k not in ("messages", "turns", "logged")}
            self._write("node", node.id, **head, messages=self._fresh(node))

    def turn(self, node: Node) -> None:
        """Log the node's latest turn."""
        if self._file:
            last = node.turns[-1]
            reply = {k: v for k, v in asdict(last.reply).items() if v not in (None, ())}
            if node.kind == "llm":
                reply["text"] = clip(last.reply.text)
            cells = [asdict(cell) for cell in last.cells]
            extra = {"n_messages": last.n_messages, "seconds": round(last.seconds, 6)}
            self._write("turn", node.id, reply=reply, cells=cells, messages=self._fresh(node), **extra)

    def end(self, node: Node) -> None:
        """Log how the node ended."""
        if self._file:
            row = {"status": node.status, "answer": node.answer, "error": node.error, "seconds": node.seconds}
            if node.kind == "llm":
                row["answer"] = clip(node.answer or "")
            self._write("end", node.id, **row, restarts=node.restarts)

    def close(self, **meta: Any) -> None:
        """Write the run's summary and close the file."""
        self.meta.update(meta)
        if self._file:
            self._write("run", "", **self.meta)
            self._file.close()
            self._file = None

    def _fresh(self, node: Node) -> list[dict[str, Any]]:
        rows, node.logged = node.messages[node.logged :], len(node.messages)
        return [{**row, "content": clip(row["content"])} for row in rows] if node.kind == "llm" else rows

    def _write(self, event: str, node: str, **row: Any) -> None:
        assert self._file is not None
        line = json.dumps({"event": event, "node": node, **row}, ensure_ascii=True)
        self._file.write(line + "\n")
        self._file.flush()

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a trace from disk. A last line cut off by a crash is left out; `llm` texts may be clipped."""
        trace = cls()
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                if number == len(lines) - 1:
                    break
                raise ValueError(f"{path} line {number + 1} is not JSON; the file is damaged") from None
            event, node = row.pop("event"), row.pop("node")
            if event == "node":
                trace.nodes[node] = Node(**row)
            elif event == "turn":
                cells = [Cell(**cell) for cell in row["cells"]]
                reply: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row["reply"].items()}
                trace.nodes[node].turns.append(TurnRecord(row["n_messages"], Reply(**reply), cells, row["seconds"]))
                trace.nodes[node].messages += row["messages"]
            elif event == "end":
                for key, value in row.items():
                    setattr(trace.nodes[node], key, value)
            else:
                trace.meta = row
        return trace


def asdict_shallow(node: Node) -> dict[str, Any]:
    """Fields of a node without copying what is in them."""
    return {name: getattr(node, name) for name in node.__dataclass_fields__}


def clip(text: str) -> str:
    """The text, or its head and tail with a hash of the whole when it is long."""
    if len(text) <= _LOGGED:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    half = _LOGGED // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half}{CLIPPED}{digest} ...]\n{text[-half:]}"
