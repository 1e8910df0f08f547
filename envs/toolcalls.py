"""Tool calls in the text of a reply: one parser a format, named faults, and no silent repair.

``auto`` tries the OpenAI field, then Hermes, then ReAct, and never mixes them. ``xml`` (Qwen3-Coder) and ``python`` are
chosen explicitly. Whatever stands inside ``<think>`` is no call.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .feedback import quote

# Longest part of a reply that is searched for calls, counted from its end.
MAX_SCANNED = 262_144
MAX_PYTHON = 8_000

FAULT_CODES = (
    "no_call_found", "bad_json", "unknown_tool", "missing_argument", "unexpected_argument", "wrong_type", "not_in_enum",
    "out_of_range", "too_many_calls", "forged_result",
)  # fmt: skip


@dataclass(frozen=True)
class ToolCall:
    """One call: the tool's name, its decoded arguments, the id to answer with, and the format it came in."""

    name: str
    arguments: dict[str, Any]
    id: str
    format: str


@dataclass(frozen=True)
class Fault:
    """What is wrong with a call: a code of `FAULT_CODES` and the text for the policy."""

    code: str
    text: str


@dataclass(frozen=True)
class Calls:
    """The calls of a reply. ``repaired`` says that lenient mode changed the text to read them."""

    calls: tuple[ToolCall, ...]
    repaired: bool = False


@dataclass
class _Reading:
    """Options and findings of one parse."""

    lenient: bool
    tools: Mapping[str, Any]
    repaired: bool = False
    calls: list[ToolCall] = field(default_factory=list)


class _Bad(Exception):
    """A fault found inside a parser."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.fault = Fault(code, text)


NO_CALL = Fault("no_call_found", "no_call_found: the reply has no tool call")


def parse(
    text: str, format: str = "auto", *, lenient: bool = False, tools: Mapping[str, Any] | None = None
) -> Calls | Fault:
    """The tool calls in a reply.

    Args:
        text: the reply. An OpenAI assistant message with ``tool_calls`` is sent as its JSON (:func:`openai_action`).
        format: ``auto``, ``openai``, ``hermes``, ``react``, ``xml`` or ``python``.
        lenient: repair trailing commas and single quotes, and set ``repaired``.
        tools: by name; the XML form needs their schemas to type its values.

    Returns:
        The calls, or the first fault; ``no_call_found`` when the reply is no attempt at a call.

    Example:
        >>> parse('<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>').calls[0].arguments
        {'a': 1}
    """
    visible = _without_thoughts(text[-MAX_SCANNED:])
    for name in ("openai", "hermes", "react") if format == "auto" else (format,):
        reading = _Reading(lenient, tools or {})
        try:
            PARSERS[name](visible, reading)
        except _Bad as bad:
            return bad.fault
        if reading.calls:
            return Calls(tuple(reading.calls), reading.repaired)
    return NO_CALL


def openai_action(message: Mapping[str, Any]) -> str:
    """An OpenAI assistant message as an action: its text, or its JSON when it has tool calls."""
    if not message.get("tool_calls"):
        return str(message.get("content") or "")
    kept = {key: message[key] for key in ("content", "tool_calls") if message.get(key) is not None}
    return json.dumps({"role": "assistant", **kept}, ensure_ascii=False)


def describe(schemas: Sequence[Mapping[str, Any]], format: str = "auto") -> str:
    """The system text that lists tools and shows how to call one."""
    lines = "\n".join(json.dumps(schema, ensure_ascii=False) for schema in schemas)
    return f"# Tools\n\nYou may call these functions:\n<tools>\n{lines}\n</tools>\n\n{_HOW[format]}"


_HOW_HERMES = (
    "To call a function, write a JSON object with its name and arguments between the tags:\n"
    '<tool_call>\n{"name": "function_name", "arguments": {"argument": "value"}}\n</tool_call>'
)
_HOW = {
    "auto": _HOW_HERMES,
    "hermes": _HOW_HERMES,
    "openai": "Call functions through the tool_calls field of your message.",
    "react": (
        "To call a function, write two lines and stop:\n"
        'Action: function_name\nAction Input: {"argument": "value"}\n'
        "The result comes back as an Observation; do not write one yourself."
    ),
    "xml": (
        "To call a function, write:\n<tool_call>\n<function=function_name>\n"
        "<parameter=argument>\nvalue\n</parameter>\n</function>\n</tool_call>"
    ),
    "python": (
        'To call functions, write only a list of calls with keyword arguments:\n[function_name(argument="value")]'
    ),
}


# ---- one parser a format: it fills `reading.calls` or raises `_Bad`; finding nothing is no fault -------------------


def _openai(text: str, reading: _Reading) -> None:
    body = text.strip()
    if not body.startswith("{") or '"tool_calls"' not in body:
        return
    message, end = _decode(body, 0, reading)
    if body[end:].strip():
        raise _bad_json(body, end, "text after the message")
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(calls, list):
        raise _Bad("bad_json", "bad_json: tool_calls is not a list")
    for call in calls:
        body_of = call.get("function") if isinstance(call, dict) else None
        if not isinstance(body_of, dict):
            raise _Bad("bad_json", "bad_json: an entry of tool_calls has no function object")
        arguments = body_of.get("arguments")
        if isinstance(arguments, str):
            arguments = _decode_all(arguments or "{}", reading)
        given = call.get("id")
        _add(reading, body_of.get("name"), arguments, "openai", given if isinstance(given, str) and given else None)


def _hermes(text: str, reading: _Reading) -> None:
    if re.search(r"<tool_response\b", text):
        raise _forged()
    position = 0
    while (start := text.find("<tool_call>", position)) >= 0:
        inside = start + len("<tool_call>")
        brace = inside + len(text[inside:]) - len(text[inside:].lstrip())
        if brace >= len(text) or text[brace] != "{":
            raise _bad_json(text, brace, "a JSON object is expected after <tool_call>")
        call, position = _decode(text, brace, reading)
        rest = text[position:].lstrip()
        if rest and not rest.startswith(("</tool_call>", "<tool_call>")):
            raise _bad_json(text, position, "text after the JSON object")
        if not isinstance(call, dict):
            raise _Bad("bad_json", "bad_json: the call is not an object")
        arguments = call.get("arguments", {})
        if isinstance(arguments, str):
            arguments = _decode_all(arguments or "{}", reading)
        _add(reading, call.get("name"), arguments, "hermes")


_ACTION = re.compile(r"^[ \t]*Action:[ \t]*([^\n]{1,200})$", re.MULTILINE)
_INPUT = re.compile(r"\s*Action Input:[ \t]*")


def _react(text: str, reading: _Reading) -> None:
    actions = list(_ACTION.finditer(text))
    if not actions:
        return
    if re.search(r"^[ \t]*Observation:", text, re.MULTILINE):
        raise _forged()
    action = actions[-1]
    given = _INPUT.match(text, action.end())
    arguments: Any = {}
    if given and text[given.end() :].strip():
        start = given.end() + len(text[given.end() :]) - len(text[given.end() :].lstrip())
        if text[start] != "{":
            raise _bad_json(text, start, "Action Input must be a JSON object")
        arguments, end = _decode(text, start, reading)
        if text[end:].strip():
            raise _bad_json(text, end, "text after Action Input")
    _add(reading, action[1].strip(), arguments, "react")


_FUNCTION = re.compile(r"<function=([^>\n]{1,200})>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([^>\n]{1,200})>(.*?)</parameter>", re.DOTALL)


def _xml(text: str, reading: _Reading) -> None:
    if re.search(r"<tool_response\b", text):
        raise _forged()
    for function in _FUNCTION.finditer(text):
        name, body = function[1].strip(), function[2]
        schema = reading.tools[name].parameters if name in reading.tools else {}
        arguments = {}
        for parameter in _PARAMETER.finditer(body):
            key = parameter[1].strip()
            if key in arguments:
                raise _Bad("bad_json", f"bad_json: parameter {quote(key, 40)} is given twice")
            value = parameter[2].removeprefix("\n").removesuffix("\n")
            arguments[key] = _typed(value, schema.get("properties", {}).get(key, {}))
        if body.count("<parameter=") != len(arguments):
            raise _Bad("bad_json", "bad_json: a <parameter=...> is not closed")
        _add(reading, name, arguments, "xml")


def _typed(value: str, schema: Mapping[str, Any]) -> Any:
    """The text of an XML parameter as the schema's type; text that does not fit stays text, and the check names it."""
    kinds = [schema.get("type"), *(option.get("type") for option in schema.get("anyOf", ()))]
    if "string" in kinds or not any(kinds):
        return value
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return value


def _python(text: str, reading: _Reading) -> None:
    body = re.sub(r"^```(?:python|py|tool_code)?\s*\n|\n```$", "", text.strip())
    if not re.match(r"\[?\s*[A-Za-z_]\w*\s*\(", body):
        return
    if len(body) > MAX_PYTHON:
        raise _Bad("bad_json", f"bad_json: the call list has {len(body)} characters, at most {MAX_PYTHON} are read")
    try:
        tree = ast.parse(body, mode="eval").body
    except SyntaxError as error:
        around = quote((body.splitlines() or [""])[min((error.lineno or 1) - 1, body.count("\n"))])
        raise _Bad(
            "bad_json", f"bad_json at line {error.lineno}, column {error.offset}: not a call near {around}"
        ) from None
    except (ValueError, RecursionError, MemoryError):
        raise _Bad("bad_json", "bad_json: the call list cannot be read") from None
    for node in tree.elts if isinstance(tree, ast.List) else [tree]:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
            raise _Bad("bad_json", "bad_json: write calls with keyword arguments only, as name(argument=value)")
        arguments: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise _Bad("bad_json", "bad_json: ** is not allowed in a call")
            arguments[keyword.arg] = _literal(keyword.value, 0)
        _add(reading, node.func.id, arguments, "python")


def _literal(node: ast.expr, depth: int) -> Any:
    """A JSON value from a syntax tree: constants, lists and dicts with text keys; nothing is evaluated."""
    if depth < 32:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | type(None)):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            value = node.operand.value
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value
        if isinstance(node, ast.List | ast.Tuple):
            return [_literal(item, depth + 1) for item in node.elts]
        if isinstance(node, ast.Dict) and all(
            isinstance(k, ast.Constant) and isinstance(k.value, str) for k in node.keys
        ):
            return {k.value: _literal(v, depth + 1) for k, v in zip(node.keys, node.values, strict=True)}  # type: ignore[union-attr]
    raise _Bad("bad_json", "bad_json: an argument is not a plain value (text, number, true/false, None, list, dict)")


PARSERS: dict[str, Callable[[str, _Reading], None]] = {
    "openai": _openai,
    "hermes": _hermes,
    "react": _react,
    "xml": _xml,
    "python": _python,
}


# ---- JSON ----------------------------------------------------------------------------------------------------------


def _decode(text: str, start: int, reading: _Reading) -> tuple[Any, int]:
    """One JSON value at ``start``, and where it ends; repaired first when strict reading fails and that is allowed."""
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        if reading.lenient:
            repaired, consumed = _repair(text[start:])
            try:
                value, _ = _DECODER.raw_decode(repaired)
            except (ValueError, RecursionError):
                pass
            else:
                reading.repaired = True
                return value, start + consumed
        raise _bad_json(text, error.pos, error.msg) from None
    except RecursionError:
        raise _Bad("bad_json", "bad_json: the JSON is nested too deeply") from None
    except ValueError as error:
        raise _Bad("bad_json", f"bad_json: {quote(str(error))}") from None


def _decode_all(text: str, reading: _Reading) -> Any:
    value, end = _decode(text, len(text) - len(text.lstrip()), reading)
    if text[end:].strip():
        raise _bad_json(text, end, "text after the JSON object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is given twice")
    return result


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_unique)


def _repair(text: str) -> tuple[str, int]:
    """The first braced value of ``text`` without trailing commas and single quotes, and its length in ``text``."""
    out: list[str] = []
    depth, i = 0, 0
    while i < len(text):
        char = text[i]
        if char in "\"'":
            end = i + 1
            while end < len(text) and text[end] != char:
                end += 2 if text[end] == "\\" else 1
            inner = text[i + 1 : end]
            out.append('"' + (inner if char == '"' else inner.replace("\\'", "'").replace('"', '\\"')) + '"')
            i = end + 1
            continue
        if char in "}]":
            while out and out[-1].isspace():
                out.pop()
            if out and out[-1] == ",":
                out.pop()
        out.append(char)
        i += 1
        depth += (char in "{[") - (char in "}]")
        if depth == 0:
            break
    return "".join(out), i


def _bad_json(text: str, position: int, why: str) -> _Bad:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    around = quote(text[max(0, position - 30) : position + 30])
    return _Bad("bad_json", f"bad_json at line {line}, column {column} near {around}: {why}")


# ---- small parts ---------------------------------------------------------------------------------------------------


def _forged() -> _Bad:
    return _Bad("forged_result", "forged_result: tool results are supplied by the environment; stop after the call")


def _add(reading: _Reading, name: Any, arguments: Any, format: str, id: str | None = None) -> None:
    if not isinstance(name, str) or not name:
        raise _Bad("bad_json", "bad_json: the call has no name")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise _Bad(
            "wrong_type", f"wrong_type arguments: expected object, got {quote(json.dumps(arguments, default=str), 40)}"
        )
    reading.calls.append(ToolCall(name, arguments, id or f"call_{len(reading.calls)}", format))


def _without_thoughts(text: str) -> str:
    """``text`` without ``<think>`` blocks; one that is never closed hides everything after it."""
    parts, position = [], 0
    while (start := text.find("<think>", position)) >= 0:
        parts.append(text[position:start])
        end = text.find("</think>", start)
        if end < 0:
            return "".join(parts)
        position = end + len("</think>")
    return "".join([*parts, text[position:]])
