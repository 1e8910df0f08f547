"""One command of a session under way: its clock, the host calls it makes, and the result it ends with."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .channel import ChannelClosed
from .guest import values
from .guest.frames import Frame, FrameError
from .slots import OVERDUE_S
from .types import CellResult, SandboxError

if TYPE_CHECKING:
    from .session import Inbox, SessionHub


class Cell:
    """One command under way: its clock, its host calls, its end."""

    def __init__(
        self, hub: SessionHub, branch: int, host_calls: Mapping[str, Callable[..., Any]], number: int, timeout_s: float
    ) -> None:
        self.hub, self.branch, self.number = hub, branch, number
        self.host_calls = host_calls
        self.left = timeout_s
        self.started = self.clock = time.monotonic()
        self.calls: set[asyncio.Task[None]] = set()
        self.count = 0
        self.ended_by: str | None = None
        self.reason = ""
        self.timer: asyncio.Timeout | None = None

    async def finish(self, inbox: Inbox) -> CellResult:
        """Serve host calls until the cell is done, has died, or was ended."""
        while True:
            try:
                async with asyncio.timeout(self._patience()) as self.timer:
                    word = await self.hub.next_word(inbox)
            except TimeoutError:
                self.hub.take_what_is_there()  # when this loop was late, the cell may have ended in time
                if not inbox.words:
                    await self._overdue()
                continue
            if isinstance(word, Exception):
                raise word
            op = word.header.get("op")
            if op == "host_call":
                self._host_call(word)
            elif op == "cell" and word.header.get("id") == self.number:
                return self._done(word)
            elif op in ("ended", "closed"):
                return self._died(word)

    def _charge(self) -> None:
        """Count the time since the last look, unless the host had calls to answer."""
        now = time.monotonic()
        if not self.calls or self.ended_by is not None:
            self.left -= now - self.clock
        self.clock = now

    def _patience(self) -> float | None:
        """Seconds until the limit; the clock stands still while the host has calls to answer."""
        self._charge()
        return None if self.calls and self.ended_by is None else max(0.0, self.left)

    async def _overdue(self) -> None:
        if self.ended_by is None:
            self.ended_by, self.reason = "timeout_wall", "the cell passed its wall limit"
            self.left, self.clock = self.hub.spec.grace_s, time.monotonic()
            await self.hub.send({"op": "interrupt", "branch": self.branch})
        else:
            self.left, self.clock = OVERDUE_S, time.monotonic()
            words = {"op": "kill", "branch": self.branch, "verdict": self.ended_by, "reason": self.reason}
            await self.hub.send(words)

    def _host_call(self, word: Frame) -> None:
        self._charge()
        self.count += 1
        task = asyncio.get_running_loop().create_task(self._answer(word))
        self.calls.add(task)

    async def _answer(self, word: Frame) -> None:
        header: dict[str, Any] = {"op": "reply", "branch": self.branch, "n": word.header["n"]}
        parts: dict[str, bytes] = {}
        try:
            if self.count > self.hub.spec.max_host_calls:
                raise RuntimeError(f"more than {self.hub.spec.max_host_calls} host calls in one cell")
            args, kwargs = values.decode(word.parts["args"])
            answer = self.host_calls[word.header["name"]](*args, **kwargs)
            if inspect.isawaitable(answer):
                answer = await answer
            parts["value"] = values.encode(answer)
        except Exception as error:
            header["error"] = f"{type(error).__name__}: {error}"[:2000]
        except asyncio.CancelledError:  # a thread of the guest may have outlived the cell, and waits
            header["error"] = "the cell has ended"
        try:
            if self.branch in self.hub.branches:
                await self.hub.send(header, parts)
        except ChannelClosed:
            self.hub.slot.healthy = False
        finally:
            self._patience_after_call()

    def _patience_after_call(self) -> None:
        """The clock runs again once the host has answered everything."""
        self._charge()
        current = asyncio.current_task()
        if current is not None:
            self.calls.discard(current)
        timer = self.timer
        if not self.calls and self.ended_by is None and timer is not None and not timer.expired():
            with contextlib.suppress(RuntimeError):  # the cell has just ended
                timer.reschedule(asyncio.get_running_loop().time() + max(0.0, self.left))

    def cancel_calls(self) -> None:
        """Drop host calls that are still being answered."""
        for task in self.calls:
            task.cancel()

    def _common(self, word: Frame) -> dict[str, Any]:
        keys = ("stdout_dropped", "stdout_cut", "stderr_dropped", "stderr_cut", "cpu_s")
        return {
            **{name: word.header[name] for name in keys if name in word.header},
            "stdout": word.parts.get("stdout", b""),
            "stderr": word.parts.get("stderr", b""),
            "wall_s": round(time.monotonic() - self.started, 6),
            "host_calls": self.count,
        }

    def _died(self, word: Frame) -> CellResult:
        verdict = word.header.get("verdict", "exit")
        if verdict == "closed":
            verdict = "exit"
        if verdict == "sandbox_error":
            raise SandboxError(str(word.header.get("reason")))
        return CellResult(verdict, reason=word.header.get("reason", ""), state_lost=True, **self._common(word))

    def _done(self, word: Frame) -> CellResult:
        guest, common = word.header.get("guest", {}), self._common(word)
        verdict, reason, error = "ok", "", guest.get("error")
        error = error if isinstance(error, dict) else None
        if error is not None:
            kind = str(error.get("type"))
            verdict = "memory" if kind == "MemoryError" else "exception"
            reason = f"{kind}: {error.get('message')}"[:300]
        elif "exit" in guest:
            verdict, reason = "exit", f"sys.exit({guest['exit']!r}) in a cell"[:100]
        elif "problem" in guest:
            verdict, reason = "exception", str(guest.get("message"))[:300]
        if word.header.get("overflowed"):
            verdict, reason = "output_limit", "the cell printed far more than is kept"
        if self.ended_by:
            verdict, reason = self.ended_by, self.reason
        value = arguments = None
        if "guest:value" in word.parts:
            try:
                value = values.decode(word.parts["guest:value"])
                if "guest:arguments" in word.parts:
                    arguments = values.decode(word.parts["guest:arguments"])
            except FrameError as problem:
                verdict, reason = "protocol_error", str(problem)
        return CellResult(
            verdict,  # type: ignore[arg-type]
            value_repr=word.parts.get("guest:repr", b"").decode("utf-8", "replace")[:20_000],
            value=value,
            arguments=arguments if isinstance(arguments, list) else None,
            problem=str(guest.get("problem", ""))[:100],
            reason=reason,
            error_type=str(error.get("type"))[:100] if error else "",
            error_message=str(error.get("message"))[:1000] if error else "",
            traceback=str(error.get("traceback"))[:20_000] if error else "",
            **common,
        )
