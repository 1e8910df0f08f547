"""What travels with a request through the judges: deadline, budget, cache mode, seed, and the running account."""

from __future__ import annotations

import time
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ..lm import Usage
from ..schema import RewardStatus
from .types import Budget, CacheMode, Envelope, ErrorInfo, UsageInfo

current_run: ContextVar[str] = ContextVar("palaestra_judge_run", default="")
"""Run the present work belongs to; the limiter serves runs in turn."""


@dataclass
class Meter:
    """Counts calls, tokens and dollars against a budget, before each call is sent."""

    budget: Budget = field(default_factory=Budget)
    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    def reserve(self, tokens: int) -> bool:
        """Book one call of about so many tokens; False, and nothing booked, when that would exceed the budget."""
        b = self.budget
        if b.max_calls is not None and self.calls + 1 > b.max_calls:
            return False
        if b.max_tokens is not None and self.tokens + tokens > b.max_tokens:
            return False
        if b.max_cost_usd is not None and self.cost_usd >= b.max_cost_usd:
            return False
        self.calls += 1
        self.tokens += tokens
        return True

    def settle(self, estimated: int, used: Usage) -> None:
        """Replace the estimate of a call by what it really took."""
        self.tokens += used.tokens - estimated if used.tokens else 0
        self.cost_usd += used.cost_usd or 0.0

    def calls_left(self) -> int | None:
        """Calls that may still be sent; None without a limit."""
        return None if self.budget.max_calls is None else max(0, self.budget.max_calls - self.calls)


@dataclass
class Context:
    """One request's state, shared by all calls made for it."""

    run_id: str = ""
    request_id: str = ""
    cache: CacheMode = "use"
    seed: int = 0
    deadline: float | None = None  # time.monotonic() value
    meter: Meter = field(default_factory=Meter)
    usage: UsageInfo = field(default_factory=UsageInfo)
    warnings: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    timed_out: bool = False
    on_item: Any = None  # called with each finished item result, for job events

    @classmethod
    def of(cls, request: Envelope, *, request_id: str = "", default_deadline_s: float = 600.0) -> Context:
        """The context for a request; a deadline always exists."""
        seconds = request.deadline_ms / 1000 if request.deadline_ms else default_deadline_s
        return cls(
            run_id=request.run_id or "",
            request_id=request.request_id or request_id,
            cache=request.cache,
            seed=request.seed or 0,
            deadline=time.monotonic() + min(seconds, default_deadline_s),
            meter=Meter(request.budget or Budget()),
        )

    def remaining_s(self) -> float:
        """Seconds until the deadline; never negative."""
        return 3600.0 if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def spend(self, used: Usage) -> None:
        """Add the cost of one upstream reply."""
        self.usage.add(used)

    def finished(self, result: Any) -> None:
        """Tell whoever listens that an item is done."""
        if self.on_item is not None:
            self.on_item(result)


@dataclass(frozen=True)
class RawVerdict:
    """What one question to a judge came to. ``values`` is None unless ``status`` is ok."""

    status: RewardStatus
    values: dict[str, Any] | None = None
    error: ErrorInfo | None = None
    cached: bool = False
    model: str | None = None
    repaired: bool = False
    used: Usage = field(default_factory=Usage)
    """Model requests, tokens and money this question took; nothing when it was in the cache or shared."""

    @property
    def calls(self) -> int:
        """Requests to the model, retries and a repair turn included."""
        return self.used.calls

    @property
    def ok(self) -> bool:
        """Whether there is a verdict."""
        return self.status is RewardStatus.OK and self.values is not None


def failed(status: RewardStatus, message: str, *, code: str | None = None, retryable: bool = False) -> RawVerdict:
    """A verdict that is not one."""
    return RawVerdict(status, error=ErrorInfo(code=code or status.value, message=message, retryable=retryable))
