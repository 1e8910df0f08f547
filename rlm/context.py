"""The long input of a run: text, bytes, a list or mapping of texts or a JSON value, measured and hashed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Kind = Literal["str", "bytes", "list", "dict", "json"]
_STEP = 1 << 20


@dataclass(frozen=True)
class Context:
    """A context as it travels to a REPL: one blob, and how to cut it up again.

    The caller's own objects are kept, not copied; the blob is made when it is sent.

    Attributes:
        kind: what the variable `context` will be.
        parts: the texts, or the bytes.
        keys: names of the texts of a mapping.
        chars: length in characters (bytes for bytes).
    """

    kind: Kind
    parts: tuple[str, ...] | tuple[bytes, ...]
    keys: tuple[str, ...] = ()
    chars: int = 0

    @property
    def blob(self) -> bytes:
        """UTF-8 (surrogates passed through) of all texts, or the bytes themselves."""
        if len(self.parts) == 1:
            return _bytes(self.parts[0])
        return b"".join(map(_bytes, self.parts))

    def pieces(self) -> Iterator[bytes]:
        """The blob in pieces of about a megabyte, so that sending it needs no second copy; short texts go together."""
        short: list[bytes] = []
        held = 0
        for part in self.parts:
            for piece in _pieces(part):
                short.append(piece)
                held += len(piece)
                if held >= _STEP:
                    yield b"".join(short)
                    short, held = [], 0
        if short:
            yield b"".join(short)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """End offsets, in bytes, of the texts."""
        ends, total = [], 0
        for part in self.parts:
            total += _size(part)
            ends.append(total)
        return tuple(ends)

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self.ends[-1]

    @cached_property
    def sha256(self) -> str:
        """Hash of the content, made once, piece by piece."""
        digest = hashlib.sha256()
        for part in self.parts:
            for piece in _pieces(part):
                digest.update(piece)
        digest.update(repr((self.kind, self.ends, self.keys)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def describe(self) -> str:
        """Type and size in words, for the first message."""
        size = f"{self.chars:,}"
        if self.kind == "list":
            return f"a list of {len(self.parts)} strings, {size} characters in all"
        if self.kind == "dict":
            return f"a dict of {len(self.parts)} strings by name, {size} characters in all"
        return {"str": f"a string of {size} characters", "bytes": f"{size} bytes", "json": "a JSON value"}[self.kind]

    @classmethod
    def of(cls, value: Any) -> Context:
        """Wrap a value.

        Raises:
            TypeError: it is neither text nor bytes nor JSON.
        """
        if isinstance(value, Context):
            return value
        if isinstance(value, str):
            return cls("str", (value,), chars=len(value))
        if isinstance(value, bytes | bytearray):
            return cls("bytes", (bytes(value),), chars=len(value))
        if isinstance(value, Mapping) and value and all(isinstance(v, str) for v in (*value.keys(), *value.values())):
            return cls("dict", tuple(value.values()), tuple(value.keys()), sum(map(len, value.values())))
        if isinstance(value, Sequence) and value and all(isinstance(v, str) for v in value):
            return cls("list", tuple(value), (), sum(map(len, value)))
        try:
            text = json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"context is a {type(value).__name__} that JSON cannot hold ({error}); give text, bytes, a list or a "
                "mapping of texts, or a JSON value"
            ) from None
        return cls("json", (text,), chars=len(text))

    def layout(self) -> dict[str, Any]:
        """How the blob is cut, as JSON, for the worker."""
        return {"kind": self.kind, "ends": list(self.ends), "keys": list(self.keys)}


def _bytes(part: str | bytes) -> bytes:
    return part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part


def _pieces(part: str | bytes) -> Iterator[bytes]:
    for start in range(0, len(part), _STEP):
        yield _bytes(part[start : start + _STEP])


def _size(part: str | bytes) -> int:
    if isinstance(part, bytes) or part.isascii():
        return len(part)
    return sum(map(len, _pieces(part)))
