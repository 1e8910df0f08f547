"""Tools from typed Python functions: their JSON schemas, the checking of arguments, and the running of calls."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PydanticSchemaGenerationError, create_model

from ..schema import Feedback, clean_text
from . import toolcalls
from .feedback import bounded, quote
from .jsonschema import check_arguments
from .settings import Settings
from .toolcalls import Fault, ToolCall
from .turns import Ask, Result

MAX_CALLS = 16
MAX_OUTPUT = 20_000

# In a tool result only the tokens that would close the result or the turn are removed; other text is data.
_CLOSING = re.compile(r"<\|[^|>\n]{0,40}\|>|</?tool_response>", re.IGNORECASE)


class ToolBroken(RuntimeError):
    """Raised by a tool that itself failed (a service is down): the episode ends unscored.

    Any other exception of a tool is an answer to the policy's call: its text is shown and the episode goes on.
    """


@dataclass(frozen=True)
class Tool:
    """A function a policy may call.

    Attributes:
        name: its name in calls.
        description: what it does, for the prompt.
        parameters: JSON Schema of the arguments (an object).
        call: runs it with keyword arguments; may be a coroutine function.
        blocking: it takes long, so ``astep`` runs it in a thread.

    Example:
        >>> def add(a: int, b: int = 1) -> int:
        ...     '''Add two integers.'''
        ...     return a + b
        >>> Tool.of(add).parameters["required"]
        ['a']
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[..., Any] = field(repr=False)
    blocking: bool = False

    @classmethod
    def of(cls, function: Callable[..., Any] | Tool) -> Tool:
        """A tool from a function: the schema from its type hints, the descriptions from its Google docstring.

        Raises:
            TypeError: a parameter has no hint, or is positional-only or variadic.
        """
        if isinstance(function, Tool):
            return function
        name = getattr(function, "__name__", type(function).__name__)
        model, texts = _argument_model(function, name)
        schema = _tidy(model.model_json_schema())
        schema.setdefault("properties", {})
        schema.setdefault("required", [])
        schema["additionalProperties"] = False

        def call(**arguments: Any) -> Any:
            checked = model.model_validate(arguments)
            return function(**{key: getattr(checked, key) for key in checked.model_fields_set})

        slow = inspect.iscoroutinefunction(function)
        if slow:

            def call_async(**arguments: Any) -> Any:
                return run_coroutine(call(**arguments))

            return cls(name, texts[""], schema, call_async, blocking=True)
        return cls(name, texts[""], schema, call, blocking=bool(getattr(function, "blocking", False)))

    def openai(self) -> dict[str, Any]:
        """The tool in the form of OpenAI chat completions, which Hermes and Qwen templates take as well."""
        body = {
            "name": self.name,
            "description": self.description,
            "parameters": json.loads(json.dumps(self.parameters)),
        }
        return {"type": "function", "function": body}

    def mcp(self) -> dict[str, Any]:
        """The tool in the form of an MCP ``tools/list`` answer."""
        schema = json.loads(json.dumps(self.parameters))
        return {"name": self.name, "description": self.description, "inputSchema": schema}

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any], call: Callable[..., Any], *, blocking: bool = False) -> Tool:
        """A tool from its OpenAI, Hermes or MCP form and the function that runs it."""
        body = schema.get("function", schema)
        parameters = body.get("parameters") or body.get("inputSchema") or {"type": "object", "properties": {}}
        return cls(body["name"], body.get("description") or "", parameters, call, blocking)


class Toolbox:
    """The tools of one turn: parses a reply, checks and runs its calls, and words what went wrong.

    Args:
        tools: functions or `Tool`.
        settings: tool format and leniency.
        counts: the episode's counters; ``tool_calls``, ``tool_faults`` and one counter a fault are added to it.
    """

    def __init__(self, tools: Sequence[Any], settings: Settings, counts: dict[str, float]) -> None:
        self.given = tuple(tools)
        self.tools = {tool.name: tool for tool in map(Tool.of, tools)}
        if len(self.tools) != len(self.given):
            raise ValueError(
                f"two tools have the same name among {[Tool.of(t).name for t in tools]}; names must differ"
            )
        self.settings = settings
        self.counts = counts
        self.blocking = any(tool.blocking for tool in self.tools.values())

    def same(self, tools: Sequence[Any]) -> bool:
        """Whether ``tools`` are the ones this box was made from."""
        return len(tools) == len(self.given) and all(a is b or a == b for a, b in zip(tools, self.given, strict=True))

    def openai_schemas(self) -> list[dict[str, Any]]:
        """The tools as OpenAI schemas, freshly made."""
        return [tool.openai() for tool in self.tools.values()]

    def prompt(self) -> str:
        """The system text that describes the tools and the way to call them."""
        return toolcalls.describe(self.openai_schemas(), self.settings.tool_format)

    def handle(self, text: str) -> Ask | Result | None:
        """Run the calls in a reply.

        Returns:
            None when the reply is no tool call; a `Result` when a tool ended the episode; else the turn with the
            results or with the named fault.
        """
        parsed = toolcalls.parse(text, self.settings.tool_format, lenient=self.settings.lenient, tools=self.tools)
        if isinstance(parsed, Fault):
            return None if parsed.code == "no_call_found" else self._refuse([(None, parsed)])
        if len(parsed.calls) > MAX_CALLS:
            many = Fault(
                "too_many_calls", f"too_many_calls: {len(parsed.calls)} calls, at most {MAX_CALLS} in one reply"
            )
            return self._refuse([(None, many)])
        faults = [(call, found) for call in parsed.calls if (found := self._check(call)) is not None]
        if faults:
            return self._refuse(faults)
        info = {"repaired": True} if parsed.repaired else {}
        messages, notes = [], []
        for call in parsed.calls:
            self._count("tool_calls")
            try:
                value = self.tools[call.name].call(**call.arguments)
            except ToolBroken:
                raise
            except Exception as exc:
                self._count("tool_errors")
                note = bounded(Feedback(text=f"{call.name}: {type(exc).__name__}: {exc}", kind="error"))
                notes.append(note)
                messages.append(self._answer(call, f"Error: {note.text}"))
                continue
            if isinstance(value, Result):
                return value
            messages.append(self._answer(call, as_text(value)))
        return Ask(messages, self.given, notes, reason="tool_error" if notes else "tool_result", info=info)

    def _check(self, call: ToolCall) -> Fault | None:
        if call.name not in self.tools:
            names = ", ".join(sorted(self.tools))
            return Fault("unknown_tool", f"unknown_tool {quote(call.name, 40)}: the tools are {names}")
        return check_arguments(self.tools[call.name].parameters, call.arguments)

    def _refuse(self, faults: Sequence[tuple[ToolCall | None, Fault]]) -> Ask:
        """No call was run; say why, in place of the results."""
        messages, notes = [], []
        for call, fault in faults:
            self._count("tool_faults")
            self._count(f"tool_faults/{fault.code}")
            notes.append(Feedback(text=fault.text, kind="format", details={"code": fault.code}))
            text = f"Error: {fault.text}. No call was run."
            messages.append(self._answer(call, text) if call else {"role": "user", "content": text})
        return Ask(messages, self.given, notes, reason=faults[0][1].code)

    def _answer(self, call: ToolCall, text: str) -> dict[str, Any]:
        if call.format == "react":
            return {"role": "user", "content": f"Observation: {text}"}
        return {"role": "tool", "content": text, "name": call.name, "tool_call_id": call.id}

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0.0) + 1.0


def as_text(value: Any) -> str:
    """A tool's return value as the text the policy sees: strings as they are, the rest as JSON, cut when very long."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = _CLOSING.sub("", clean_text(text))
    return text if len(text) <= MAX_OUTPUT else text[:MAX_OUTPUT] + f"\n[cut: {len(text)} characters in all]"


def _argument_model(function: Callable[..., Any], name: str) -> tuple[type[BaseModel], dict[str, str]]:
    """A pydantic model of a function's parameters, and its documentation (``""`` is the description)."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"tool {name}: a type hint cannot be resolved ({error}); import it at module level") from None
    texts = _documentation(inspect.getdoc(function) or "")
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(
                f"tool {name}: parameter {parameter.name!r} is {parameter.kind.description}; name every argument"
            )
        if parameter.name not in hints:
            raise TypeError(
                f"tool {name}: parameter {parameter.name!r} has no type hint; add one, e.g. {parameter.name}: int"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        text = texts.get(parameter.name)
        fields[parameter.name] = (hints[parameter.name], Field(default, description=text) if text else default)
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False, protected_namespaces=())
    try:
        return create_model(name, __config__=config, **fields), texts
    except PydanticSchemaGenerationError as error:
        first = str(error).partition(". ")[0]
        raise TypeError(
            f"tool {name}: {first}; hint arguments with str, int, float, bool, list, dict, Literal or a pydantic model"
        ) from None


def _documentation(doc: str) -> dict[str, str]:
    """The description and the ``Args:`` entries of a Google docstring."""
    head, _, rest = doc.partition("\nArgs:")
    texts = {"": " ".join(re.split(r"\n\s*(?:Returns|Raises|Example|Yields):", head)[0].split())}
    for match in re.finditer(
        r"^\s+(\w+)(?:\s*\([^)\n]*\))?:\s*(.+(?:\n\s{8,}.+)*)", rest.split("\n\n")[0], re.MULTILINE
    ):
        texts[match[1]] = " ".join(match[2].split())
    return texts


def _tidy(schema: Any) -> Any:
    """A pydantic schema without its generated titles."""
    if isinstance(schema, dict):
        return {
            # below "properties" the keys are names of arguments, and one of them may be called "title"
            key: {name: _tidy(inner) for name, inner in value.items()} if key == "properties" else _tidy(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_tidy(item) for item in schema] if isinstance(schema, list) else schema


_loop: asyncio.AbstractEventLoop | None = None
_loop_lock = threading.Lock()


def background_loop() -> asyncio.AbstractEventLoop:
    """One event loop in a daemon thread, for coroutine tools and MCP sessions used from plain code."""
    global _loop
    with _loop_lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="palaestra-tools", daemon=True).start()
        return _loop


def run_coroutine(coroutine: Any, timeout: float | None = 60.0) -> Any:
    """Run a coroutine on the background loop and wait for it.

    Raises:
        TimeoutError: it took longer than ``timeout`` seconds; it is cancelled.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, background_loop())
    try:
        return future.result(timeout)
    except TimeoutError:
        future.cancel()
        raise
