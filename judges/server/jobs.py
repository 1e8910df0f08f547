"""Jobs: long requests that outlive their connection, with a resumable stream of events."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from ..problems import Problem
from ..service import REQUESTS
from .body import read_json
from .state import ServerState

MAX_JOBS = 1000
HEARTBEAT_S = 15.0
JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]
_FINAL = ("done", "failed", "cancelled")


class Job(BaseModel):
    """A job as clients see it."""

    id: str
    operation: str
    request: dict[str, Any] = Field(repr=False)
    status: JobStatus = "queued"
    created: float = Field(default_factory=time.time)
    finished: int = 0
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    events: list[tuple[str, dict[str, Any]]] = Field(default_factory=list, repr=False)

    def public(self) -> dict[str, Any]:
        """Without the request and the events."""
        return self.model_dump(exclude={"request", "events"})


class JobStore:
    """Runs jobs and remembers them; on disk when a folder is given, where unfinished ones are taken up again."""

    def __init__(self, state: ServerState, folder: str | None = None):
        self.state = state
        self.folder = Path(folder) if folder else None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.jobs: OrderedDict[str, Job] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._closing = False

    def restart_unfinished(self) -> None:
        """Load stored jobs and start those that were interrupted; the cache makes their finished part cheap."""
        if self.folder is None:
            return
        for path in sorted(self.folder.glob("job-*.json")):
            try:
                job = Job.model_validate_json(path.read_text())
            except ValueError:
                continue  # half a file of a crash; its client will ask for an unknown job and start it anew
            self.jobs[job.id] = job
            if job.status not in _FINAL:
                job.events, job.finished = [], 0
                self._start(job)

    def create(self, operation: str, request: dict[str, Any]) -> Job:
        """Check and start a job.

        Raises:
            Problem: 422 for a bad request, 429 when too many jobs are unfinished.
        """
        self.state.parse(operation, request)
        while len(self.jobs) >= MAX_JOBS:
            oldest = next((job for job in self.jobs.values() if job.status in _FINAL), None)
            if oldest is None:
                raise Problem(429, "too_many_jobs", f"{MAX_JOBS} jobs are unfinished", retryable=True, retry_after=5.0)
            self._forget(oldest)
        job = Job(id=f"job-{uuid.uuid4().hex[:16]}", operation=operation, request=request)
        self.jobs[job.id] = job
        self._start(job)
        return job

    def get(self, job_id: str) -> Job:
        """A job by id.

        Raises:
            Problem: 404.
        """
        if job_id not in self.jobs:
            raise Problem(404, "unknown_job", f"there is no job {job_id[:40]!r}")
        return self.jobs[job_id]

    def cancel(self, job: Job) -> None:
        """Stop a job; nothing happens to one that is over."""
        task = self._tasks.get(job.id)
        if task is not None and job.status not in _FINAL:
            task.cancel()

    async def close(self) -> None:
        """Stop all jobs; those on disk keep their state and start again next time."""
        self._closing = True
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def events(self, job: Job, after: int) -> AsyncIterator[bytes]:
        """Server-sent events from number ``after + 1`` on, until the job is over."""
        position = after
        while True:
            news = self._news.setdefault(job.id, asyncio.Event())
            news.clear()
            while position < len(job.events):
                position += 1
                kind, data = job.events[position - 1]
                yield f"id: {position}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
            if job.status in _FINAL and position >= len(job.events):
                return
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT_S)
            except TimeoutError:
                yield b": heartbeat\n\n"

    def _start(self, job: Job) -> None:
        self._store(job)
        self._tasks[job.id] = asyncio.get_running_loop().create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        job.status = "running"
        try:
            request = self.state.parse(job.operation, job.request)
            context = self.state.service.context(request, job.id)
            context.on_item = lambda item: self._item_done(job, item)
            with self.state.lifecycle.holding():
                reply = await self.state.operate(job.operation, request, context)
            job.result, job.status = json.loads(reply.model_dump_json()), "done"
        except asyncio.CancelledError:
            if self._closing:
                job.status = "queued"
                self._store(job)
                raise
            job.status = "cancelled"
        except Problem as problem:
            job.error, job.status = problem.info.model_dump(), "failed"
        except Exception as error:  # a job must end in a state its client can see
            job.error, job.status = {"code": "internal", "message": type(error).__name__, "retryable": False}, "failed"
        self._tell(job, "done", {"status": job.status, "error": job.error})
        self._store(job)
        self._tasks.pop(job.id, None)

    def _item_done(self, job: Job, item: Any) -> None:
        job.finished += 1
        self._tell(job, "item", json.loads(item.model_dump_json()))
        self._tell(job, "progress", {"finished": job.finished})

    def _tell(self, job: Job, kind: str, data: dict[str, Any]) -> None:
        job.events.append((kind, data))
        self._news.setdefault(job.id, asyncio.Event()).set()

    def _store(self, job: Job) -> None:
        if self.folder is None:
            return
        path = self.folder / f"{job.id}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(job.model_dump_json())
        os.replace(temporary, path)

    def _forget(self, job: Job) -> None:
        del self.jobs[job.id]
        self._news.pop(job.id, None)
        if self.folder is not None:
            (self.folder / f"{job.id}.json").unlink(missing_ok=True)


def add_job_routes(app: FastAPI, state: ServerState, jobs: JobStore) -> None:
    """``/v1/jobs`` and what belongs to it."""

    def allow(request: Request) -> None:
        state.tokens.require(request.headers.get("authorization"), "score")

    @app.post("/v1/jobs")
    async def create(request: Request) -> Response:
        """Start ``{operation, request}`` as a job."""
        allow(request)
        body = await read_json(request, state.config.max_body_bytes)
        if (
            not isinstance(body, dict)
            or body.get("operation") not in REQUESTS
            or not isinstance(body.get("request"), dict)
        ):
            raise Problem(422, "invalid_request", f"give operation ({', '.join(REQUESTS)}) and request")
        if set(body) - {"operation", "request"}:
            raise Problem(422, "invalid_request", f"unknown fields {sorted(set(body) - {'operation', 'request'})[:5]}")
        if state.lifecycle.state == "draining":
            raise Problem(503, "draining", "the server is shutting down", retryable=True, retry_after=5.0)
        state.admit()
        job = jobs.create(body["operation"], body["request"])
        return JSONResponse({"id": job.id, "status": job.status}, 202, {"location": f"/v1/jobs/{job.id}"})

    @app.get("/v1/jobs/{job_id}")
    async def look(request: Request, job_id: str) -> Any:
        """State and, when done, result of a job."""
        allow(request)
        return jobs.get(job_id).public()

    @app.delete("/v1/jobs/{job_id}")
    async def cancel(request: Request, job_id: str) -> Any:
        """Cancel a job."""
        allow(request)
        job = jobs.get(job_id)
        jobs.cancel(job)
        await asyncio.sleep(0)
        return job.public()

    @app.get("/v1/jobs/{job_id}/events")
    async def events(request: Request, job_id: str) -> Response:
        """Server-sent events; resume with Last-Event-ID."""
        allow(request)
        job = jobs.get(job_id)
        last = request.headers.get("last-event-id", "0")
        after = int(last) if last.isdigit() else 0
        return StreamingResponse(
            jobs.events(job, after), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )
