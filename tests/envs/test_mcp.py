"""MCP both ways: our environment behind an MCP server, and an MCP server's tools in our environment."""

import socket
import subprocess
import sys
import time

import httpx
import pytest

import palaestra as pl
from palaestra.envs.mcp_rpc import EpisodeTools

pytest.importorskip("mcp")

from palaestra.envs.mcp_bridge import McpTools, mcp_server
from palaestra.envs.tools import ToolBroken


def _numbers(text):
    return [int(word) for word in text.split() if word.isdigit()]


def test_an_environment_as_tools():
    tools = EpisodeTools("test/Add-v0")
    assert [tool["name"] for tool in tools.list()] == ["reset", "reply", "add", "fail", "submit"]
    assert tools.call("add", {"a": 1, "b": 2})[1] is True  # no episode yet
    prompt, wrong, _ = tools.call("reset", {"seed": 3})
    a, b = _numbers(prompt)
    assert not wrong and tools.call("add", {"a": a, "b": b})[:2] == (str(a + b), False)
    assert tools.call("add", {"a": "x", "b": 1})[1] is True
    assert "no tool call" not in tools.call("reply", {"text": "hello"})[0]
    text, wrong, meta = tools.call("submit", {"total": a + b})
    assert "over" in text and not wrong and meta == {"reward": 1.0, "terminated": True, "truncated": False}
    assert tools.call("reset", {"seed": "x"})[1] is True


def test_mcp_client_to_mcp_server_in_process():
    with McpTools(mcp_server("test/Add-v0")) as remote:
        tools = {tool.name: tool for tool in remote.tools}
        assert tools["add"].parameters["required"] == ["a", "b"] and tools["add"].description == "Add two integers."
        a, b = _numbers(tools["reset"].call(seed=3))
        assert tools["add"].call(a=a, b=b) == str(a + b)
        with pytest.raises(ValueError, match="wrong_type a"):
            tools["add"].call(a="x", b=1)
        assert "over" in tools["submit"].call(total=a + b)
    remote.close()


def test_an_mcp_server_gives_tools_to_an_environment():
    with McpTools(mcp_server("test/Add-v0")) as remote:

        @pl.env("test/Remote-v0")
        def uses(rng):
            while True:
                reply = yield pl.Ask("Use the tools.", tools=remote.tools)
                if "done" in reply:
                    return 1.0

        env = pl.make("test/Remote-v0")
        env.reset(seed=0)
        message = env.step('<tool_call>{"name": "reset", "arguments": {"seed": 3}}</tool_call>')[0][0]
        assert message["role"] == "tool" and message["content"].startswith("Add ")
        info = env.step('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')[4]
        assert info["reason"] == "missing_argument"
        assert env.step("done")[1] == 1.0


def test_stdio_server_of_the_command_line():
    command = [sys.executable, "-m", "palaestra", "serve", "mcp", "palaestra/Lookup-v0"]
    with McpTools(command, timeout=60) as remote:
        tools = {tool.name: tool for tool in remote.tools}
        assert "Question:" in tools["reset"].call(seed=0)
        assert "No page" in tools["reply"].call(text="search[zzz]")


def test_http_server_of_the_command_line():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "palaestra", "serve", "mcp", "palaestra/Travel-v0", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(f"http://127.0.0.1:{port}/mcp")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        with McpTools(f"http://127.0.0.1:{port}/mcp", timeout=60) as remote:
            tools = {tool.name: tool for tool in remote.tools}
            assert "Plan a trip" in tools["reset"].call(seed=4) and '"more": true' in tools["search_cities"].call(
                limit=2
            )
            with pytest.raises(ValueError, match="not_in_enum"):
                tools["get"].call(kind="booking", id=1)
            assert "over" in tools["submit_plan"].call(items=[])
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("server", [[sys.executable, "-c", "raise SystemExit(3)"], "http://127.0.0.1:9/mcp"])
def test_a_server_that_cannot_be_reached_is_a_broken_tool(server):
    with pytest.raises(ToolBroken, match="cannot be reached") as caught:
        McpTools(server, timeout=15)
    assert "TaskGroup" not in str(caught.value)
