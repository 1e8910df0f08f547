"""Everything one judge server holds, and the one way a request becomes a reply."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from ..context import Context
from ..limits import AdaptiveLimiter
from ..problems import Problem
from ..service import REQUESTS, JudgeService
from ..types import Envelope, Reply, problems_of
from .auth import Tokens
from .config import JudgeServerConfig
from .idempotency import IdempotencyStore
from .lifecycle import Lifecycle
from .metrics import Metrics

T = TypeVar("T")


@dataclass
class ServerState:
    """Shared by all routes of one application."""

    config: JudgeServerConfig
    service: JudgeService
    limiters: dict[str, AdaptiveLimiter]
    tokens: Tokens
    metrics: Metrics
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    idempotency: IdempotencyStore = field(default_factory=IdempotencyStore)
    started: float = field(default_factory=time.time)

    def parse(self, operation: str, body: object) -> Envelope:
        """A body as the operation's request.

        Raises:
            Problem: 422 naming each field at fault; the values themselves are not repeated.
        """
        try:
            return REQUESTS[operation].model_validate(body)
        except ValidationError as error:
            details = [{"field": field, "problem": text} for field, text in problems_of(error)[:20]]
            first = details[0]
            raise Problem(
                422, "invalid_request", f"{first['field'] or 'body'}: {first['problem']}", details=details
            ) from None

    def admit(self) -> None:
        """Turn work away while an endpoint's queue is full.

        Raises:
            Problem: 429 with Retry-After.
        """
        for endpoint, limiter in self.limiters.items():
            if limiter.full:
                raise Problem(
                    429, "queue_full", f"{limiter.queued} requests wait for {endpoint}", retryable=True, retry_after=1.0
                )

    async def operate(self, operation: str, request: Envelope, context: Context) -> Reply:
        """Run an operation and count it."""
        reply = await self.service.run(operation, request, context)
        self.metrics.reply(operation, reply)
        return reply


async def until_disconnect(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """Await ``work``, and cancel it when the client goes away. The body must have been read before."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.ensure_future(work())
    watch = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
        raise Problem(499, "client_gone", "the client closed the connection")
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
