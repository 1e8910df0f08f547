"""A bounded set of daemon threads. A thread that hangs in a slow environment blocks neither the others nor the exit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Workers:
    """Runs plain functions for coroutines, at most ``size`` at once.

    Args:
        size: how many threads; they start when they are needed.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"workers={size}: give at least 1")
        self.size = size
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run ``function`` in a thread and wait for it. Cancelling stops the waiting and not the function."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(value: Any, error: BaseException | None) -> None:
            if not future.done():
                future.set_exception(error) if error is not None else future.set_result(value)

        def task() -> None:
            try:
                value, error = function(), None
            except BaseException as exc:
                value, error = None, exc
            with suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(settle, value, error)

        with self._lock:
            if self._idle == 0 and len(self._threads) < self.size:
                thread = threading.Thread(target=self._work, name="palaestra-env", daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._idle = max(0, self._idle - 1)
        self._tasks.put(task)
        return await future

    def close(self) -> None:
        """Let every thread end after what it is doing."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            with self._lock:
                self._idle += 1
