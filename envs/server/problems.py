"""Errors of the server as one JSON shape: ``{"error": {code, message, retryable, details, request_id}}``."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse

# HTTP status of every code, and whether the same request may succeed later.
CODES: dict[str, tuple[int, bool]] = {
    "bad_request": (422, False),
    "unauthorized": (401, False),
    "not_found": (404, False),
    "unknown_env": (404, False),
    "unknown_session": (404, False),
    "episode_over": (409, False),
    "busy": (409, True),
    "too_large": (413, False),
    "capacity": (503, True),
    "shutting_down": (503, True),
    "unavailable": (503, True),
    "deadline": (504, False),
    "internal": (500, False),
}


class Problem(Exception):
    """A request that cannot be served; becomes an error body.

    Args:
        code: one of `CODES`.
        message: what is wrong and how to put it right.
        **details: machine-readable particulars.
    """

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CODES[self.code][0]

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "retryable": CODES[self.code][1],
                "details": self.details,
                "request_id": request_id,
            }
        }


def response(problem: Problem, request_id: str) -> JSONResponse:
    """``problem`` as an HTTP response."""
    headers = {"Retry-After": "1"} if CODES[problem.code][1] else {}
    if problem.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(problem.body(request_id), problem.status, headers)


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error in the one shape."""

    def of(request: Request) -> str:
        return getattr(request.state, "request_id", "")

    @app.exception_handler(Problem)
    async def _problem(request: Request, exc: Problem) -> JSONResponse:
        return response(exc, of(request))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, exc: RequestValidationError) -> JSONResponse:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "body"
        problem = Problem("bad_request", f"{where}: {first['msg']}, got {str(first.get('input'))[:80]!r}", field=where)
        return response(problem, of(request))

    @app.exception_handler(StarletteHTTPException)
    async def _http(request: Request, exc: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "not_found", 401: "unauthorized", 503: "unavailable"}.get(
            exc.status_code, "bad_request"
        )
        answer = response(Problem(code, f"{request.method} {request.url.path}: {exc.detail}"), of(request))
        answer.status_code = exc.status_code
        return answer

    @app.exception_handler(Exception)
    async def _internal(request: Request, exc: Exception) -> JSONResponse:
        return response(Problem("internal", f"{type(exc).__name__}; the server's log has the traceback"), of(request))
