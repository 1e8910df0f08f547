"""Whether the server takes work: serving, paused (phase lock for a shared GPU) or draining."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from ..problems import Problem


class Lifecycle:
    """Counts work in flight and turns new work away while paused or draining."""

    def __init__(self) -> None:
        self.state: Literal["serving", "paused", "draining"] = "serving"
        self.in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Hold while serving a request.

        Raises:
            Problem: 503 with Retry-After when no work is taken.
        """
        if self.state != "serving":
            raise Problem(
                503, self.state, f"the judge server is {self.state}; try again later", retryable=True, retry_after=1.0
            )
        with self.holding():
            yield

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Count work that was admitted before (a running job)."""
        self.in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if self.in_flight == 0:
                self._idle.set()

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; False when that took too long."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
