"""The ledger of a tree: every call is reserved before it is sent and settled when it ends, in one place on the host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .types import BudgetExceeded, Limits, Reply, TreeUsage

CHARS_PER_TOKEN = 4  # only for reservations; what is charged in the end is what the server counted


@dataclass
class Reservation:
    """Tokens and money held for one request that is under way."""

    tokens: int
    cost: float
    depth: int
    open: bool = True


class Ledger:
    """Counts and refuses. All methods run on one event loop without awaiting, so a reservation is atomic.

    Args:
        limits: limits of the tree.
        clock: monotonic clock, replaceable in tests.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.usage = TreeUsage()
        self.calls = 0
        self.in_flight = 0
        self.high_water = 0
        self._clock = clock
        self._start = clock()
        self._held_tokens = 0
        self._held_cost = 0.0
        self._cost_per_token = 0.0  # highest seen so far: reservations err on the careful side
        self._slots = asyncio.Semaphore(limits.max_concurrency)

    @property
    def seconds_left(self) -> float:
        """Seconds until the tree's wall limit; negative when it has passed."""
        return self.limits.wall_s - (self._clock() - self._start)

    def extend(self, seconds: float) -> None:
        """Move the wall limit, after a pause that was not the run's own."""
        self._start += seconds

    def reserve_calls(self, prompts: Sequence[str]) -> None:
        """Reserve a batch of sub-calls, all or none.

        Raises:
            BudgetExceeded: one limit would be passed; nothing was reserved.
        """
        limits, n = self.limits, len(prompts)
        if n > limits.max_calls_per_batch:
            raise BudgetExceeded(
                "max_calls_per_batch", f"batch of {n} calls; at most {limits.max_calls_per_batch} a batch"
            )
        if self.calls + n > limits.max_calls:
            left = limits.max_calls - self.calls
            raise BudgetExceeded("max_calls", f"{n} calls asked, {left} of {limits.max_calls} left")
        longest = max(map(len, prompts), default=0)
        if longest > limits.max_prompt_chars:
            raise BudgetExceeded(
                "max_prompt_chars", f"a prompt has {longest} characters; at most {limits.max_prompt_chars} are allowed"
            )
        self.check(sum(len(p) // CHARS_PER_TOKEN for p in prompts))
        self.calls += n

    def check(self, tokens: int = 0) -> None:
        """Refuse when `tokens` more would pass the tree's token, money or time limit.

        Raises:
            BudgetExceeded: the limit's field is named.
        """
        limits, used = self.limits, self.usage.total
        if self.seconds_left <= 0:
            raise BudgetExceeded("wall_s", f"the time limit of {limits.wall_s:g} s has passed")
        if limits.max_total_tokens is not None:
            left = limits.max_total_tokens - used.tokens - self._held_tokens
            if tokens > left or left <= 0:
                raise BudgetExceeded("max_total_tokens", f"about {tokens} tokens asked, {max(left, 0)} left")
        if limits.max_cost is not None:
            left_cost = limits.max_cost - used.cost - self._held_cost
            if left_cost <= 0 or tokens * self._cost_per_token > left_cost:
                raise BudgetExceeded("max_cost", f"{max(left_cost, 0):.4g} of {limits.max_cost:g} left")

    def hold(self, chars: int, n_max_tokens: int, depth: int) -> Reservation:
        """Reserve tokens and money for one request about to be sent (prompt estimate plus the whole reply).

        Raises:
            BudgetExceeded: it would pass a limit; nothing was reserved.
        """
        tokens = chars // CHARS_PER_TOKEN + n_max_tokens
        self.check(tokens)
        held = Reservation(tokens, tokens * self._cost_per_token, depth)
        self._held_tokens += held.tokens
        self._held_cost += held.cost
        return held

    def settle(self, held: Reservation, reply: Reply | None, model: str = "") -> None:
        """Replace a reservation by what the request really used (`reply`), or by a failure (None)."""
        if not held.open:
            return
        held.open = False
        self._held_tokens -= held.tokens
        self._held_cost -= held.cost
        if reply is None:
            self.usage.fail(held.depth, model)
            return
        self.usage.add(reply, held.depth)
        tokens = (reply.prompt_tokens or 0) + (reply.completion_tokens or 0)
        if reply.cost and tokens:
            self._cost_per_token = max(self._cost_per_token, reply.cost / tokens)

    def release(self, held: Reservation) -> None:
        """Give a reservation back unused (the request was cancelled before an answer)."""
        if held.open:
            held.open = False
            self._held_tokens -= held.tokens
            self._held_cost -= held.cost

    async def __aenter__(self) -> Ledger:
        await self._slots.acquire()
        self.in_flight += 1
        self.high_water = max(self.high_water, self.in_flight)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.in_flight -= 1
        self._slots.release()

    def remaining(self, turns: int, depth: int) -> dict[str, Any]:
        """What is left, in the words of `Limits`; shown to the model by `remaining()`."""
        limits, used = self.limits, self.usage.total
        left: dict[str, Any] = {
            "turns": turns,
            "calls": limits.max_calls - self.calls,
            "depth": max(0, limits.max_depth - depth),
            "seconds": round(max(0.0, self.seconds_left), 1),
            "calls_per_batch": limits.max_calls_per_batch,
            "prompt_chars": limits.max_prompt_chars,
        }
        if limits.max_total_tokens is not None:
            left["tokens"] = max(0, limits.max_total_tokens - used.tokens - self._held_tokens)
        if limits.max_cost is not None:
            left["cost"] = max(0.0, limits.max_cost - used.cost - self._held_cost)
        return left
