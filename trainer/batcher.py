"""Turns many waiting rollouts into few engine calls.

Rollouts are coroutines that ask for one turn at a time. The batcher waits until every live rollout either asks or has
ended, then samples all requests in one call, in a fixed order: the same tasks give the same batches, so a synchronous
run is reproducible bit by bit. In eager mode it samples whatever waits as soon as the engine is free, so that a slow
environment or judge never idles the sampler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..schema import Turn
from .engines.base import Prompt, SamplingParams


@dataclass
class _Request:
    order: Hashable
    ids: tuple[int, ...]
    key: int
    future: asyncio.Future[Turn]


class Batcher:
    """Collects sampling requests of concurrent rollouts.

    Args:
        engine: an `Engine`.
        params: how to sample; the seed is part of each request's key.
        eager: sample as soon as the engine is free and do not wait for all.
    """

    def __init__(self, engine: Any, params: SamplingParams, *, eager: bool = False) -> None:
        self.engine = engine
        self.params = params
        self.eager = eager
        self.live = 0
        self.sampling_seconds = 0.0
        self._waiting: list[_Request] = []
        self._busy = False
        self._thread = ThreadPoolExecutor(1, "palaestra-sampler") if eager else None

    def close(self) -> None:
        """Wait for the running engine call and end the sampler's thread."""
        if self._thread is not None:
            self._thread.shutdown()

    def enter(self, count: int = 1) -> None:
        """Announce rollouts that will ask; call it before any of them starts."""
        self.live += count

    def leave(self) -> None:
        """A rollout ended."""
        self.live -= 1
        self._maybe_sample()

    async def sample(self, order: Hashable, ids: tuple[int, ...], key: int) -> Turn:
        """One turn for one rollout.

        Args:
            order: position of the rollout in the batch; it fixes the order of rows.
            ids: prompt token ids.
            key: seed key of this turn.
        """
        future: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(order, ids, key, future))
        self._maybe_sample()
        return await future

    def _maybe_sample(self) -> None:
        if self._waiting and not self._busy and (self.eager or len(self._waiting) >= self.live):
            self._busy = True
            task = asyncio.ensure_future(self._run())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _run(self) -> None:
        if self.eager:
            await asyncio.sleep(0)  # let rollouts that are ready now join this batch
        requests, self._waiting = self._waiting, []
        requests.sort(key=lambda r: r.order)  # type: ignore[arg-type, return-value]
        by_prompt: dict[tuple[int, ...], list[_Request]] = {}
        for request in requests:
            by_prompt.setdefault(request.ids, []).append(request)
        prompts = [Prompt(ids, len(rs), tuple(r.key for r in rs)) for ids, rs in by_prompt.items()]
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            if self._thread is not None:
                results = await loop.run_in_executor(self._thread, self.engine.sample, prompts, self.params)
            else:  # every rollout waits for this call, so a thread would buy nothing
                results = self.engine.sample(prompts, self.params)
        except BaseException as error:
            for request in requests:
                if not request.future.done():
                    request.future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            if not isinstance(error, Exception):
                raise
        else:
            for waiting, turns in zip(by_prompt.values(), results, strict=True):
                for request, turn in zip(waiting, turns, strict=True):
                    if not request.future.done():
                        request.future.set_result(turn)
        finally:
            self.sampling_seconds += loop.time() - start
            self._busy = False
            self._maybe_sample()
