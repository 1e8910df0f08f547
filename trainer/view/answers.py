"""Answers of the viewer: JSON that browsers read whatever a run contains, and texts cut to what a page can show."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import Response

from .rollouts import number_of

MAX_CHARS = 200_000  # of one text; the file keeps the rest


class Json(Response):
    """JSON in ASCII: lone surrogates and control characters arrive as escapes, infinities as null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        try:
            return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
        except ValueError:
            return json.dumps(_finite(content), allow_nan=False, separators=(",", ":")).encode("ascii")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return number_of(value) if isinstance(value, float) else value


def shortened(value: Any, limit: int = MAX_CHARS) -> Any:
    """A copy whose texts have at most `limit` characters, with a word about what is missing."""
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]}\n… [{len(value) - limit} more characters in the file]"
    if isinstance(value, dict):
        return {key: shortened(one, limit) for key, one in value.items()}
    if isinstance(value, list):
        return [shortened(one, limit) for one in value]
    return value
