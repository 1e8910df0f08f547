"""The environment server: native sessions, OpenEnv's protocol, health and metrics on one port."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware import Middleware

from ..registry import list_envs, make
from . import problems
from .guard import Guard, require_token
from .metrics import Metrics
from .openenv import OpenEnvRouter
from .sessions import Limits, Sessions


class CreateRequest(BaseModel):
    """Body of ``POST /v1/sessions``."""

    model_config = ConfigDict(extra="forbid")

    env_id: str = Field(max_length=200)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    options: dict[str, Any] | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)


class StepRequest(BaseModel):
    """Body of ``POST /v1/sessions/{id}/step``. The same ``request_id`` again returns the same reply."""

    model_config = ConfigDict(extra="forbid")

    action: str
    request_id: str = Field(default="", max_length=200)


class SessionReply(BaseModel):
    """A started episode."""

    session_id: str
    observation: list[dict[str, Any]]
    info: dict[str, Any]


class StepReply(BaseModel):
    """One step; ``reward`` is null when the environment or its grader failed (``info.error`` says how)."""

    observation: list[dict[str, Any]]
    reward: float | None
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def create_app(
    *,
    envs: Iterable[str] | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    sandbox: Any = None,
) -> FastAPI:
    """The server as an ASGI application.

    Args:
        envs: ids to offer; None offers every registered environment.
        token: what clients must send; None lets everybody in.
        limits: sessions, time and size.
        sandbox: when given, code is run in it for clients at ``POST /v1/run``.
    """
    limits = limits or Limits()
    metrics = Metrics()
    allowed = None if envs is None else frozenset(envs)
    sessions = Sessions(limits, allowed, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        reaper = asyncio.create_task(sessions.reap_forever())
        try:
            yield
        finally:
            reaper.cancel()
            with suppress(asyncio.CancelledError):
                await reaper
            await sessions.shut_down()

    app = FastAPI(
        title="Palaestra environments",
        version="1.0.0",
        lifespan=lifespan,
        middleware=[Middleware(Guard, token=token, max_body=limits.body_bytes)],
    )
    app.state.sessions = sessions
    problems.install(app)

    @app.get("/healthz", include_in_schema=False)  # both servers answer both names
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server is up, and how full it is."""
        return {"status": "healthy", "sessions": len(sessions.open), "capacity": limits.sessions}

    @app.get("/metrics")
    async def metrics_text() -> Response:
        """Counters in Prometheus' format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/envs")
    async def envs_offered() -> dict[str, Any]:
        """The environments on offer, with their knobs."""
        return {"envs": await asyncio.to_thread(describe_envs, allowed)}

    @app.post("/v1/sessions")
    async def create(body: CreateRequest) -> SessionReply:
        """Start an episode."""
        _, reply = await sessions.create(body.env_id, body.seed, body.options, body.kwargs)
        return SessionReply(**reply)

    @app.post("/v1/sessions/{session_id}/step")
    async def step(session_id: str, body: StepRequest) -> StepReply:
        """Send the policy's reply. The session is closed when the episode is over."""
        return StepReply(**await sessions.step(session_id, body.action, body.request_id))

    @app.delete("/v1/sessions/{session_id}", status_code=204)
    async def delete(session_id: str) -> Response:
        """End a session; deleting one that is gone is no error."""
        await sessions.close(session_id)
        return Response(status_code=204)

    @app.get("/")
    async def root(request: Request) -> dict[str, Any]:
        """Where things are."""
        return {"name": app.title, "docs": "/docs", "envs": "/v1/envs", "openenv": "/openenv/{env_id}"}

    app.mount("/openenv", OpenEnvRouter(sessions))
    if sandbox is not None:
        app.include_router(import_module("...sandbox.http", __package__).router(sandbox))
    return app


def describe_envs(allowed: frozenset[str] | None) -> list[dict[str, Any]]:
    """Id, summary and knobs of the environments on offer."""
    rows = []
    for entry in list_envs():
        if allowed is not None and entry.id not in allowed:
            continue
        env = make(entry.id)
        knobs, _ = env._knobs()
        hidden = getattr(env, "local_only", ())
        shown = {n: None if v is inspect.Parameter.empty else v for n, v in knobs.items() if n not in hidden}
        rows.append({"id": entry.id, "summary": entry.summary, "knobs": shown, "max_reward": env.max_reward})
    return rows


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8300,
    envs: Iterable[str] | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    sandbox: Any = None,
    log_level: str = "warning",
) -> None:
    """Run the server until SIGINT or SIGTERM; running requests are finished first.

    Raises:
        ValueError: another machine could reach ``host`` and there is no token.
    """
    import uvicorn

    require_token(host, token)
    app = create_app(envs=envs, token=token, limits=limits, sandbox=sandbox)
    uvicorn.run(app, host=host, port=port, log_level=log_level, timeout_graceful_shutdown=10)
