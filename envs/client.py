"""`HttpEnv`: an environment on a server, as a ``gymnasium.Env`` with async twins."""

from __future__ import annotations

import asyncio
import math
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

import gymnasium as gym
import httpx
from gymnasium.error import InvalidAction, ResetNeeded

from ..schema import Feedback, clean_text, new_id
from .core import Observation, Step
from .spaces import Messages, UnicodeText, as_int_seed

# Waits before the tries after the first; a request is repeated only when the server says that it may be, or was not
# reached. Steps carry a request id, so a repeated one is not played twice.
RETRY_WAITS = (0.1, 0.5, 2.0)


class ServerError(RuntimeError):
    """The server refused a request or could not be reached.

    Attributes:
        code: the server's word for it, or ``unreachable``.
        retryable: whether the same request may succeed later.
    """

    def __init__(self, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.code, self.retryable = code, retryable


class HttpEnv(gym.Env[tuple, str]):
    """An environment that runs on an environment server.

    A server that fails in the middle of an episode is a failure of the environment: the step returns the reward
    ``nan``, ``truncated=True`` and ``info["error"]``. A server that fails at ``reset`` raises.

    Args:
        url: base address of the server.
        env_id: id of an environment it offers.
        token: the server's token.
        timeout: longest wait for one reply, in seconds.
        **kwargs: difficulty knobs and settings.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium.Env declares it

    def __init__(
        self, url: str, env_id: str, *, token: str | None = None, timeout: float = 180.0, **kwargs: Any
    ) -> None:
        self.url, self.env_id, self.token, self.timeout = url.rstrip("/"), env_id, token, timeout
        self.kwargs = kwargs
        self.observation_space, self.action_space = Messages(), UnicodeText()
        self.messages: list[dict[str, Any]] = []
        self._session: str | None = None
        self._done = True
        self._seed: int | None = None
        self._options: dict[str, Any] | None = None
        self._actions: list[str] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode on the server.

        Raises:
            ServerError: the server cannot be reached or refuses.
        """
        body = self._reset_body(seed, options)
        self.close()
        return self._started(_call(self, "POST", "/v1/sessions", body))

    async def areset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """The async twin of :meth:`reset`."""
        body = self._reset_body(seed, options)
        await self.aclose()
        return self._started(await _acall(self, "POST", "/v1/sessions", body))

    def step(self, action: str) -> Step:
        """Send the policy's reply to the server."""
        path, body = self._step_request(action)
        try:
            return self._stepped(body["action"], _call(self, "POST", path, body))
        except ServerError as error:
            return self._lost(body["action"], error)

    async def astep(self, action: str) -> Step:
        """The async twin of :meth:`step`."""
        path, body = self._step_request(action)
        try:
            return self._stepped(body["action"], await _acall(self, "POST", path, body))
        except ServerError as error:
            return self._lost(body["action"], error)

    def fork(self) -> HttpEnv:
        """A second episode in the same state, made by replaying seed, knobs and actions on the server."""
        if self._seed is None:
            raise ResetNeeded("fork() copies a running episode; call reset() first")
        twin = HttpEnv(self.url, self.env_id, token=self.token, timeout=self.timeout, **self.kwargs)
        twin.reset(seed=self._seed, options=self._options)
        for action in self._actions:
            twin.step(action)
        return twin

    def close(self) -> None:
        """End the episode on the server. Safe to call twice; a server that is gone is no error."""
        session, self._session, self._done = self._session, None, True
        if session is not None:
            with suppress(ServerError):  # it idles out
                _call(self, "DELETE", f"/v1/sessions/{session}", None, tries=1)

    async def aclose(self) -> None:
        """The async twin of :meth:`close`."""
        session, self._session, self._done = self._session, None, True
        if session is not None:
            with suppress(ServerError):  # it idles out
                await _acall(self, "DELETE", f"/v1/sessions/{session}", None, tries=1)

    # ---- inside ------------------------------------------------------------------------------------------------

    def _reset_body(self, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        if seed is not None:
            super().reset(seed=as_int_seed(seed))
        self._seed = as_int_seed(seed) if seed is not None else int(self.np_random.integers(2**31))
        self._options = options
        return {"env_id": self.env_id, "seed": self._seed, "options": options, "kwargs": self.kwargs}

    def _started(self, reply: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        self._session, self._done, self._actions = reply["session_id"], False, []
        observation = tuple(reply["observation"])
        self.messages = [dict(message) for message in observation]
        return observation, _info(reply["info"])

    def _step_request(self, action: str) -> tuple[str, dict[str, Any]]:
        if not isinstance(action, str):
            raise InvalidAction(f"step({action!r:.60}): an action is the reply as text, not {type(action).__name__}")
        if self._done or self._session is None:
            raise ResetNeeded(f"{self.env_id}: no episode is running; call reset() first")
        # what is longer than any environment reads is sent as one character too many, so that it is judged as too long
        text = clean_text(action[: self.action_space.max_length + 1])  # type: ignore[attr-defined]
        return f"/v1/sessions/{self._session}/step", {"action": text, "request_id": new_id("req")}

    def _stepped(self, action: str, reply: dict[str, Any]) -> Step:
        observation = tuple(reply["observation"])
        self._actions.append(action)
        self.messages += [{"role": "assistant", "content": action}, *(dict(message) for message in observation)]
        if reply["terminated"] or reply["truncated"]:
            self._done, self._session = True, None
        reward = math.nan if reply["reward"] is None else float(reply["reward"])
        return observation, reward, reply["terminated"], reply["truncated"], _info(reply["info"])

    def _lost(self, action: str, error: ServerError) -> Step:
        self._done, self._session = True, None
        self.messages.append({"role": "assistant", "content": action})
        info = {"feedback": [], "scores": {}, "reason": "env_error", "task_id": "", "episode_seed": self._seed or 0}
        return (), math.nan, False, True, {**info, "stop_reason": "env_error", "error": f"{error.code}: {error}"}


def _info(info: dict[str, Any]) -> dict[str, Any]:
    return {**info, "feedback": [Feedback(**item) for item in info.get("feedback", [])]}


# ---- HTTP ----------------------------------------------------------------------------------------------------------

# One connection pool a server, shared by all episodes: making a client takes longer than a step.
_clients: dict[str, httpx.Client] = {}
_clients_lock = threading.Lock()
_async_clients: weakref.WeakKeyDictionary[Any, dict[str, httpx.AsyncClient]] = weakref.WeakKeyDictionary()
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64)


def _client(url: str) -> httpx.Client:
    with _clients_lock:
        if url not in _clients:
            _clients[url] = httpx.Client(base_url=url, limits=_LIMITS, trust_env=False)
        return _clients[url]


def _async_client(url: str) -> httpx.AsyncClient:
    loop = asyncio.get_running_loop()
    clients = _async_clients.setdefault(loop, {})
    if url not in clients:
        clients[url] = httpx.AsyncClient(base_url=url, limits=_LIMITS, trust_env=False)
    return clients[url]


def _call(env: HttpEnv, method: str, path: str, body: Any, tries: int = len(RETRY_WAITS) + 1) -> Any:
    for attempt in range(tries):
        try:
            reply = _client(env.url).request(method, path, json=body, headers=_headers(env), timeout=env.timeout)
            return _content(reply)
        except (httpx.TransportError, ServerError) as error:
            problem = _problem(error, env)
        if not problem.retryable or attempt + 1 == tries:
            raise problem
        time.sleep(RETRY_WAITS[attempt])
    raise AssertionError("unreachable")


async def _acall(env: HttpEnv, method: str, path: str, body: Any, tries: int = len(RETRY_WAITS) + 1) -> Any:
    for attempt in range(tries):
        try:
            client = _async_client(env.url)
            reply = await client.request(method, path, json=body, headers=_headers(env), timeout=env.timeout)
            return _content(reply)
        except (httpx.TransportError, ServerError) as error:
            problem = _problem(error, env)
        if not problem.retryable or attempt + 1 == tries:
            raise problem
        await asyncio.sleep(RETRY_WAITS[attempt])
    raise AssertionError("unreachable")


def _headers(env: HttpEnv) -> dict[str, str]:
    return {"Authorization": f"Bearer {env.token}"} if env.token else {}


def _content(reply: httpx.Response) -> Any:
    if reply.status_code == 204:
        return None
    try:
        content = reply.json()
    except ValueError:
        raise ServerError(
            "bad_reply", f"status {reply.status_code} without JSON; is this an environment server?"
        ) from None
    if reply.is_success:
        return content
    error = content.get("error", {}) if isinstance(content, dict) else {}
    message = error.get("message") or f"status {reply.status_code}"
    raise ServerError(error.get("code", "bad_reply"), message, bool(error.get("retryable")))


def _problem(error: Exception, env: HttpEnv) -> ServerError:
    if isinstance(error, ServerError):
        return error
    if isinstance(error, httpx.TimeoutException):
        return ServerError("timeout", f"{env.url} did not answer within {env.timeout:g} s")
    text = f"{env.url} cannot be reached ({type(error).__name__}); is `palaestra serve envs` running?"
    return ServerError("unreachable", text, retryable=True)
