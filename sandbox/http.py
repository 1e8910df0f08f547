"""``POST /v1/run`` for a server: run code over HTTP. The server that mounts it checks the bearer token."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from .base import ForkServerSandbox
from .grading import AssertTest, CallTest, StdioTest
from .types import Job, Limits, RunResult, SandboxError


class RunRequest(BaseModel):
    """Body of ``POST /v1/run``. Bytes travel as base64; ``tests`` entries have a ``kind``: stdio, call or assert."""

    model_config = ConfigDict(extra="forbid")

    code: str | None = None
    argv: list[str] | None = None
    lang: str = "python"
    stdin: str = ""
    files: dict[str, str] = Field(default_factory=dict, description="relative path to text")
    files_base64: dict[str, str] = Field(default_factory=dict, description="relative path to base64")
    fetch: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    profile: str = "stdlib"
    early_stop: bool = False
    limits: dict[str, Any] = Field(default_factory=dict)
    tests: list[dict[str, Any]] | None = Field(default=None, max_length=10_000)


_KINDS: dict[str, Any] = {"stdio": StdioTest, "call": CallTest, "assert": AssertTest}


def to_job(request: RunRequest) -> Job:
    """The job a request asks for.

    Raises:
        ValueError: something in it is malformed; the message names it.
    """
    fields = request.model_dump(exclude={"files_base64", "limits", "tests"})
    for name, data in request.files_base64.items():
        fields["files"][name] = base64.b64decode(data, validate=True)
    tests = None
    if request.tests is not None:
        tests = []
        for number, entry in enumerate(request.tests):
            kind = entry.get("kind")
            if kind not in _KINDS:
                raise ValueError(f"tests[{number}].kind is {kind!r}; choose from {', '.join(_KINDS)}")
            try:
                tests.append(_KINDS[kind](**{key: value for key, value in entry.items() if key != "kind"}))
            except TypeError as error:
                raise ValueError(f"tests[{number}]: {error}") from None
    try:
        limits = Limits(**request.limits)
    except TypeError as error:
        raise ValueError(f"limits: {error}") from None
    return Job(**fields, limits=limits, tests=tests)


def to_json(result: RunResult) -> dict[str, Any]:
    """A result as JSON: output as text, files as base64, the isolation as level and tested properties."""
    plain = {
        key: value
        for key, value in vars(result).items()
        if key not in ("stdout", "stderr", "files", "isolation", "tests")
    }
    isolation = result.isolation
    return {
        **plain,
        "stdout": result.stdout_text,
        "stderr": result.stderr_text,
        "stdout_truncated": result.stdout_truncated,
        "stderr_truncated": result.stderr_truncated,
        "tests": [asdict(test) for test in result.tests],
        "files_base64": {name: base64.b64encode(data).decode() for name, data in result.files.items()},
        "isolation": None
        if isolation is None
        else {"backend": isolation.backend, "level": isolation.level, "tested": sorted(isolation.tested)},
    }


def router(sandbox: ForkServerSandbox) -> APIRouter:
    """Routes that run code in ``sandbox``. A sandbox failure is 503, never a result.

    Args:
        sandbox: an open sandbox; the caller closes it.
    """
    routes = APIRouter(tags=["sandbox"])

    @routes.post("/v1/run")
    async def run(request: RunRequest) -> dict[str, Any]:
        """Run code, with tests if given."""
        try:
            result = await sandbox.run(to_job(request))
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except SandboxError as error:
            raise HTTPException(503, f"sandbox failure: {error}") from None
        return to_json(result)

    return routes
