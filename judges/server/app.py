"""The ASGI application: routes of the wire schema and of other trainers' dialects over one `JudgeService`."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from ..problems import Problem
from ..service import REQUESTS, JudgeService
from ..types import Envelope
from .auth import Tokens
from .body import read_json
from .config import JudgeServerConfig, build_service
from .dialects import add_dialects
from .idempotency import Stored
from .jobs import JobStore, add_job_routes
from .metrics import Metrics
from .state import ServerState, until_disconnect

DEADLINE_HEADER = "x-deadline-ms"


def create_app(
    config: JudgeServerConfig | None = None, *, service: JudgeService | None = None, tokens: Tokens | None = None
) -> FastAPI:
    """The judge server as an application; ``app.state.judges`` is its `ServerState`.

    Args:
        config: settings; defaults when None.
        service: judges to serve instead of the configured ones.
        tokens: tokens to accept instead of those of the configuration and the environment.
    """
    config = config or JudgeServerConfig()
    tokens = Tokens.load(config.token_file) if tokens is None else tokens
    metrics = Metrics()
    limiters: dict[str, Any] = {}
    if service is None:
        service, limiters = build_service(config, tokens, metrics)
    elif service.runtime.observer is None:
        service.runtime.observer = metrics
    state = ServerState(config, service, limiters, tokens, metrics)
    jobs = JobStore(state, config.jobs)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs.restart_unfinished()
        yield
        state.lifecycle.state = "draining"
        await state.lifecycle.idle(config.drain_timeout)
        await jobs.close()
        runtime = state.service.runtime
        if runtime.cache is not None:
            runtime.cache.close()
        if runtime.log is not None:
            runtime.log.close()

    from ... import __version__

    app = FastAPI(title="Palaestra judges", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.judges = state
    app.state.jobs = jobs
    _add_error_handlers(app)
    app.add_middleware(Observation, metrics=metrics)
    for operation in REQUESTS:
        _add_operation(app, state, operation)
    _add_service_routes(app, state, jobs)
    add_job_routes(app, state, jobs)
    add_dialects(app, state)
    return app


class Observation:
    """Counts requests and their latency by route, and gives each an id."""

    def __init__(self, app: Any, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 500
        request_id = f"req-{uuid.uuid4().hex[:12]}"
        scope.setdefault("state", {})["request_id"] = request_id

        async def observed(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self.app(scope, receive, observed)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.latency.labels(route).observe(time.monotonic() - started)


def problem_response(problem: Problem, request_id: str | None = None) -> JSONResponse:
    """A `Problem` as HTTP."""
    info = problem.info.model_copy(update={"request_id": request_id})
    headers = {} if problem.retry_after is None else {"retry-after": f"{problem.retry_after:g}"}
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse({"error": info.model_dump()}, problem.status, headers)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def on_problem(request: Request, problem: Problem) -> Response:
        return problem_response(problem, request.state.request_id)

    @app.exception_handler(404)
    async def on_missing(request: Request, error: Any) -> Response:
        return problem_response(Problem(404, "not_found", f"no such path {request.url.path[:100]!r}"))

    @app.exception_handler(405)
    async def on_method(request: Request, error: Any) -> Response:
        return problem_response(Problem(405, "method_not_allowed", f"{request.method} is not served here"))

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> Response:
        return problem_response(Problem(500, "internal", f"{type(error).__name__} inside the judge server"))


def authorise(state: ServerState, request: Request, scope: str) -> None:
    """Check the request's token.

    Raises:
        Problem: 401 or 403.
    """
    state.tokens.require(request.headers.get("authorization"), scope)


def json_response(model: BaseModel, status: int = 200) -> Response:
    """A model as JSON; numbers that are not finite become null."""
    return Response(model.model_dump_json(), status, media_type="application/json")


def apply_headers(request: Request, parsed: Envelope) -> Envelope:
    """The deadline a caller passes on in a header, if it is the shorter one."""
    header = request.headers.get(DEADLINE_HEADER, "")
    if not header.isdigit() or int(header) == 0:
        return parsed
    deadline = min(int(header), parsed.deadline_ms or int(header))
    return parsed.model_copy(update={"deadline_ms": deadline})


async def serve_operation(state: ServerState, request: Request, operation: str, body: Any) -> Stored:
    """One request of the wire schema from parsed JSON to bytes."""
    parsed = apply_headers(request, state.parse(operation, body))
    state.admit()
    context = state.service.context(parsed, request.state.request_id)
    with state.lifecycle.work():
        reply = await until_disconnect(request, lambda: state.operate(operation, parsed, context))
    if reply.partial:
        if "partial" not in request.headers.get("prefer", ""):
            raise Problem(
                504, "deadline", "the deadline passed before all was judged; 'Prefer: partial' gives what there is",
                retryable=True,
            )  # fmt: skip
        return Stored(504, reply.model_dump_json().encode())
    return Stored(200, reply.model_dump_json().encode())


def _add_operation(app: FastAPI, state: ServerState, operation: str) -> None:
    model = REQUESTS[operation]

    async def endpoint(request: Request) -> Response:
        authorise(state, request, "score")
        body = await read_json(request, state.config.max_body_bytes)

        async def work() -> Stored:
            return await serve_operation(state, request, operation, body)

        key = request.headers.get("idempotency-key")
        if key:
            owner = request.headers.get("authorization", "")
            done = await state.idempotency.run(f"{operation}:{owner}:{key[:256]}", repr(body).encode(), work)
        else:
            done = await work()
        return Response(done.body, done.status, media_type="application/json")

    schema = {"content": {"application/json": {"schema": model.model_json_schema()}}, "required": True}
    app.post(f"/v1/{operation}", openapi_extra={"requestBody": schema}, description=model.__doc__, name=operation)(
        endpoint
    )


def _add_service_routes(app: FastAPI, state: ServerState, jobs: JobStore) -> None:
    from ... import __version__

    @app.post("/v1/plan")
    async def plan(request: Request) -> Response:
        """What a request of another endpoint would take, without sending anything."""
        authorise(state, request, "score")
        body = await read_json(request, state.config.max_body_bytes)
        operation, inner = planned_operation(body)
        return json_response(state.service.plan(operation, state.parse(operation, inner)))

    @app.get("/v1/judges")
    async def judges(request: Request) -> Any:
        """Judges by name and what they can do."""
        authorise(state, request, "score")
        rows = [judge.info().model_dump() for judge in state.service.judges.values()]
        return {"judges": rows, "default": state.service.default}

    @app.get("/v1/rubrics")
    async def rubrics(request: Request) -> Any:
        """Rubrics by name."""
        authorise(state, request, "score")
        return {"rubrics": [rubric.model_dump() for rubric in state.service.rubrics.values()]}

    @app.get("/health", include_in_schema=False)  # both servers answer both names
    @app.get("/healthz")
    async def healthz() -> Any:
        """The process is alive; nothing else is looked at."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Response:
        """Ready for work: cache writable, a judge healthy, neither paused nor draining."""
        reasons = await readiness(state)
        body = {"ready": not reasons, "reasons": reasons}
        return JSONResponse(body, 503 if reasons else 200)

    @app.get("/version")
    async def version() -> Any:
        """Versions of the package and of the wire schema."""
        return {"version": __version__, "schema": 1}

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Prometheus text."""
        authorise(state, request, "score")
        state.metrics.in_flight.set(state.lifecycle.in_flight)
        return Response(state.metrics.render(state.limiters), media_type="text/plain; version=0.0.4")

    @app.post("/v1/admin/pause")
    async def pause(request: Request) -> Any:
        """Take no new work and wait until what is under way is done, so that a shared GPU is free."""
        authorise(state, request, "admin")
        if state.lifecycle.state == "draining":
            raise Problem(503, "draining", "the server is shutting down")
        state.lifecycle.state = "paused"
        idle = await state.lifecycle.idle(state.config.drain_timeout)
        return {"state": "paused", "drained": idle, "in_flight": state.lifecycle.in_flight}

    @app.post("/v1/admin/resume")
    async def resume(request: Request) -> Any:
        """Take work again."""
        authorise(state, request, "admin")
        if state.lifecycle.state == "paused":
            state.lifecycle.state = "serving"
        return {"state": state.lifecycle.state}


def planned_operation(body: Any) -> tuple[str, Any]:
    """Which operation a body is for, told by its fields, or by ``operation`` beside ``request``.

    Raises:
        Problem: 422 when that cannot be told.
    """
    if not isinstance(body, dict):
        raise Problem(422, "invalid_request", "the body must be an object")
    if "operation" in body:
        operation, inner = body["operation"], body.get("request")
        if operation not in REQUESTS:
            raise Problem(422, "unknown_operation", f"operation must be one of {', '.join(REQUESTS)}")
        return operation, inner
    if "pairs" in body:
        return "compare", body
    if "items" in body:
        return ("verify" if "verifier" in body else "score"), body
    if "texts" in body or "metrics" in body:
        return "diversity", body
    if "group" in body or "groups" in body:
        return ("partition" if "scope" in body else "rank"), body
    raise Problem(422, "invalid_request", "give the body of another endpoint, or {operation, request}")


async def readiness(state: ServerState) -> list[str]:
    """Reasons for not being ready."""
    reasons: list[str] = [] if state.lifecycle.state == "serving" else [state.lifecycle.state]
    cache = state.service.runtime.cache
    if cache is not None and not cache.writable():
        reasons.append("the cache cannot be written")
    healthy = [await judge.healthy() for judge in state.service.judges.values()]
    if not any(healthy):
        reasons.append("no judge is healthy")
    return reasons
