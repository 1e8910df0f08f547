"""Request bodies nobody trusts: size, encoding, type, nesting and numbers are checked before anything looks at them."""

from __future__ import annotations

import asyncio
import json
import math
import re
import zlib
from typing import Any

from starlette.requests import ClientDisconnect, Request

from ...schema import clean_text
from ..problems import Problem

MAX_DEPTH = 64
BODY_TIMEOUT_S = 60.0
_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")


async def read_json(request: Request, max_bytes: int, *, strict_type: bool = True) -> Any:
    """The body as checked JSON.

    Args:
        request: the request.
        max_bytes: most bytes, after decompression too; counted while streaming.
        strict_type: refuse other media types than JSON.

    Raises:
        Problem: 400 malformed, 413 too large, 415 wrong type or encoding, 422 non-finite numbers or too deep.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json") and (strict_type or kind not in ("", "text/plain")):
        raise Problem(415, "media_type", f"content-type is {kind or 'missing'!r}; send application/json")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _read(request, max_bytes)
    except TimeoutError:
        raise Problem(
            408, "body_timeout", f"the body did not arrive within {BODY_TIMEOUT_S:g} s", retryable=True
        ) from None
    except ClientDisconnect:
        raise Problem(499, "client_gone", "the client closed the connection") from None
    return parse_json(body)


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Problem(415, "content_encoding", f"content-encoding {encoding!r} is not supported; use gzip or none")
    inflate = zlib.decompressobj(wbits=47 if encoding == "gzip" else 15) if encoding != "identity" else None
    parts, size = [], 0
    async for chunk in request.stream():
        try:
            piece = inflate.decompress(chunk, max_bytes - size + 1) if inflate else chunk
        except zlib.error as error:
            raise Problem(400, "malformed_encoding", f"the {encoding} body is damaged: {error}") from error
        size += len(piece)
        if size > max_bytes or (inflate is not None and inflate.unconsumed_tail):
            raise _too_large(max_bytes)
        parts.append(piece)
    if inflate is not None and (not inflate.eof or inflate.unused_data):
        raise Problem(400, "malformed_encoding", f"the {encoding} body is cut off or has something behind its end")
    return b"".join(parts)


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, "body_too_large", f"the body has more than {max_bytes} bytes; send fewer items at once")


def parse_json(body: bytes) -> Any:
    """JSON without NaN, infinities, excessive nesting or lone surrogates (those become U+FFFD).

    Raises:
        Problem: 400 or 422.
    """
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except _NotFinite as error:
        raise Problem(422, "not_finite", f"{error} is not a JSON number; use null") from None
    except (ValueError, RecursionError) as error:
        kind = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        kind = "a number has too many digits" if "integer string conversion" in kind else kind
        raise Problem(400, "malformed_json", f"the body is not JSON: {kind}"[:300]) from None
    return _checked(value, clean=_SURROGATE.search(body) is not None)


class _NotFinite(Exception):
    pass


def _refuse_constant(name: str) -> None:
    raise _NotFinite(name)


def _checked(value: Any, *, clean: bool) -> Any:
    """Walk without recursion; strings are cleaned in place where there is anything to clean."""
    root = [value]
    stack: list[tuple[Any, int]] = [(root, 0)]
    while stack:
        container, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise Problem(422, "too_deep", f"the body is nested more than {MAX_DEPTH} levels deep")
        pairs = list(container.items()) if isinstance(container, dict) else list(enumerate(container))
        for key, inner in pairs:
            if isinstance(inner, (dict, list)):
                stack.append((inner, depth + 1))
            elif isinstance(inner, float) and not math.isfinite(inner):
                raise Problem(422, "not_finite", "a number is too large to be finite")
            elif clean and isinstance(inner, str):
                container[key] = clean_text(inner)
            if clean and isinstance(key, str) and not key.isascii():
                container[clean_text(key)] = container.pop(key)
    return root[0]
