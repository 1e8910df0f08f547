"""Cohorts: single requests about one prompt, gathered until a group is complete, so that it can be ranked as one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

M = TypeVar("M")
R = TypeVar("R")


@dataclass
class _Cohort(Generic[M, R]):
    members: list[tuple[M, asyncio.Future[R]]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class CohortBuffer(Generic[M, R]):
    """Collects members by key and judges them together.

    Args:
        judge: results of a complete cohort, in the order of its members.
        size: members that make a cohort complete.
        wait_s: how long the first member waits for the others.
        fallback: what happens to a cohort that stays incomplete: ``partial`` judges those who came (two or more),
            ``score`` judges each alone, ``unscored`` gives everybody ``unscored()``.
        alone: result of a single member, for ``score`` and for a ``partial`` cohort of one.
        unscored: the result that says there is none.

    A member that is cancelled leaves its cohort; the others go on waiting.
    """

    def __init__(
        self,
        judge: Callable[[Sequence[M]], Awaitable[Sequence[R]]],
        *,
        size: int,
        wait_s: float,
        fallback: Literal["partial", "score", "unscored"],
        alone: Callable[[M], Awaitable[R]],
        unscored: Callable[[M], R],
    ):
        self.size, self.wait_s, self.fallback = size, wait_s, fallback
        self._judge, self._alone, self._unscored = judge, alone, unscored
        self._cohorts: dict[str, _Cohort[M, R]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, key: str, member: M) -> R:
        """Join the cohort of a key and wait for the result."""
        loop = asyncio.get_running_loop()
        cohort = self._cohorts.get(key)
        if cohort is None:
            cohort = self._cohorts[key] = _Cohort()
            cohort.timer = loop.call_later(self.wait_s, self._close, key, cohort)
        future: asyncio.Future[R] = loop.create_future()
        entry = (member, future)
        cohort.members.append(entry)
        if len(cohort.members) >= self.size:
            self._close(key, cohort)
        try:
            return await future
        except asyncio.CancelledError:
            if entry in cohort.members and self._cohorts.get(key) is cohort:
                cohort.members.remove(entry)
            raise

    def _close(self, key: str, cohort: _Cohort[M, R]) -> None:
        if self._cohorts.get(key) is not cohort:
            return
        del self._cohorts[key]
        if cohort.timer is not None:
            cohort.timer.cancel()
        task = asyncio.get_running_loop().create_task(self._settle(cohort))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, cohort: _Cohort[M, R]) -> None:
        entries = [(m, f) for m, f in cohort.members if not f.done()]
        try:
            members = [m for m, _ in entries]
            complete = len(members) >= self.size
            if complete or (self.fallback == "partial" and len(members) > 1):
                results = list(await self._judge(members))
            elif self.fallback == "unscored":
                results = [self._unscored(m) for m in members]
            else:
                results = list(await asyncio.gather(*(self._alone(m) for m in members)))
            for (_, future), result in zip(entries, results, strict=True):
                if not future.done():
                    future.set_result(result)
        except BaseException as error:
            for _, future in entries:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else RuntimeError("cohort cancelled"))
            if not isinstance(error, Exception):
                raise
