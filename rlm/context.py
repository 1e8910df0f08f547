"""The long input of a run: text, bytes, a list or mapping of texts or a JSON value, measured and hashed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Kind = Literal["str", "bytes", "list", "dict", "json"]


@dataclass(frozen=True)
class Context:
    """A context as it travels to a REPL: one blob, and how to cut it up again.

    Attributes:
        kind: what the variable `context` will be.
        blob: UTF-8 (surrogates passed through), or the bytes themselves.
        ends: end offsets, in bytes, of the texts of a list or mapping.
        keys: names of the texts of a mapping.
        chars: length in characters (bytes for bytes).
    """

    kind: Kind
    blob: bytes
    ends: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    chars: int = 0

    @cached_property
    def sha256(self) -> str:
        """Hash of the content, made once."""
        digest = hashlib.sha256(self.blob)
        digest.update(repr((self.kind, self.ends, self.keys)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def describe(self) -> str:
        """Type and size in words, for the first message."""
        size = f"{self.chars:,}"
        if self.kind == "list":
            return f"a list of {len(self.ends)} strings, {size} characters in all"
        if self.kind == "dict":
            return f"a dict of {len(self.ends)} strings by name, {size} characters in all"
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
            return cls("str", _utf8(value), chars=len(value))
        if isinstance(value, bytes | bytearray):
            return cls("bytes", bytes(value), chars=len(value))
        if isinstance(value, Mapping) and value and all(isinstance(v, str) for v in (*value.keys(), *value.values())):
            return cls._many("dict", list(value.values()), tuple(value.keys()))
        if isinstance(value, Sequence) and value and all(isinstance(v, str) for v in value):
            return cls._many("list", list(value), ())
        try:
            text = json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"context is a {type(value).__name__} that JSON cannot hold ({error}); give text, bytes, a list or a "
                "mapping of texts, or a JSON value"
            ) from None
        return cls("json", _utf8(text), chars=len(text))

    @classmethod
    def _many(cls, kind: Kind, texts: list[str], keys: tuple[str, ...]) -> Context:
        parts = [_utf8(text) for text in texts]
        ends, total = [], 0
        for part in parts:
            total += len(part)
            ends.append(total)
        return cls(kind, b"".join(parts), tuple(ends), keys, sum(map(len, texts)))

    def layout(self) -> dict[str, Any]:
        """How the blob is cut, as JSON, for the worker."""
        return {"kind": self.kind, "ends": list(self.ends), "keys": list(self.keys)}


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
