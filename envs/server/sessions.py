"""Sessions: one running episode each, with capacity, deadlines, idle time-out and repeatable replies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...schema import new_id
from ..registry import UnknownEnvironment, find, make
from .guard import wire
from .metrics import Metrics
from .problems import Problem
from .workers import Workers

log = logging.getLogger("palaestra.envs.server")


@dataclass(frozen=True)
class Limits:
    """What the server allows.

    Attributes:
        sessions: running episodes at once.
        idle_seconds: a session without a request for so long is closed.
        step_seconds: longest reset or step; the session is lost after that.
        workers: environments that compute at once.
        body_bytes: longest request body.
    """

    sessions: int = 1024
    idle_seconds: float = 600.0
    step_seconds: float = 120.0
    workers: int = 32
    body_bytes: int = 26_000_000  # a reply of `UnicodeText.max_length` characters, each escaped in JSON


@dataclass
class Session:
    """One episode. ``last`` keeps the reply to the latest request id: a repeated request is not played twice."""

    id: str
    env_id: str
    env: Any
    touched: float
    busy: bool = False
    steps: int = 0
    task_id: str = ""
    last: tuple[str, dict[str, Any]] = ("", {})
    lost: bool = False

    def step(self, action: str) -> Any:
        """Play in a worker thread; when the deadline passed meanwhile, nobody else will close the environment."""
        try:
            return self.env.step(action)
        finally:
            if self.lost:
                self.env.close()


@dataclass
class Sessions:
    """The running episodes of a server.

    Args:
        limits: what is allowed.
        allowed: ids that may be made; None for all.
        metrics: counters to keep.
        clock: seconds that only go forward; tests hand in their own.
    """

    limits: Limits
    allowed: frozenset[str] | None
    metrics: Metrics
    clock: Callable[[], float] = time.monotonic
    open: dict[str, Session] = field(default_factory=dict)
    closing: bool = False

    def __post_init__(self) -> None:
        self.workers = Workers(self.limits.workers)
        self._over: OrderedDict[str, tuple[str, dict[str, Any]]] = OrderedDict()
        self._opening = 0
        self.metrics.sessions_open.set_function(lambda: len(self.open))

    async def create(
        self, env_id: str, seed: int | None, options: dict[str, Any] | None, kwargs: dict[str, Any]
    ) -> tuple[Session, dict[str, Any]]:
        """Start an episode.

        Returns:
            The session and ``{"session_id", "observation", "info"}``.

        Raises:
            Problem: unknown environment, bad knobs, no capacity, or the deadline passed.
        """
        if self.closing:
            raise Problem("shutting_down", "the server is shutting down")
        if len(self.open) + self._opening >= self.limits.sessions:
            raise Problem(
                "capacity",
                f"all {self.limits.sessions} sessions are in use; delete one or wait",
                active=len(self.open),
                limit=self.limits.sessions,
            )
        if self.allowed is not None and env_id not in self.allowed:
            raise Problem("unknown_env", f"this server does not offer {env_id!r}; GET /v1/envs lists what it offers")
        self._opening += 1
        try:
            env, (observation, info) = await self._within(
                lambda: _start(env_id, seed, options, kwargs), env_id, "reset"
            )
        finally:
            self._opening -= 1
        session = Session(new_id("sess"), env_id, env, self.clock(), task_id=info.get("task_id", ""))
        self.open[session.id] = session
        self.metrics.sessions.labels(env_id).inc()
        return session, {"session_id": session.id, "observation": wire(observation), "info": wire(info)}

    async def step(self, session_id: str, action: str, request_id: str = "") -> dict[str, Any]:
        """Send an action. The same ``request_id`` again returns the same reply and plays nothing.

        Raises:
            Problem: unknown or finished session, a step still running, or the deadline passed.
        """
        if session_id in self._over:
            last = self._over[session_id]
            if request_id and last[0] == request_id:
                return last[1]
            raise Problem("episode_over", f"the episode of session {session_id} is over; create a new session")
        session = self.get(session_id)
        if request_id and session.last[0] == request_id:
            return session.last[1]
        if session.busy:
            raise Problem("busy", f"session {session_id} is still working on the last action")
        session.busy = True
        try:
            step = await self._within(lambda: session.step(action), session.env_id, "step")
        except Problem:
            session.lost = True  # the thread still holds the environment
            self._drop(session, "deadline", close=False)
            raise
        except Exception as exc:
            await self.close(session_id, "error")
            log.exception("%s: step failed", session.env_id)
            raise Problem(
                "internal", f"{session.env_id}: step failed with {type(exc).__name__}; the session is closed"
            ) from exc
        finally:
            session.busy = False
            session.touched = self.clock()
        observation, reward, terminated, truncated, info = step
        session.steps += 1
        reply = {
            "observation": wire(observation),
            "reward": wire(float(reward)),
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "info": wire(info),
        }
        self.metrics.steps.labels(session.env_id, "unscored" if "error" in info else "ok").inc()
        session.last = (request_id, reply)
        if terminated or truncated:
            await self.close(session_id, "finished")
        return reply

    def get(self, session_id: str) -> Session:
        """A running session.

        Raises:
            Problem: there is none of this id.
        """
        session = self.open.get(session_id)
        if session is None:
            hint = "it never existed, was deleted, or idled out"
            raise Problem("unknown_session", f"there is no session {session_id[:80]!r}: {hint}")
        session.touched = self.clock()
        return session

    async def close(self, session_id: str, why: str = "deleted") -> None:
        """End a session; ending one that is gone does nothing."""
        session = self.open.get(session_id)
        if session is not None:
            self._drop(session, why, close=True)

    async def reap(self) -> int:
        """Close sessions that have idled too long; returns how many."""
        limit = self.clock() - self.limits.idle_seconds
        idle = [session for session in self.open.values() if session.touched < limit and not session.busy]
        for session in idle:
            self._drop(session, "idle", close=True)
        return len(idle)

    async def reap_forever(self) -> None:
        """Call :meth:`reap` as long as the server runs."""
        while True:
            await asyncio.sleep(min(5.0, max(0.05, self.limits.idle_seconds / 4)))
            await self.reap()

    async def shut_down(self) -> None:
        """Refuse new sessions, end all running ones and let the threads go."""
        self.closing = True
        for session in list(self.open.values()):
            self._drop(session, "shutdown", close=not session.busy)
        self.workers.close()

    def _drop(self, session: Session, why: str, *, close: bool) -> None:
        self.open.pop(session.id, None)
        if why == "finished":
            self._over[session.id] = session.last
            while len(self._over) > 4096:
                self._over.popitem(last=False)
        self.metrics.closed.labels(why).inc()
        if close:
            try:
                session.env.close()
            except Exception:
                log.exception("%s: close failed", session.env_id)

    async def _within(self, function: Callable[[], Any], env_id: str, what: str) -> Any:
        """Run in a worker thread within the deadline."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.limits.step_seconds):
                return await self.workers.run(function)
        except TimeoutError:
            raise Problem("deadline", f"{env_id}: {what} took longer than {self.limits.step_seconds:g} s") from None
        finally:
            self.metrics.seconds.labels(what).observe(time.perf_counter() - started)


def _start(env_id: str, seed: int | None, options: dict[str, Any] | None, kwargs: dict[str, Any]) -> Any:
    if ":" in env_id:  # "module:id" imports a module, which is for people at this machine
        raise Problem("unknown_env", f"{env_id[:80]!r} is no id; GET /v1/envs lists what is offered")
    try:
        find(env_id)
        local = getattr(make(env_id), "local_only", ())
        for name in {*kwargs, *(options or {})} & set(local):
            raise Problem(
                "bad_request", f"{env_id}: {name!r} names things on the server and cannot be set from outside"
            )
        env = make(env_id, **kwargs)
        return env, env.reset(seed=seed, options=options)
    except UnknownEnvironment as exc:
        raise Problem("unknown_env", str(exc)) from None
    except (TypeError, ValueError, RuntimeError) as exc:
        raise Problem("bad_request", f"{env_id}: {exc}"[:1000]) from exc
