"""Rollouts beside training: a thread that samples, plays and judges groups while the learner works on earlier ones.

Groups come back in the order in which they end, so a slow environment or judge delays its own group only. How far ahead
the thread may run follows from the staleness bound n: with P groups a step, a group that has k others before it is
trained on floor(k / P) steps later. Groups that turn out older all the same (they overtook nobody, others overtook
them) are dropped and counted (PipelineRL, arXiv 2509.19128; bounded staleness as in AReaL).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .batcher import Batcher
from .children import descendants
from .engines.sampling import seed_of
from .judging import Judging, Verdicts
from .rollout import Play, RolloutWorker
from .tasks import TaskRef

THREADS = 64  # most judge calls, and most blocking environment calls, that wait at the same time


@dataclass(frozen=True)
class Job:
    """A task on its way to the learner; the number is its place in the run and never used twice."""

    number: int
    ref: TaskRef

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"number": self.number, "seed": self.ref.seed, "options": self.ref.options}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Job:
        """The inverse of `to_json`."""
        return cls(int(data["number"]), TaskRef(int(data["seed"]), dict(data["options"])))


@dataclass(frozen=True)
class Finished:
    """A played and judged group."""

    job: Job
    play: Play
    verdicts: Verdicts

    @property
    def version(self) -> int | None:
        """The oldest weights that sampled any of its tokens; None when nothing was sampled."""
        rollouts = [r for root in self.play.group.rollouts for r in (root, *descendants(root))]
        return min((turn.policy_version for r in rollouts for turn in r.turns), default=None)


Draw = Callable[[int, int], tuple[list[TaskRef], int]]
"""(how many, cursor) -> the next tasks and the cursor after them."""


class Pipeline:
    """Keeps groups in flight.

    Args:
        worker: plays them.
        judging: judges each as soon as it has been played.
        batcher: makes the sampler; called once, in the pipeline's own thread.
        draw: gives tasks.
        group_size: rollouts a group.
        per_step: groups the learner takes at a time.
        max_staleness: most optimiser versions between sampling and training.
        bounded: drop what is older; off when the sampled weights never change.
    """

    def __init__(
        self,
        worker: RolloutWorker,
        judging: Judging,
        batcher: Callable[[], Batcher],
        draw: Draw,
        *,
        group_size: int,
        per_step: int,
        max_staleness: int,
        bounded: bool = True,
    ) -> None:
        if max_staleness < 1:
            raise ValueError(f"max_staleness = {max_staleness}; a pipeline needs at least 1, 0 is the synchronous loop")
        self.worker, self.judging, self.make_batcher, self.draw = worker, judging, batcher, draw
        self.group_size, self.per_step = group_size, per_step
        self.max_staleness, self.bounded = max_staleness, bounded
        self.sampling_seconds = 0.0
        self._state = threading.Condition()
        self._waiting = False
        self._stopped = False
        self._error: BaseException | None = None
        self._redo: deque[Job] = deque()
        self._open: dict[int, Job] = {}
        self._ready: deque[Finished] = deque()
        self._taken: list[int] = []
        self._in_flight = self._gathered = 0
        self._cursor = self._number = 0
        self._drawn: deque[TaskRef] = deque()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._main_task: asyncio.Task[None] | None = None

    # ---- the learner's side ------------------------------------------------------------------------------------

    def start(self, position: dict[str, Any]) -> None:
        """Begin to sample.

        Args:
            position: from `position` of an earlier run (its unfinished tasks come first), or ``{"cursor": n}``.
        """
        self._cursor, self._number = int(position["cursor"]), int(position.get("number", 0))
        for data in position.get("pending", ()):
            job = Job.from_json(data)
            self._redo.append(job)
            self._open[job.number] = job
        self._thread = threading.Thread(target=self._run, name="palaestra-rollouts", daemon=True)
        self._thread.start()

    def take(self, count: int, version: int) -> tuple[list[Finished], int]:
        """Wait for `count` groups fresh enough to train at `version`; also how many stale ones were dropped."""
        fresh: list[Finished] = []
        stale = 0
        with self._state:
            self._waiting = True
            self._nudge()
            try:
                while len(fresh) < count:
                    while self._ready and len(fresh) < count:
                        found = self._ready.popleft()
                        oldest = found.version
                        if self.bounded and oldest is not None and version - oldest > self.max_staleness:
                            del self._open[found.job.number]
                            stale += 1
                        else:
                            fresh.append(found)
                            self._taken.append(found.job.number)
                            self._gathered = len(fresh)
                        self._nudge()
                    if self._error is not None and len(fresh) < count:
                        raise self._error
                    if len(fresh) < count:
                        self._state.wait()
            finally:
                self._waiting, self._gathered = False, 0
        return fresh, stale

    def settle(self) -> None:
        """The groups taken so far have been trained on; a resumed run does not repeat them."""
        with self._state:
            for number in self._taken:
                self._open.pop(number, None)
            self._taken.clear()
            self._nudge()

    def position(self) -> dict[str, Any]:
        """Where a resumed run goes on: tasks drawn and not trained on are played again."""
        with self._state:
            left = [Job(self._number + i, ref) for i, ref in enumerate(self._drawn)]
            pending = [*sorted(self._open.values(), key=lambda job: job.number), *left]
            return {
                "cursor": self._cursor,
                "number": self._number + len(left),
                "pending": [job.to_json() for job in pending],
            }

    def counts(self) -> dict[str, float]:
        """Groups in flight and groups that wait for the learner."""
        with self._state:
            return {"groups_in_flight": float(self._in_flight), "groups_ready": float(len(self._ready))}

    def close(self) -> None:
        """Give up what is in flight and wait for the thread; environments are closed, nothing leaks."""
        with self._state:
            self._stopped = True
            if self._loop is not None and self._main_task is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._main_task.cancel)
        if self._thread is not None:
            self._thread.join()

    # ---- the sampling thread -----------------------------------------------------------------------------------

    def _nudge(self) -> None:
        if self._loop is not None and self._wake is not None and not self._stopped and self._error is None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._state:
            self._error = self._error or error
            self._state.notify_all()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        # Three kinds of waiting, three pools: full of slow environments or judges, one leaves the others alone.
        loop.set_default_executor(ThreadPoolExecutor(THREADS, "palaestra-environments"))
        judges = ThreadPoolExecutor(THREADS, "palaestra-judges")
        batcher = self.make_batcher()
        tasks: set[asyncio.Task[None]] = set()
        with self._state:
            self._loop, self._wake, self._main_task = loop, asyncio.Event(), asyncio.current_task()
            if self._stopped:
                return
        try:
            while self._error is None:
                self._wake.clear()
                while (job := self._next()) is not None:
                    task = loop.create_task(self._play(job, batcher, judges))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await self._wake.wait()
        finally:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            batcher.close()
            judges.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> Job | None:
        """Another task, if the staleness bound leaves room for it."""
        with self._state:
            ahead = self._in_flight + len(self._ready) + self._gathered
            room = self.per_step * (self.max_staleness + self._waiting) - ahead
            if room <= 0 or self._error is not None:
                return None
            if self._redo:
                job = self._redo.popleft()
            else:
                if not self._drawn:
                    refs, self._cursor = self.draw(self.per_step, self._cursor)
                    self._drawn.extend(refs)
                job = Job(self._number, self._drawn.popleft())
                self._number += 1
                self._open[job.number] = job
            self._in_flight += 1
            return job

    async def _play(self, job: Job, batcher: Batcher, judges: ThreadPoolExecutor) -> None:
        try:
            stamp = seed_of(3, job.number)
            (play,) = await self.worker.groups([job.ref], self.group_size, batcher, stamp, name=f"a{job.number}")
            loop = asyncio.get_running_loop()
            verdicts = Verdicts()
            if self.judging.active:
                verdicts = await loop.run_in_executor(judges, self.judging.judge, [play])
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)
            assert self._wake is not None
            self._wake.set()
            return
        with self._state:
            self._in_flight -= 1
            self.sampling_seconds = batcher.sampling_seconds
            self._ready.append(Finished(job, play, verdicts))
            self._state.notify_all()
        assert self._wake is not None
        self._wake.set()
