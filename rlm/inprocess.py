"""The `unsafe_inprocess` REPL: a thread of this process. Model code can do anything this process can.

For development and for platforms without the sandbox. It has no memory limit, and a cell that hangs in C cannot be
ended; one over its time is interrupted by an exception at the next byte code.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import threading
import time
from collections.abc import Mapping
from typing import Any

from . import guest
from .context import Context
from .repl import CellOutcome, Handler, ReplDead, StopCell, read_report
from .types import Limits
from .worker import GRACE_S, _assemble


class InProcessRepl:
    """See the module. Arguments as for `repl.ReplFactory`."""

    def __init__(self, context: Context, question: str, limits: Limits, handler: Handler, echo: bool = True) -> None:
        self._limits, self._handler = limits, handler
        self._context, self._question = context, question
        self._printed = io.StringIO()
        self._cells = guest.Cells(self._call, self._printed, limits.output_chars, echo)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: Exception | None = None
        self._waiting = 0
        self._wake = asyncio.Event()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        value = guest.decode_context(self._context.blob, self._context.layout())
        self._cells.begin(value, self._question, self._limits.answer_chars)

    def _call(self, name: str, args: Mapping[str, Any]) -> dict[str, Any]:
        assert self._loop is not None
        answer = asyncio.run_coroutine_threadsafe(self._answer(name, args), self._loop).result()
        if answer is None:
            raise KeyboardInterrupt
        return answer

    async def _answer(self, name: str, args: Mapping[str, Any]) -> dict[str, Any] | None:
        self._waiting += 1
        self._wake.set()
        try:
            return await self._handler(name, args)
        except (StopCell, ReplDead) as error:
            self._stop = error
            return None
        finally:
            self._waiting -= 1
            self._wake.set()

    async def run(self, code: str, seconds: float) -> CellOutcome:
        assert self._loop is not None, "start() first"
        self._stop = None
        self._printed.seek(0)
        self._printed.truncate()
        began = time.monotonic()
        done: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        thread = threading.Thread(target=self._exec, args=(code, done), daemon=True)
        thread.start()
        try:
            late = await self._watch(done, seconds)
        except asyncio.CancelledError:
            _interrupt(thread)
            raise
        if late:
            _interrupt(thread)
            await asyncio.wait([done], timeout=GRACE_S)
        if isinstance(self._stop, ReplDead):
            raise self._stop
        if not done.done():
            raise ReplDead("a cell could not be interrupted, and a thread cannot be killed")
        row = done.result()
        status = "timeout" if late else "killed" if self._stop else row["status"]
        shown, omitted = _assemble(self._printed.getvalue(), "", row, self._limits.output_chars)
        return CellOutcome(status, shown, omitted, seconds=time.monotonic() - began, **read_report(row, self._limits))

    async def _watch(self, done: asyncio.Future[dict[str, Any]], seconds: float) -> bool:
        """Wait for the cell; True when it is over its time. The clock stands still while it waits for calls."""
        left, clock = seconds, time.monotonic()
        while not done.done():
            self._wake.clear()
            wake: asyncio.Future[Any] = asyncio.ensure_future(self._wake.wait())
            paused = self._waiting and not self._limits.cell_s_includes_subcalls
            patience = None if paused else max(0.0, left)
            both: list[asyncio.Future[Any]] = [done, wake]
            await asyncio.wait(both, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            wake.cancel()
            now = time.monotonic()
            if patience is not None:
                left -= now - clock
                if left <= 0 and not done.done():
                    return True
            clock = now
        return False

    def _exec(self, code: str, done: asyncio.Future[dict[str, Any]]) -> None:
        try:
            row = self._cells.run(code)
        except BaseException as error:  # the interrupt came after the cell's end
            row = {"status": "exception", "shown": type(error).__name__}
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, done, row)

    async def close(self) -> None:
        self._cells.space.clear()


def _settle(done: asyncio.Future[dict[str, Any]], row: dict[str, Any]) -> None:
    if not done.done():
        done.set_result(row)


def _interrupt(thread: threading.Thread) -> None:
    if thread.ident:
        kind = ctypes.py_object(KeyboardInterrupt)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), kind)
