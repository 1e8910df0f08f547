"""The smallest HTTP/1.1 server that can misbehave on purpose: a loopback socket in its own thread.

Ordinary servers cannot reset a connection in the middle of a body or hang, and those are the failures clients must
survive, so the fake server speaks to the socket itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class HttpReply:
    """What goes back over the socket.

    Attributes:
        status: HTTP status code.
        body: bytes of the body; a list is sent as separate server-sent events.
        headers: extra headers.
        delay_s: wait before the first byte.
        hang: never answer; the connection stays open until the client or the server leaves.
        reset_after: send that many bytes of the body, then drop the connection.
    """

    status: int = 200
    body: bytes | list[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    hang: bool = False
    reset_after: int | None = None


Handler = Callable[[str, str, dict[str, str], bytes], Awaitable[HttpReply]]
MAX_BODY = 64 * 2**20


class LoopbackServer:
    """Runs ``handler(method, path, headers, body)`` behind ``http://127.0.0.1:port`` until closed."""

    def __init__(self, handler: Handler):
        self._handler = handler
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-server", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    def start(self) -> None:
        """Bind a free port and serve."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connection, "127.0.0.1", 0, limit=MAX_BODY), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Drop every connection and stop the thread. Safe to call twice."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._shutdown(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _shutdown(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            pass
        finally:
            self._connections.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request, answer it; False when the connection is over."""
        start = await reader.readline()
        if not start:
            return False
        method, path, _ = start.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := (await reader.readline()).decode("latin-1").strip()) != "":
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        reply = await self._handler(method, path, headers, body)
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        if reply.hang:
            await reader.read(1)  # until the client gives up
            return False
        return await self._write(writer, reply)

    async def _write(self, writer: asyncio.StreamWriter, reply: HttpReply) -> bool:
        stream = isinstance(reply.body, list)
        head = {"content-type": "text/event-stream" if stream else "application/json", **reply.headers}
        head["connection" if stream else "content-length"] = "close" if stream else str(len(reply.body))
        lines = [f"HTTP/1.1 {reply.status} X", *(f"{k}: {v}" for k, v in head.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        if isinstance(reply.body, list):
            for event in reply.body:
                writer.write(b"data: " + event + b"\n\n")
                await writer.drain()
            return False
        if reply.reset_after is not None:
            writer.write(reply.body[: reply.reset_after])
            await writer.drain()
            writer.transport.abort()
            return False
        writer.write(reply.body)
        await writer.drain()
        return True


def json_reply(payload: Any, status: int = 200, **options: Any) -> HttpReply:
    """An `HttpReply` with a JSON body."""
    return HttpReply(status, json.dumps(payload).encode(), **options)
