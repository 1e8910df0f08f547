"""MCP both ways: tools of an MCP server in our environments, and our environments as MCP servers.

Needs the ``mcp`` library (``pip install 'palaestra[interop]'``). Plain Python functions stay the normal way to give
tools;
MCP pays where there is a process boundary anyway. A session with an MCP server is a connection, so an environment
that uses one cannot be replayed by ``fork()`` unless the server's tools are free of side effects.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from .mcp_rpc import EpisodeTools
from .tools import Tool, ToolBroken, background_loop, run_coroutine


class McpTools:
    """The tools of an MCP server, for ``Ask(text, tools=mcp.tools)``.

    Args:
        server: the URL of a streamable HTTP server, a command as a list (spoken to over stdio), or an ``mcp`` server
            object in this process.
        timeout: longest wait for one call, in seconds.

    Raises:
        ToolBroken: the server cannot be reached.
    """

    def __init__(self, server: Any, *, timeout: float = 60.0) -> None:
        self.timeout = timeout
        self._client: Any = None
        self._failed: BaseException | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._task = asyncio.run_coroutine_threadsafe(self._hold(server), background_loop())
        if not self._ready.wait(timeout) or self._failed is not None:
            self._task.cancel()
            raise ToolBroken(f"the MCP server {server!r:.100} cannot be reached: {_cause(self._failed)}")
        client: Any = self._client
        listed = run_coroutine(client.list_tools(), timeout).tools
        self.tools = tuple(
            Tool(tool.name, tool.description or "", tool.input_schema, self._caller(tool.name), blocking=True)
            for tool in listed
        )

    def close(self) -> None:
        """End the session. Safe to call twice."""
        if self._stop is not None and not self._task.done():
            background_loop().call_soon_threadsafe(self._stop.set)
            self._task.result(self.timeout)

    def __enter__(self) -> McpTools:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    async def _hold(self, server: Any) -> None:
        """Keep the session open in one task, which is what the library requires of its scopes."""
        from mcp import Client, StdioServerParameters

        self._stop = asyncio.Event()
        if isinstance(server, list | tuple):
            server = StdioServerParameters(command=server[0], args=list(server[1:]))
        try:
            async with Client(server) as client:
                self._client = client
                self._ready.set()
                await self._stop.wait()
        except BaseException as exc:
            self._failed = exc
            raise
        finally:
            self._ready.set()

    def _caller(self, name: str) -> Any:
        def call(**arguments: Any) -> str:
            try:
                result = run_coroutine(self._client.call_tool(name, arguments), self.timeout)
            except Exception as exc:
                raise ToolBroken(f"the MCP call of {name} failed: {type(exc).__name__}: {exc}") from exc
            text = "\n".join(part.text for part in result.content if getattr(part, "text", None) is not None)
            if result.is_error:
                raise ValueError(text or "the tool reported an error")
            return text

        return call


def _cause(error: BaseException | None) -> str:
    """What went wrong, out of the groups in which the library's tasks wrap it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "no answer" if error is None else f"{type(error).__name__}: {error}"


def mcp_server(env_id: str, **knobs: Any) -> Any:
    """An environment as an ``mcp`` server object with the tools `reset`, `reply` and those of the environment.

    The protocol keeps no session between requests, so one server object plays one episode at a time; for many at once
    run several, or the environment server.

    Args:
        env_id: a registered id.
        **knobs: difficulty knobs and settings.
    """
    from mcp import types
    from mcp.server.lowlevel import Server

    episode, lock = EpisodeTools(env_id, **knobs), asyncio.Lock()

    async def on_list_tools(context: Any, params: Any) -> Any:
        listed = await asyncio.to_thread(episode.list)
        tools = [
            types.Tool(name=t["name"], description=t["description"], input_schema=t["inputSchema"]) for t in listed
        ]
        return types.ListToolsResult(tools=tools)

    async def on_call_tool(context: Any, params: Any) -> Any:
        async with lock:
            text, wrong, meta = await asyncio.to_thread(episode.call, params.name, dict(params.arguments or {}))
        content: list[Any] = [types.TextContent(type="text", text=text)]
        return types.CallToolResult(content=content, is_error=wrong, structured_content=meta or None)

    return Server(env_id.replace("/", "."), on_list_tools=on_list_tools, on_call_tool=on_call_tool)


def serve_mcp(env_id: str, *, port: int | None = None, **knobs: Any) -> None:
    """Serve an environment as an MCP server until it is stopped: over stdio, or on loopback when a port is given."""
    server = mcp_server(env_id, **knobs)
    if port is not None:
        import uvicorn

        uvicorn.run(server.streamable_http_app(host="127.0.0.1"), host="127.0.0.1", port=port, log_level="warning")
        return
    from mcp.server.stdio import stdio_server

    async def run() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    asyncio.run(run())
