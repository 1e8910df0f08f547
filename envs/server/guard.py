"""What stands before every route: request ids, the token, and the size limit of bodies."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Problem, response

LOOPBACK = ("127.0.0.1", "localhost", "::1")

# Probes of load balancers carry no token.
_OPEN_PATHS = ("/health", "/healthz")
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")


class Guard:
    """ASGI middleware around the whole server.

    Args:
        app: what is guarded.
        token: required as ``Authorization: Bearer TOKEN`` (or as the password of Basic authentication, for clients
            that can only put it into the URL); None lets everybody in.
        max_body: longest request body in bytes.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, max_body: int = 26_000_000) -> None:
        self.app, self.token, self.max_body = app, token, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex[:16]
        scope.setdefault("state", {})["request_id"] = request_id
        if self.token is not None and scope["path"] not in _OPEN_PATHS and not self._admits(headers):
            problem = Problem("unauthorized", "send the header `Authorization: Bearer TOKEN` with the server's token")
            await self._refuse(problem, request_id, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.max_body:
            await self._refuse(self._too_large(), request_id, scope, receive, send)
            return
        await self._limited(scope, receive, send, request_id)

    async def _limited(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Serve with a body whose length is counted, since a chunked request does not announce it."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self.max_body:
                    raise self._too_large()
            return message

        async def marked(message: Message) -> None:
            if seen > self.max_body:
                return  # the route has made an error of its own out of the broken body; ours follows
            if message["type"] == "http.response.start":
                message.setdefault("headers", []).append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self.app(scope, counted, marked)
        except Problem:
            if seen <= self.max_body:
                raise
        if seen > self.max_body:
            await self._refuse(self._too_large(), request_id, scope, receive, send)

    def _too_large(self) -> Problem:
        return Problem("too_large", f"the request body is longer than {self.max_body} bytes", max_bytes=self.max_body)

    def _admits(self, headers: dict[str, str]) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif kind.lower() != "bearer":
            return False
        assert self.token is not None
        return hmac.compare_digest(value.strip().encode(), self.token.encode())

    async def _refuse(self, problem: Problem, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4401, "reason": problem.message[:120]})
            return
        await response(problem, request_id)(scope, receive, send)


def require_token(host: str, token: str | None) -> None:
    """Refuse to serve other machines without a token.

    Raises:
        ValueError: ``host`` is not loopback and there is no token.
    """
    if host not in LOOPBACK and not token:
        raise ValueError(
            f"host={host!r} can be reached from other machines, so a token is required: set --token "
            "or PALAESTRA_TOKEN, or bind 127.0.0.1"
        )


def wire(value: Any) -> Any:
    """``value`` as plain JSON data: Feedback as dicts, numpy as Python, nan and infinity as null."""
    if hasattr(value, "model_dump"):
        return wire(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {str(key): wire(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [wire(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if isinstance(value, str | int | bool | type(None)) else str(value)
