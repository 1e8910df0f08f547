"""OpenEnv's protocol at ``/openenv/{env_id}/``: HTTP routes, and the WebSocket its clients use.

An action is ``{"text": ...}``. An observation has ``text``, ``messages``, ``feedback``, ``scores``, ``reason``,
``task_id``, ``episode_id``, ``terminated``, ``truncated`` and ``error``. Over HTTP, ``/step`` and ``/state`` take the
``episode_id`` that ``/reset`` returned: there is no hidden shared episode.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..mcp_rpc import McpEpisode
from ..registry import list_envs
from . import problems
from .problems import Problem
from .sessions import Session, Sessions


class Action(BaseModel):
    """What a policy says."""

    model_config = ConfigDict(extra="forbid")

    text: str
    metadata: dict[str, Any] = Field(default_factory=dict)


class Observation(BaseModel):
    """What a policy sees, with what happened."""

    text: str = ""
    messages: list[dict[str, Any]] = Field(default_factory=list)
    feedback: list[dict[str, Any]] = Field(default_factory=list)
    scores: dict[str, float] = Field(default_factory=dict)
    reason: str = ""
    task_id: str = ""
    episode_id: str = ""
    terminated: bool = False
    truncated: bool = False
    error: str | None = None


class State(BaseModel):
    """Where an episode stands."""

    episode_id: str | None = None
    step_count: int = 0
    env_id: str = ""
    task_id: str = ""


class ResetRequest(BaseModel):
    """Body of ``/reset``; other fields are difficulty knobs."""

    model_config = ConfigDict(extra="allow")

    seed: int | None = Field(default=None, ge=0, lt=2**63)
    episode_id: str | None = Field(default=None, max_length=255)


class StepRequest(BaseModel):
    """Body of ``/step``."""

    model_config = ConfigDict(extra="allow")

    action: Action
    episode_id: str | None = Field(default=None, max_length=255)
    timeout_s: float | None = Field(default=None, gt=0)
    request_id: str | None = Field(default=None, max_length=255)


class StepReply(BaseModel):
    """Reply to ``/reset`` and ``/step``."""

    observation: dict[str, Any]
    reward: float | None = None
    done: bool = False


class OpenEnvRouter:
    """ASGI application that hands ``/{env_id}/...`` to the application of that environment, made on first use.

    Args:
        sessions: the server's sessions; those of this protocol count among them.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.apps: dict[str, FastAPI] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        found = await self._find(path)
        if found is None:
            await self._unknown(path, scope, receive, send)
            return
        env_id, app = found
        await app({**scope, "root_path": f"{root}/{env_id}"}, receive, send)

    async def _find(self, path: str) -> tuple[str, FastAPI] | None:
        for env_id, app in self.apps.items():
            if path.startswith(f"/{env_id}/"):
                return env_id, app
        allowed = self.sessions.allowed
        for entry in await asyncio.to_thread(list_envs):
            if path.startswith(f"/{entry.id}/") and (allowed is None or entry.id in allowed):
                self.apps[entry.id] = environment_app(entry.id, entry.summary, self.sessions)
                return entry.id, self.apps[entry.id]
        return None

    async def _unknown(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4404, "reason": "no such environment"})
            return
        problem = Problem("unknown_env", f"no environment at /openenv{path[:100]}; GET /v1/envs lists them")
        answer = problems.response(problem, scope.get("state", {}).get("request_id", ""))
        await answer(scope, receive, send)


def environment_app(env_id: str, summary: str, sessions: Sessions) -> FastAPI:
    """OpenEnv's routes for one environment."""
    app = FastAPI(title=env_id, version="1.0.0")
    problems.install(app)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the environment can be used."""
        return {"status": "healthy"}

    @app.get("/metadata")
    async def metadata() -> dict[str, Any]:
        """What the environment is."""
        return {"name": env_id, "description": summary or env_id, "version": "1.0.0"}

    @app.get("/schema")
    async def schema() -> dict[str, Any]:
        """JSON Schemas of actions, observations and states."""
        return {
            "action": Action.model_json_schema(),
            "observation": Observation.model_json_schema(),
            "state": State.model_json_schema(),
        }

    @app.post("/reset")
    async def reset(body: ResetRequest) -> StepReply:
        """Start an episode; its ``episode_id`` is in the observation."""
        session, reply = await sessions.create(env_id, body.seed, None, dict(body.model_extra or {}))
        return StepReply(**_started(session, reply))

    @app.post("/step")
    async def step(body: StepRequest) -> StepReply:
        """Send an action to the episode named by ``episode_id``."""
        if body.episode_id is None:
            raise Problem("bad_request", "episode_id is missing: send the one that /reset returned, or use /ws")
        reply = await sessions.step(body.episode_id, body.action.text, body.request_id or "")
        return StepReply(**_stepped(body.episode_id, reply))

    @app.get("/state")
    async def state(episode_id: str | None = None) -> State:
        """Where an episode stands; without ``episode_id``, that there is none."""
        return State(env_id=env_id) if episode_id is None else _state(sessions.get(episode_id))

    @app.post("/mcp")
    async def mcp(request: Request) -> JSONResponse:
        """MCP over JSON-RPC: the environment's tools; ``tools/call`` needs an episode, so it works on ``/ws`` only."""
        return JSONResponse(await McpEpisode(env_id).handle_text(await request.body()))

    @app.websocket("/ws")
    async def websocket(socket: WebSocket) -> None:
        """One connection, one environment: reset, step, state, mcp, close."""
        await _Conversation(env_id, sessions, socket).run()

    return app


class _Conversation:
    """One WebSocket connection."""

    def __init__(self, env_id: str, sessions: Sessions, socket: WebSocket) -> None:
        self.env_id, self.sessions, self.socket = env_id, sessions, socket
        self.session: Session | None = None
        self.episode_id = ""

    async def run(self) -> None:
        await self.socket.accept()
        try:
            while True:
                # A half-open connection must not hold a session for ever.
                text = await asyncio.wait_for(self.socket.receive_text(), self.sessions.limits.idle_seconds)
                reply = await self._reply(text)
                if reply is None:
                    break
                await self.socket.send_text(json.dumps(reply, ensure_ascii=True, allow_nan=False))
        except (WebSocketDisconnect, TimeoutError, RuntimeError, KeyError):
            pass
        finally:
            if self.session is not None:
                await self.sessions.close(self.session.id, "disconnected")
            with suppress(RuntimeError, WebSocketDisconnect):  # the other side was first
                await self.socket.close()

    async def _reply(self, text: str) -> dict[str, Any] | None:
        if len(text) > self.sessions.limits.body_bytes:
            return _error(
                "VALIDATION_ERROR", f"the message is longer than {self.sessions.limits.body_bytes} characters"
            )
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return _error("INVALID_JSON", "the message is no JSON")
        kind = message.get("type") if isinstance(message, dict) else None
        data = message.get("data", {}) if isinstance(message, dict) else {}
        try:
            if kind == "reset":
                return await self._reset(ResetRequest.model_validate(data))
            if kind == "step":
                return await self._step(Action.model_validate(data))
            if kind == "state":
                state = _state(self.session) if self.session else State(env_id=self.env_id)
                return {"type": "state", "data": state.model_dump()}
            if kind == "close":
                return None
        except ValidationError as exc:
            first = exc.errors()[0]
            return _error("VALIDATION_ERROR", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        except Problem as problem:
            code = {"capacity": "CAPACITY_REACHED", "bad_request": "VALIDATION_ERROR"}.get(
                problem.code, "EXECUTION_ERROR"
            )
            return _error(code, problem.message)
        return _error("UNKNOWN_TYPE", f"unknown message type {str(kind)[:40]!r}; use reset, step, state or close")

    async def _reset(self, body: ResetRequest) -> dict[str, Any]:
        old, self.session = self.session, None
        if old is not None:
            await self.sessions.close(old.id, "deleted")
        self.session, reply = await self.sessions.create(self.env_id, body.seed, None, dict(body.model_extra or {}))
        return {"type": "observation", "data": _started(self.session, reply)}

    async def _step(self, action: Action) -> dict[str, Any]:
        if self.session is None:
            return _error("SESSION_ERROR", "no episode is running; send reset first")
        reply = await self.sessions.step(self.session.id, action.text)
        return {"type": "observation", "data": _stepped(self.session.id, reply)}


def _started(session: Session, reply: dict[str, Any]) -> dict[str, Any]:
    return {"observation": _observation(session.id, reply), "reward": None, "done": False}


def _stepped(episode_id: str, reply: dict[str, Any]) -> dict[str, Any]:
    done = reply["terminated"] or reply["truncated"]
    return {"observation": _observation(episode_id, reply), "reward": reply["reward"], "done": done}


def _observation(episode_id: str, reply: dict[str, Any]) -> dict[str, Any]:
    info = reply["info"]
    return Observation(
        text="\n\n".join(str(message["content"]) for message in reply["observation"]),
        messages=reply["observation"],
        feedback=info.get("feedback", []),
        scores=info.get("scores", {}),
        reason=info.get("reason", ""),
        task_id=info.get("task_id", ""),
        episode_id=episode_id,
        terminated=reply.get("terminated", False),
        truncated=reply.get("truncated", False),
        error=info.get("error"),
    ).model_dump()


def _state(session: Session) -> State:
    return State(episode_id=session.id, step_count=session.steps, env_id=session.env_id, task_id=session.task_id)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "data": {"code": code, "message": message}}
