"""An environment's tools as MCP tools: one episode behind `reset`, `reply` and the tools of its current turn.

`EpisodeTools` knows nothing of transports. `mcp_bridge.py` serves it with the ``mcp`` library; `McpEpisode` answers
the few JSON-RPC methods OpenEnv's ``/mcp`` route needs.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from .registry import make
from .toolcalls import openai_action

PROTOCOL = "2025-06-18"

_RESET = {
    "name": "reset",
    "description": "Start a new episode and read its task.",
    "inputSchema": {
        "type": "object",
        "properties": {"seed": {"type": "integer", "minimum": 0, "description": "Names the task."}},
        "additionalProperties": False,
    },
}
_REPLY = {
    "name": "reply",
    "description": "Answer in plain text, without a tool.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    },
}


class EpisodeTools:
    """One episode of an environment as a set of tools.

    Args:
        env_id: a registered id.
        **knobs: knobs and settings; tool calls always come in the OpenAI form here.
    """

    def __init__(self, env_id: str, **knobs: Any) -> None:
        self.env = make(env_id, **{**knobs, "tool_format": "openai", "tools_in_prompt": False})
        self._tools: list[dict[str, Any]] = []
        self.running = False

    def list(self) -> list[dict[str, Any]]:
        """The tools in MCP form: `reset`, `reply` and those of the current turn (of task 0 before the first reset)."""
        if not self._tools and not self.running:
            _, info = self.env.reset(seed=0)
            self._tools = info.get("tools", [])
        shown = [
            {"name": f["name"], "description": f["description"], "inputSchema": f["parameters"]}
            for f in (tool["function"] for tool in self._tools)
        ]
        return [_RESET, _REPLY, *(tool for tool in shown if tool["name"] not in ("reset", "reply"))]

    def call(self, name: str, arguments: dict[str, Any]) -> tuple[str, bool, dict[str, Any]]:
        """Run one call.

        Returns:
            The text for the model, whether it is an error, and what a harness wants to know (reward, ending).
        """
        if name == "reset":
            seed = arguments.get("seed")
            if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
                return "wrong_type seed: expected a non-negative integer", True, {}
            observation, info = self.env.reset(seed=seed)
            self.running = True
            self._tools = info.get("tools", [])
            return _text(observation), False, {"task_id": info["task_id"]}
        if not self.running:
            return "No episode is running; call reset first.", True, {}
        if name == "reply":
            action = str(arguments.get("text", ""))
        else:
            body = {"name": name, "arguments": json.dumps(arguments)}
            action = openai_action({"tool_calls": [{"id": "call_0", "type": "function", "function": body}]})
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._tools = info.get("tools", self._tools)
        done = terminated or truncated
        self.running = not done
        notes = "\n".join(item.text for item in info["feedback"])
        text = "\n\n".join(
            filter(None, [_text(observation), notes if done else "", "The episode is over." if done else ""])
        )
        meta = {"reward": None if reward != reward else reward, "terminated": terminated, "truncated": truncated}
        return text, any(item.kind in ("format", "error") for item in info["feedback"]) and not done, meta

    def close(self) -> None:
        """End the episode."""
        self.env.close()


class McpEpisode:
    """The JSON-RPC methods ``initialize``, ``ping``, ``tools/list`` and ``tools/call`` of one environment.

    Args:
        env_id: a registered id.
    """

    def __init__(self, env_id: str) -> None:
        self.env_id = env_id

    async def handle_text(self, body: bytes) -> dict[str, Any]:
        """Answer one JSON-RPC request; a malformed one gets a JSON-RPC error."""
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return _rpc_error(None, -32700, "the body is no JSON")
        if (
            not isinstance(request, dict)
            or request.get("jsonrpc") != "2.0"
            or not isinstance(request.get("method"), str)
        ):
            return _rpc_error(None, -32600, "not a JSON-RPC 2.0 request")
        return await self.handle(request)

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one decoded request."""
        id, method = request.get("id"), request["method"]
        if method == "initialize":
            server = {"name": self.env_id, "version": "1.0.0"}
            return _rpc(id, {"protocolVersion": PROTOCOL, "capabilities": {"tools": {}}, "serverInfo": server})
        if method == "ping":
            return _rpc(id, {})
        if method == "tools/list":
            return _rpc(id, {"tools": await asyncio.to_thread(lambda: EpisodeTools(self.env_id).list())})
        if method == "tools/call":
            return _rpc_error(id, -32000, "no episode: run `palaestra serve mcp ENV`, or use the WebSocket")
        return _rpc_error(id, -32601, f"unknown method {method[:40]!r}")


def _text(observation: tuple[dict[str, Any], ...]) -> str:
    return "\n\n".join(str(message["content"]) for message in observation)


def _rpc(id: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": result}


def _rpc_error(id: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}
