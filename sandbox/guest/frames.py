"""Frames: the one wire format between host, fork server and guest.

A frame is ``u32 header length, u32 body length, header, body``. The header is a JSON object; its key ``parts`` lists
the names and lengths of the byte strings that follow one another in the body, so bytes travel without any encoding.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

PREFIX = struct.Struct("!II")
MAX_HEADER = 1 << 20
MAX_BODY = 512 << 20


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse)


class FrameError(ValueError):
    """The bytes received are not a frame. The stream cannot be trusted any more."""


class Frame(NamedTuple):
    """One message: a small JSON object and named byte strings."""

    header: dict[str, Any]
    parts: dict[str, bytes]


def encode(header: dict[str, Any], parts: dict[str, bytes] | None = None) -> bytes:
    """The bytes of a frame.

    Example:
        >>> FrameReader().feed(encode({"op": "hello"}, {"code": b"1+1"}))
        [Frame(header={'op': 'hello'}, parts={'code': b'1+1'})]
    """
    if parts:
        header = {**header, "parts": [[name, len(data)] for name, data in parts.items()]}
    head = _ENCODER.encode(header).encode("ascii")
    body = b"".join(parts.values()) if parts else b""
    return PREFIX.pack(len(head), len(body)) + head + body


def parse_json(data: bytes) -> Any:
    """Strict JSON: no NaN, no duplicate surprises, and every failure (also too deep nesting) is a ``FrameError``."""
    try:
        return _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {str(error)[:120]}") from None


def _split(head: bytes, body: bytes) -> Frame:
    header = parse_json(head)
    if not isinstance(header, dict):
        raise FrameError(f"frame header is {type(header).__name__}, not an object")
    parts: dict[str, bytes] = {}
    offset = 0
    listed = header.pop("parts", [])
    if not isinstance(listed, list):
        raise FrameError("frame key 'parts' is not a list")
    for entry in listed:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and type(entry[1]) is int):
            raise FrameError("frame key 'parts' must hold [name, length] pairs")
        name, length = entry
        if length < 0 or offset + length > len(body) or name in parts:
            raise FrameError(f"frame part {name[:40]!r} is duplicated or does not fit the body")
        parts[name] = body[offset : offset + length]
        offset += length
    if offset != len(body):
        raise FrameError(f"frame body has {len(body) - offset} bytes that no part claims")
    return Frame(header, parts)


class FrameReader:
    """Turns a byte stream into frames; feed it whatever arrived. After an error it stays broken.

    Args:
        max_header: largest header accepted, in bytes.
        max_body: largest body accepted, in bytes.
    """

    def __init__(self, max_header: int = MAX_HEADER, max_body: int = MAX_BODY) -> None:
        self.max_header = max_header
        self.max_body = max_body
        self._buffer = bytearray()
        self._broken: FrameError | None = None

    @property
    def pending(self) -> int:
        """Bytes received that do not make a whole frame yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Add bytes and return the frames they complete.

        Raises:
            FrameError: the stream is malformed or a declared length is over the limit.
        """
        if self._broken is not None:
            raise self._broken
        self._buffer += data
        frames: list[Frame] = []
        try:
            while len(self._buffer) >= PREFIX.size:
                head, body = PREFIX.unpack_from(self._buffer)
                if head > self.max_header or body > self.max_body:
                    raise FrameError(f"frame of {head}+{body} bytes is over {self.max_header}+{self.max_body}")
                end = PREFIX.size + head + body
                if len(self._buffer) < end:
                    break
                middle = PREFIX.size + head
                frame = _split(bytes(self._buffer[PREFIX.size : middle]), bytes(self._buffer[middle:end]))
                del self._buffer[:end]
                frames.append(frame)
        except FrameError as error:
            self._broken = error
            self._buffer.clear()
            raise
        return frames
