"""Adaptive admission to a judge endpoint: additive increase, multiplicative decrease, request and token rates.

One limiter stands before each endpoint and is shared by every request and job of the server, so that a 429 seen by
one of them slows all of them down. Runs that wait are served in turn.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from typing import Literal

from .context import current_run


class Bucket:
    """A token bucket filled at ``per_minute``; it holds at most ``burst_s`` seconds' worth and may go into debt."""

    def __init__(self, per_minute: float, burst_s: float = 5.0):
        self.rate = per_minute / 60
        self.capacity = max(self.rate * burst_s, 1.0)
        self.level = self.capacity
        self._stamp = time.monotonic()

    def wait_s(self, amount: float) -> float:
        """Seconds until ``amount`` may be taken. More than the capacity needs only a full bucket."""
        now = time.monotonic()
        self.level = min(self.capacity, self.level + (now - self._stamp) * self.rate)
        self._stamp = now
        return max(0.0, (min(amount, self.capacity) - self.level) / self.rate)

    def take(self, amount: float) -> None:
        """Take it (or give back a negative amount)."""
        self.level = min(self.capacity, self.level - amount)


class AdaptiveLimiter:
    """AIMD concurrency with optional rates; a `palaestra.lm.Limiter`.

    Args:
        start, minimum, maximum: concurrent requests to begin with, at least and at most.
        requests_per_minute, tokens_per_minute: rates of the endpoint, when known.
        max_queue: how many may wait before `full` says so.
    """

    def __init__(
        self,
        *,
        start: int = 8,
        minimum: int = 1,
        maximum: int = 64,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_queue: int = 10_000,
    ):
        if not 1 <= minimum <= start <= maximum:
            raise ValueError(
                f"concurrency must satisfy 1 <= minimum <= start <= maximum; got {minimum, start, maximum}"
            )
        self.limit = float(start)
        self.minimum, self.maximum, self.max_queue = minimum, maximum, max_queue
        self.in_flight = 0
        self._requests = Bucket(requests_per_minute) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute) if tokens_per_minute else None
        self._queues: OrderedDict[str, deque[tuple[asyncio.Future[None], int]]] = OrderedDict()
        self._successes = 0
        self._last_cut = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def queued(self) -> int:
        """Requests waiting for a place."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def full(self) -> bool:
        """Whether new work should be turned away."""
        return self.queued >= self.max_queue

    async def acquire(self, tokens: int) -> None:
        """Wait for a place in the run's turn."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(current_run.get(), deque()).append((place, tokens))
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release("error", tokens, 0)  # admitted and cancelled in the same moment
            raise

    def release(self, outcome: Literal["ok", "overload", "error"], estimated: int, used: int) -> None:
        """Give the place back and learn from the outcome."""
        self.in_flight -= 1
        if self._tokens is not None:
            self._tokens.take(used - estimated)
        now = time.monotonic()
        if outcome == "overload":
            # Requests that were already under way tell of the old limit; one cut a moment is enough.
            if now - self._last_cut > 0.05:
                self.limit = max(self.minimum, self.limit / 2)
                self._last_cut = now
            self._successes = 0
        elif outcome == "ok":
            self._successes += 1
            if self._successes >= self.limit:
                self.limit = min(self.maximum, self.limit + 1)
                self._successes = 0
        self._admit()

    def _admit(self) -> None:
        while self.in_flight < int(self.limit) and self._queues:
            run, queue = next(iter(self._queues.items()))
            while queue and queue[0][0].done():
                queue.popleft()
            if not queue:
                del self._queues[run]
                continue
            place, tokens = queue[0]
            wait = max(
                self._requests.wait_s(1) if self._requests else 0.0,
                self._tokens.wait_s(tokens) if self._tokens else 0.0,
            )
            if wait > 0:
                self._call_again(place.get_loop(), wait)
                return
            queue.popleft()
            self._queues.move_to_end(run)  # next turn: another run
            if self._requests:
                self._requests.take(1)
            if self._tokens:
                self._tokens.take(tokens)
            self.in_flight += 1
            place.set_result(None)

    def _call_again(self, loop: asyncio.AbstractEventLoop, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._admit)
