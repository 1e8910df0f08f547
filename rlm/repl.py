"""What the engine needs of a REPL, and the checks on calls that come out of one. Backends: `worker`, `inprocess`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .context import Context
from .types import Limits

CALLS = ("llm", "rlm", "remaining", "upload")
MAX_UPLOAD = 200_000_000  # characters of long `rlm` contexts that one cell may send

Handler = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Answers one call from the REPL: ``(name, args) -> JSON``. The handler checks everything; args are untrusted."""


class ReplDead(RuntimeError):
    """The REPL broke its protocol or could not be started; the run ends, the host goes on.

    Attributes:
        infra: the machinery failed; model code had no part in it.
    """

    def __init__(self, message: str, infra: bool = False) -> None:
        super().__init__(message)
        self.infra = infra


class StopCell(Exception):
    """Raised by a handler: the cell must be ended now (it goes on asking after its budget is spent)."""


@dataclass(frozen=True)
class CellOutcome:
    """What a cell did.

    Attributes:
        status: ``ok``, ``exception``, ``exit``, ``timeout``, ``killed``, ``memory``, ``output``.
        output: what is shown to the model: printed text, value of the last expression, traceback; already cut.
        omitted: characters or bytes left out.
        ready: the model submitted.
        content: what `answer` holds, as text.
        kind: type name of what it holds.
        problem: why a submitted answer was not accepted; shown to the model.
        restored: names that were overwritten and put back.
        state_lost: the variables are gone.
        seconds: time of the cell, waiting for sub-calls included.
    """

    status: str = "ok"
    output: str = ""
    omitted: int = 0
    ready: bool = False
    content: str = ""
    kind: str = ""
    problem: str = ""
    restored: tuple[str, ...] = ()
    state_lost: bool = False
    seconds: float = 0.0


class Repl(Protocol):
    """One namespace that lasts. `start` once, `run` per block, `close` always (twice is safe)."""

    async def start(self) -> None: ...

    async def run(self, code: str, seconds: float) -> CellOutcome:
        """Run one block.

        Args:
            code: the block.
            seconds: time the cell may take.

        Raises:
            ReplDead: the REPL is not usable any more.
        """
        ...

    async def close(self) -> None: ...


ReplFactory = Callable[[Context, str, Limits, Handler], Repl]
"""``(context, question, limits, handler) -> Repl``, not yet started."""


def read_report(value: Any, limits: Limits) -> dict[str, Any]:
    """Check the report on `answer` that came from a worker; whatever is not as it should be counts as absent."""
    row = value if isinstance(value, Mapping) else {}
    content = row.get("content")
    problem, restored = row.get("problem"), row.get("restored")
    out: dict[str, Any] = {
        "ready": row.get("ready") is True,
        "content": content if isinstance(content, str) else "",
        "kind": str(row.get("kind", ""))[:40],
        "problem": problem[:300] if isinstance(problem, str) else "",
        "restored": tuple(str(name)[:40] for name in restored[:20]) if isinstance(restored, list) else (),
    }
    if len(out["content"]) > limits.answer_chars:
        out.update(ready=False, content=out["content"][:1000], problem="the answer is too long")
    return out


def text_list(args: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts out of untrusted arguments.

    Raises:
        ReplDead: it is something else; the worker's own functions never send that.
    """
    value = args.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ReplDead(f"a call came without a list of texts in {name!r}")
    return value


class Uploads:
    """Long contexts on their way out of a cell, in pieces."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[str]] = {}
        self._chars = 0

    def add(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Take one piece; the first one has no number and gets one.

        Raises:
            ReplDead: malformed.
            StopCell: more than a cell may send.
        """
        number, text = args.get("number"), args.get("text")
        if not isinstance(text, str):
            raise ReplDead("an upload came without text")
        self._chars += len(text)
        if self._chars > MAX_UPLOAD:
            raise StopCell(f"a cell may send {MAX_UPLOAD} characters of contexts")
        if number is None:
            number = len(self._pieces)
            self._pieces[number] = []
        if type(number) is not int or number not in self._pieces:
            raise ReplDead("an upload names an unknown number")
        self._pieces[number].append(text)
        return {"number": number}

    def contexts(self, value: Any, n: int) -> list[Any]:
        """The contexts of an `rlm` call, one a prompt.

        Raises:
            ReplDead: malformed.
        """
        if not isinstance(value, list) or len(value) != n:
            raise ReplDead("an rlm call came without one context a prompt")
        return [self._one(row) for row in value]

    def _one(self, row: Any) -> Any:
        if isinstance(row, dict) and "value" in row:
            return row["value"]
        number = row.get("upload") if isinstance(row, dict) else None
        if type(number) is not int or number not in self._pieces:
            raise ReplDead("an rlm call came with a malformed context")
        text = "".join(self._pieces[number])
        try:
            return json.loads(text) if row.get("json") is True else text
        except (ValueError, RecursionError):
            raise ReplDead("an rlm call came with a context that is not JSON") from None
