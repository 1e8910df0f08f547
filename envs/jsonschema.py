"""Check tool arguments against the part of JSON Schema that tool descriptions use, with named faults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .feedback import quote
from .toolcalls import Fault

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def check_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> Fault | None:
    """The first thing wrong with ``arguments``, or None.

    Args:
        schema: JSON Schema of an object; ``$ref`` into ``$defs`` is followed.
        arguments: the decoded arguments.

    Returns:
        A `Fault` with the code ``missing_argument``, ``unexpected_argument``, ``wrong_type``, ``not_in_enum`` or
        ``out_of_range``.
    """
    return _check(schema, dict(arguments), "", schema, 0)


def _check(schema: Any, value: Any, path: str, root: Mapping[str, Any], depth: int) -> Fault | None:
    if depth > 32 or not isinstance(schema, Mapping):
        return None
    schema = _resolve(schema, root)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            faults = [_check(option, value, path, root, depth + 1) for option in schema[key]]
            if all(fault is not None for fault in faults):
                expected = " or ".join(_type_name(_resolve(option, root)) for option in schema[key])
                return _closest(faults, value, path, expected)
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        if not any(value == item and type(value) is type(item) for item in allowed):
            shown = ", ".join(json.dumps(item, ensure_ascii=False) for item in allowed[:20])
            return Fault("not_in_enum", f"not_in_enum {path}: {_show(value)} is not one of {shown}")
    expected = schema.get("type")
    if expected is not None and not _has_type(value, expected):
        return Fault(
            "wrong_type",
            f"wrong_type {path or 'arguments'}: expected {_type_name(schema)}, got {_kind(value)} {_show(value)}",
        )
    if isinstance(value, dict):
        return _check_object(schema, value, path, root, depth)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            fault = _check(schema["items"], item, f"{path}[{index}]", root, depth + 1)
            if fault:
                return fault
    return _check_range(schema, value, path)


def _check_object(
    schema: Mapping[str, Any], value: dict, path: str, root: Mapping[str, Any], depth: int
) -> Fault | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            return Fault("missing_argument", f"missing_argument {_join(path, name)}")
    for name, item in value.items():
        if name in properties:
            fault = _check(properties[name], item, _join(path, name), root, depth + 1)
            if fault:
                return fault
        elif schema.get("additionalProperties") is False:
            known = ", ".join(properties) or "none"
            return Fault(
                "unexpected_argument", f"unexpected_argument {quote(_join(path, name), 40)}: the arguments are {known}"
            )
        elif isinstance(schema.get("additionalProperties"), Mapping):
            fault = _check(schema["additionalProperties"], item, _join(path, name), root, depth + 1)
            if fault:
                return fault
    return None


def _check_range(schema: Mapping[str, Any], value: Any, path: str) -> Fault | None:
    tests = (
        ("minimum", lambda v, b: v >= b, "at least"),
        ("maximum", lambda v, b: v <= b, "at most"),
        ("exclusiveMinimum", lambda v, b: v > b, "more than"),
        ("exclusiveMaximum", lambda v, b: v < b, "less than"),
        ("minLength", lambda v, b: len(v) >= b, "at least this many characters:"),
        ("maxLength", lambda v, b: len(v) <= b, "at most this many characters:"),
        ("minItems", lambda v, b: len(v) >= b, "at least this many items:"),
        ("maxItems", lambda v, b: len(v) <= b, "at most this many items:"),
    )
    for key, holds, words in tests:
        fits = isinstance(value, str | list) if key.endswith(("Length", "Items")) else _has_type(value, "number")
        if key in schema and fits and not holds(value, schema[key]):
            return Fault("out_of_range", f"out_of_range {path}: expected {words} {schema[key]}, got {_show(value)}")
    return None


def _has_type(value: Any, expected: str | list) -> bool:
    if isinstance(expected, list):
        return any(_has_type(value, item) for item in expected)
    if expected == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if expected == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, _TYPES.get(expected, object))


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
        return target if isinstance(target, Mapping) else {}
    return schema


def _closest(faults: list[Fault | None], value: Any, path: str, expected: str) -> Fault:
    """Of the faults of all alternatives, one that is more telling than a plain type mismatch, if there is one."""
    for fault in faults:
        if fault is not None and fault.code != "wrong_type":
            return fault
    return Fault("wrong_type", f"wrong_type {path}: expected {expected}, got {_kind(value)} {_show(value)}")


def _type_name(schema: Mapping[str, Any]) -> str:
    name = schema.get("type", "value")
    return " or ".join(name) if isinstance(name, list) else str(name)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return next((name for name, kind in _TYPES.items() if isinstance(value, kind)), type(value).__name__)


def _show(value: Any) -> str:
    return quote(json.dumps(value, ensure_ascii=False, default=str)[:200], 40).strip("`")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
