"""What every backend shares: runs, batches, sessions and their life cycle, on top of a pool of fork servers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

from . import languages, package
from .inputs import check_size
from .session import HostCall, Session, SessionHub
from .slots import Pool, Slot
from .types import CONFINED, Isolation, Job, RunResult, SandboxError, SandboxUnavailable, SessionSpec, expand, to_bytes

T = TypeVar("T")
log = logging.getLogger("palaestra.sandbox")
STARVED = 0.25  # a run that waited this share of its wall time for a processor is given a second chance


@runtime_checkable
class SandboxLike(Protocol):
    """What a sandbox offers, whichever backend it is."""

    isolation: Isolation

    async def run(self, job: Job) -> RunResult:
        """Run one job."""
        ...

    async def run_batch(self, jobs: Iterable[Job], *, concurrency: int | None = None) -> list[RunResult]:
        """Run many jobs; one result per job, in the same order."""
        ...

    async def session(self, spec: SessionSpec | None = None, **host_calls: HostCall) -> Session:
        """Start a persistent Python process."""
        ...

    async def close(self) -> None:
        """End everything."""
        ...


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the sandbox from ordinary code, also where an event loop is already running.

    Example:
        >>> async def two():
        ...     return 2
        >>> run_sync(two())
        2
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class ForkServerSandbox:
    """A sandbox made of fork servers. Backends say how a server is launched.

    Args:
        slots: runs that go on at the same time.
        max_sessions: sessions that may be open at the same time.
        recycle_after: runs after which a fork server is replaced.
        retry_starved: run a job again, once, when it passed its wall limit while the machine was overloaded.
    """

    backend = "none"

    def __init__(self, slots: int, max_sessions: int, recycle_after: int, retry_starved: bool) -> None:
        if slots < 1 or max_sessions < 1 or recycle_after < 1:
            raise ValueError(
                f"slots={slots}, max_sessions={max_sessions}, recycle_after={recycle_after}: give at least 1"
            )
        self.slots = slots
        self._lock = threading.Lock()
        self._closed = False
        self.package = package.borrow()
        self.retry_starved = retry_starved
        self._runs = Pool(slots, self._launch, recycle_after)
        self._checkers = Pool(slots, self._launch, recycle_after)
        self._sessions = Pool(max_sessions, self._launch, recycle_after)
        self._numbers = itertools.count(1)
        self._compiled: dict[Any, RunResult] = {}
        self.isolation = Isolation(self.backend, "T", {})

    def _launch(self, profile: str) -> Slot:
        raise NotImplementedError

    def _require(self, require: Iterable[str] | None, hint: str) -> None:
        """Refuse when a required property is not tested to hold.

        Raises:
            SandboxUnavailable: something is missing.
        """
        missing = expand(set(CONFINED if require is None else require)) - self.isolation.tested
        if missing:
            raise SandboxUnavailable(sorted(missing), hint)

    async def run(self, job: Job) -> RunResult:
        """Run one job, with its tests if it has any.

        Args:
            job: what to run.

        Returns:
            The result; its verdict is never ``sandbox_error``.

        Raises:
            SandboxError: the sandbox failed twice, or the language's tools are missing.
            ValueError: the job cannot be run as asked.
        """
        if not isinstance(job, Job):
            raise ValueError(f"run() was given {type(job).__name__}; give a Job, such as Job(code='print(1)')")
        if job.tests is not None:
            from .grading import grade

            return await grade(self, job)
        prepared = await languages.prepare(self, job)
        if isinstance(prepared, RunResult):
            return prepared
        job = prepared
        for attempt in (1, 2):
            try:
                result, starved_s = await self._once(job)
            except SandboxError:
                if attempt == 2:
                    raise
                continue
            if result.verdict == "sandbox_error":
                if attempt == 2 or result.reason.startswith("missing interpreter"):
                    raise SandboxError(languages.missing(job.lang, result.reason))
                continue
            again = self.retry_starved and attempt == 1 and result.verdict == "timeout_wall"
            if again and starved_s > STARVED * job.limits.wall_s:
                log.info("run starved for %.1f of %.1f s; running it again", starved_s, job.limits.wall_s)
                continue
            return result if attempt == 1 else replace(result, attempt=attempt)
        raise AssertionError("unreachable")

    async def _once(self, job: Job) -> tuple[RunResult, float]:
        header, parts = _request(job, next(self._numbers))
        queued = time.monotonic()
        slot = await self._runs.acquire(job.profile)
        queue_s = time.monotonic() - queued
        try:
            frame = await slot.request(header, parts, job.limits.wall_s)
            reason = frame.header["reason"]
            if frame.header["verdict"] == "sandbox_error" and not reason.startswith("missing interpreter"):
                slot.healthy = False
        finally:
            self._runs.release(slot)
        return self._result(frame.header, frame.parts, queue_s), frame.header.get("starved_s", 0.0)

    def _result(self, header: dict[str, Any], parts: dict[str, bytes], queue_s: float) -> RunResult:
        same = ("verdict", "reason", "exit_code", "signal", "traceback", "wall_s", "cpu_s", "mem_scope")
        cuts = ("stdout_dropped", "stdout_cut", "stderr_dropped", "stderr_cut")
        return RunResult(
            **{name: header[name] for name in (*same, *cuts) if name in header},
            stdout=parts.get("stdout", b""),
            stderr=parts.get("stderr", b""),
            queue_s=round(queue_s, 6),
            peak_mem_mb=round(header.get("peak_kb", 0) / 1024, 2),
            leftovers_killed=header.get("leftovers", 0),
            files={name[5:]: data for name, data in parts.items() if name.startswith("file:")},
            isolation=self.isolation,
        )

    async def run_batch(self, jobs: Iterable[Job], *, concurrency: int | None = None) -> list[RunResult]:
        """Run many jobs; one result per job, always, in the same order.

        Args:
            jobs: what to run.
            concurrency: how many at once; by default and at most the number of slots.

        Returns:
            Results in the order of the jobs. A sandbox failure is a result with verdict ``sandbox_error``: count it,
            do not score it.
        """
        jobs = list(jobs)
        limit = asyncio.Semaphore(max(1, min(concurrency or self.slots, self.slots)))

        async def one(job: Job) -> RunResult:
            async with limit:
                try:
                    return await self.run(job)
                except (SandboxError, ValueError) as error:
                    return RunResult("sandbox_error", reason=str(error), isolation=self.isolation, attempt=2)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(job)) for job in jobs]
        return [task.result() for task in tasks]

    async def session(self, spec: SessionSpec | None = None, **host_calls: HostCall) -> Session:
        """Start a persistent Python process; use it as ``async with await sandbox.session() as session``.

        Args:
            spec: limits and set-up.
            **host_calls: functions the guest may call by these names; plain or async, data in and data out.

        Returns:
            The open session.

        Raises:
            SandboxError: it could not be started.
        """
        return await self._open(self._sessions, spec or SessionSpec(), host_calls)

    async def _open(self, pool: Pool, spec: SessionSpec, host_calls: dict[str, HostCall]) -> Session:
        missing = set(spec.host_calls) - set(host_calls)
        if missing:
            raise ValueError(f"SessionSpec.host_calls names {sorted(missing)}, but no such function was given")
        slot = await pool.acquire(spec.profile)
        try:
            hub = SessionHub(slot, pool, spec, host_calls)
            return await hub.open()
        except BaseException:
            slot.healthy = False
            pool.release(slot)
            raise

    def run_sync(self, job: Job) -> RunResult:
        """``run`` for ordinary code."""
        return run_sync(self.run(job))

    def run_batch_sync(self, jobs: Sequence[Job], *, concurrency: int | None = None) -> list[RunResult]:
        """``run_batch`` for ordinary code."""
        return run_sync(self.run_batch(jobs, concurrency=concurrency))

    async def close(self) -> None:
        """End every process and give everything back. Safe to call twice."""
        await asyncio.to_thread(self.close_sync)

    def close_sync(self) -> None:
        """``close`` for ordinary code."""
        for pool in (self._runs, self._checkers, self._sessions):
            pool.close()
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            package.give_back()

    async def __aenter__(self) -> ForkServerSandbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __enter__(self) -> ForkServerSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()


def _request(job: Job, number: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    parts = {"stdin": to_bytes(job.stdin)}
    if job.code is not None:
        parts["code"] = to_bytes(job.code)
    for name, data in job.files.items():
        parts["file:" + name] = to_bytes(data)
    header = {
        "op": "run", "id": number, "argv": list(job.argv) if job.argv is not None else None, "env": dict(job.env),
        "limits": vars(job.limits), "fetch": list(job.fetch), "bound_memory": job.lang not in languages.RESERVING,
    }  # fmt: skip
    check_size([*(job.argv or ()), *job.env, *job.env.values(), *job.fetch], parts, "Job")
    return header, parts
