"""Values that cross between processes as data: JSON with tags for what JSON lacks. Nothing is ever unpickled.

Plain: None, booleans, small integers, finite floats, text, lists, dicts with text keys. Tagged as
``{"$": kind, "v": ...}``: large integers, other floats, complex, bytes, tuples, sets, frozensets, and dicts with other
keys. Subclasses are rebuilt as the built-in type they derive from, so an object with a clever ``__eq__`` arrives as
dead data or not at all.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from .frames import FrameError, parse_json

MAX_DEPTH = 100
MAX_BYTES = 8 << 20
MAX_HASHED = 20_000  # elements of one set or of one dict with non-text keys: bounds what colliding hashes can cost
_PLAIN_INT = 1 << 63


class ValueProblem(ValueError):
    """A value cannot cross. ``kind`` is ``unsupported_type``, ``value_too_large`` or ``too_deep``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Budget:
    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise ValueProblem("value_too_large", f"the value is larger than {MAX_BYTES} bytes as data")


def encode(value: Any, max_bytes: int = MAX_BYTES) -> bytes:
    """A value as tagged JSON.

    Raises:
        ValueProblem: the value has an unsupported type, or is too large or too deep (also: cyclic).

    Example:
        >>> encode([1, (2, {3})])
        b'[1,{"$":"tuple","v":[2,{"$":"set","v":[3]}]}]'
    """
    return json.dumps(_tag(value, 0, _Budget(max_bytes)), separators=(",", ":")).encode("ascii")


def decode(data: bytes) -> Any:
    """The value of tagged JSON, made of exact built-in types only.

    Raises:
        FrameError: the bytes are not tagged JSON.
    """
    return _untag(parse_json(data), 0)


def _tagged(kind: str, value: Any) -> dict[str, Any]:
    return {"$": kind, "v": value}


def _tag(value: Any, depth: int, budget: _Budget) -> Any:
    if depth > MAX_DEPTH:
        raise ValueProblem("too_deep", f"the value is nested deeper than {MAX_DEPTH} levels, or contains itself")
    budget.spend(2)
    kind = type(value)
    if value is None or kind is bool:
        return value
    if isinstance(value, int):
        value = int.__add__(value, 0)
        if -_PLAIN_INT <= value < _PLAIN_INT:
            return value
        budget.spend(value.bit_length() // 4)
        return _tagged("int", hex(value))
    if isinstance(value, float):
        value = float.__add__(value, 0.0)
        return value if math.isfinite(value) else _tagged("float", repr(value))
    if isinstance(value, str):
        budget.spend(len(value))
        return value
    if isinstance(value, (bytes, bytearray)):
        budget.spend(2 * len(value))
        return _tagged("bytes", base64.b64encode(value).decode("ascii"))
    if isinstance(value, list):
        return [_tag(item, depth + 1, budget) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return _tagged("tuple", [_tag(item, depth + 1, budget) for item in tuple.__iter__(value)])
    if isinstance(value, dict):
        return _tag_dict(value, depth, budget)
    if isinstance(value, (set, frozenset)):
        base: Any = set if isinstance(value, set) else frozenset
        return _tagged(base.__name__, [_tag(item, depth + 1, budget) for item in base.__iter__(value)])
    if isinstance(value, complex):
        return _tagged("complex", [_tag(value.real, depth + 1, budget), _tag(value.imag, depth + 1, budget)])
    if kind.__module__ == "numpy" and callable(getattr(value, "tolist", None)):
        budget.spend(getattr(value, "size", 1))
        return _tag(value.tolist(), depth + 1, budget)
    raise ValueProblem("unsupported_type", f"a value of type {kind.__name__} cannot leave the process as data")


def _tag_dict(value: dict[Any, Any], depth: int, budget: _Budget) -> Any:
    items = list(dict.items(value))
    if all(type(key) is str for key, _ in items) and "$" not in value:
        budget.spend(sum(len(key) for key, _ in items))
        return {key: _tag(item, depth + 1, budget) for key, item in items}
    pairs = [[_tag(key, depth + 1, budget), _tag(item, depth + 1, budget)] for key, item in items]
    return _tagged("dict", pairs)


def _untag(value: Any, depth: int) -> Any:
    if depth > 2 * MAX_DEPTH + 10:
        raise FrameError("value nested too deeply")
    if isinstance(value, list):
        return [_untag(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: _untag(item, depth + 1) for key, item in value.items()}
    kind, content = value["$"], value.get("v")
    if set(value) != {"$", "v"} or not isinstance(kind, str):
        raise FrameError("malformed tag")
    try:
        return _build(kind, content, depth)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"malformed {kind[:20]!r} value: {str(error)[:80]}") from None


def _build(kind: str, content: Any, depth: int) -> Any:
    if kind == "int" and isinstance(content, str):
        return int(content, 16)
    if kind == "float" and content in ("nan", "inf", "-inf"):
        return float(content)
    if kind == "bytes" and isinstance(content, str):
        return base64.b64decode(content, validate=True)
    if not isinstance(content, list):
        raise FrameError(f"unknown tag {kind[:20]!r}")
    if kind != "tuple" and len(content) > MAX_HASHED:
        raise FrameError(f"{kind[:20]!r} of {len(content)} elements is over {MAX_HASHED}")
    items = [_untag(item, depth + 1) for item in content]
    if kind == "tuple":
        return tuple(items)
    if kind == "set":
        return set(items)
    if kind == "frozenset":
        return frozenset(items)
    if kind == "complex" and len(items) == 2:
        return complex(*(float(item) for item in items))
    if kind == "dict" and all(isinstance(pair, list) and len(pair) == 2 for pair in content):
        return {pair[0]: pair[1] for pair in items}
    raise FrameError(f"unknown tag {kind[:20]!r}")
