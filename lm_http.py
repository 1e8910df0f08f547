"""The HTTP side of `palaestra.lm`: one client an event loop, connections kept in a stack, failures as typed errors.

httpx's own pool looks at all of its connections for every request, so that 256 at once spend most of their processor
time there (2 ms a request); with a stack it is 0.4 ms. The protocol itself is httpcore's. Where a proxy is set for the
server, httpx's pool, which knows proxies, is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from .lm_types import (
    LMAuthError,
    LMBadRequest,
    LMConnectionError,
    LMContextLengthError,
    LMError,
    LMProtocolError,
    LMRateLimited,
    LMServerError,
    LMTimeout,
    parse_retry_after,
)

OPENAI_URL = "https://api.openai.com/v1"
_IDLE_S = 5.0  # servers close idle connections after about as long
_Origin = tuple[bytes, bytes, int]


def open_client(base_url: str | None, api_key: str | None, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client for one server, with the environment variables that OpenAI's own client reads.

    Args:
        base_url: address up to and including ``/v1``; else ``OPENAI_BASE_URL``, else OpenAI itself.
        api_key: else ``OPENAI_API_KEY``, else a placeholder for servers without keys.
        timeout: seconds to connect, read and write.

    Raises:
        LMBadRequest: the address is none.
    """
    url = base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
    if not re.match(r"https?://[^/\s]", url):
        raise LMBadRequest(f"base_url is {url!r}; give http://HOST:PORT/v1")
    headers = {
        "Authorization": f"Bearer {api_key or os.environ.get('OPENAI_API_KEY') or 'no-key-needed'}",
        "Content-Type": "application/json",
        "User-Agent": "palaestra",
    }
    for header, variable in (("OpenAI-Organization", "OPENAI_ORG_ID"), ("OpenAI-Project", "OPENAI_PROJECT_ID")):
        if os.environ.get(variable):
            headers[header] = os.environ[variable]
    unbounded = httpx.Limits(max_connections=None, max_keepalive_connections=None)  # the limiter bounds them
    try:
        proxied = _proxied(url)
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise LMBadRequest(f"base_url is {url!r} ({error}); give http://HOST:PORT/v1") from None
    return httpx.AsyncClient(
        base_url=url, headers=headers, timeout=timeout, follow_redirects=True, limits=unbounded,
        transport=None if proxied else Connections(),
    )  # fmt: skip


def _proxied(url: str) -> bool:
    parts, proxies = urlsplit(url), urllib.request.getproxies()
    wanted = parts.scheme in proxies or "all" in proxies
    return wanted and not urllib.request.proxy_bypass(parts.hostname or "")


class Connections(httpx.AsyncBaseTransport):
    """As many connections as there are requests at once; the one used last is used next. For one event loop."""

    def __init__(self) -> None:
        self._idle: dict[_Origin, deque[tuple[float, httpcore.AsyncHTTPConnection]]] = {}
        self._tls: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; called by httpx."""
        url = request.url
        origin = (url.raw_scheme, url.raw_host, url.port or (443 if url.scheme == "https" else 80))
        connection = await self._take(origin)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        wire = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=origin[0], host=origin[1], port=origin[2], target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            answer = await connection.handle_async_request(wire)
        except BaseException:
            await _close(connection)
            raise
        body = _Body(self, origin, connection, answer)
        return httpx.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)

    async def _take(self, origin: _Origin) -> httpcore.AsyncHTTPConnection:
        idle = self._idle.setdefault(origin, deque())
        while idle and time.monotonic() - idle[0][0] > _IDLE_S:
            await _close(idle.popleft()[1])
        while idle:
            _, connection = idle.pop()
            if not connection.has_expired():  # the server has not hung up meanwhile
                return connection
            await _close(connection)
        if origin[0] == b"https" and self._tls is None:
            self._tls = httpx.create_ssl_context()
        where = httpcore.Origin(*origin)
        return httpcore.AsyncHTTPConnection(where, ssl_context=self._tls, keepalive_expiry=_IDLE_S)

    async def give_back(self, origin: _Origin, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keep a connection whose reply has been read to its end; close any other."""
        if connection.is_idle():
            self._idle[origin].append((time.monotonic(), connection))
        else:
            await _close(connection)

    async def aclose(self) -> None:
        """Close what is idle."""
        for idle in self._idle.values():
            while idle:
                await _close(idle.pop()[1])


class _Body(httpx.AsyncByteStream):
    def __init__(
        self, pool: Connections, origin: _Origin, connection: httpcore.AsyncHTTPConnection, answer: httpcore.Response
    ) -> None:
        self._pool, self._origin, self._connection, self._answer = pool, origin, connection, answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()
        await self._pool.give_back(self._origin, self._connection)


async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
    """Close, also while the task is being cancelled."""
    with contextlib.suppress(Exception):
        await asyncio.shield(asyncio.ensure_future(connection.aclose()))


# ------------------------------------------------------------------------------------------------- errors
def translate(raised: Exception, model: str) -> LMError:
    """The typed error for whatever kept a reply from coming."""
    where = f"model {model!r}"
    if isinstance(raised, httpx.TimeoutException | httpcore.TimeoutException):
        return LMTimeout(f"{where}: connect or read deadline passed")
    if isinstance(raised, httpx.TransportError | httpcore.NetworkError | httpcore.ProtocolError | OSError):
        return LMConnectionError(f"{where}: {raised or type(raised).__name__}; is the server running?")
    return LMProtocolError(f"{where}: {type(raised).__name__}: {raised}")


def status_error(response: httpx.Response, model: str) -> LMError:
    """The typed error for a reply with an error status."""
    code = response.status_code
    text = f"model {model!r}: HTTP {code}: {_message(response.content)[:300]}"
    wait = parse_retry_after(response.headers)
    if code == 429:
        return LMRateLimited(text, http_status=code, retry_after=wait)
    if code in (408, 409) or code >= 500:
        kind = LMTimeout if code in (408, 504) else LMServerError
        return kind(text, http_status=code, retry_after=wait)
    if code in (401, 403):
        return LMAuthError(text, http_status=code)
    if "context length" in text.lower() or "context_length" in text.lower() or code == 413:
        return LMContextLengthError(text, http_status=code)
    return LMBadRequest(text, http_status=code)


def _message(body: bytes) -> str:
    """What an error body says: OpenAI's ``error.message``, FastAPI's ``detail``, else its text."""
    text = body[:10_000].decode("utf-8", "replace").strip()
    try:
        data = json.loads(body)
        error = data.get("error") or data.get("message") or data.get("detail") or text
        if isinstance(error, dict):
            return " ".join(str(error[key]) for key in ("message", "code") if error.get(key)) or text
        return str(error)
    except (ValueError, AttributeError, RecursionError):
        return text or "no body"
