"""One event loop in a thread of its own, shared by all environments of a process: where REPLs live.

An environment may be stepped from ordinary code, from any event loop, and from several one after another; REPLs and
their sub-calls stay on this one.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...rlm.worker import Backend, Worker

T = TypeVar("T")


class Host:
    """The loop, and the worker of each backend."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._workers: dict[str, Worker] = {}
        self._thread = threading.Thread(target=self.loop.run_forever, name="palaestra-repl", daemon=True)
        self._thread.start()

    def worker(self, backend: Backend) -> Worker:
        """The worker of a backend, made on first use."""
        if backend not in self._workers:
            self._workers[backend] = Worker(backend)
        return self._workers[backend]

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine there and wait, from ordinary code."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and await it from another loop; cancelling here cancels there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def close(self) -> None:
        """End all REPL processes. Later use starts new ones."""
        workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            self.run(worker.close(), timeout=30)


_host: Host | None = None
_lock = threading.Lock()


def host() -> Host:
    """The process's host; a forked process gets its own."""
    global _host
    with _lock:
        if _host is None or _host.pid != os.getpid():
            _host = Host()
        return _host


@atexit.register
def close() -> None:
    """End all REPL processes of this process's environments."""
    if _host is not None and _host.pid == os.getpid():
        _host.close()
