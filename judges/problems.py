"""A whole request that cannot be served, with everything an HTTP reply or an exception needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..names import suggestion
from .types import ErrorInfo


class Problem(Exception):
    """A request-level failure; becomes a problem object over HTTP.

    Attributes:
        status: HTTP status.
        info: code, message, whether trying again may help, details.
        retry_after: seconds for the Retry-After header.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        details: Any = None,
        retry_after: float | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.info = ErrorInfo(code=code, message=message, retryable=retryable, details=details)
        self.retry_after = retry_after


def unknown(kind: str, name: str, known: Iterable[str]) -> Problem:
    """422 for a name nobody knows, offering the nearest one."""
    names = sorted(known)
    hint = suggestion(name, names, f"known: {', '.join(names) or 'none'}")
    return Problem(422, f"unknown_{kind}", f"there is no {kind} {name!r}; {hint}")
