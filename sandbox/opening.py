"""Choosing a backend by what it must guarantee."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from .base import ForkServerSandbox
from .types import SandboxError, SandboxUnavailable

log = logging.getLogger("palaestra.sandbox")


def _backend(name: str) -> Any:
    if name == "local":
        from .local import LocalSandbox

        return LocalSandbox
    if name == "docker":
        from .docker import DockerSandbox

        return DockerSandbox
    if name == "bwrap":
        from .bwrap import BwrapSandbox

        return BwrapSandbox
    raise ValueError(f"prefer: unknown backend {name!r}; choose from 'local', 'docker', 'bwrap'")


class Sandbox:
    """The way to a sandbox: ``Sandbox.open()``."""

    @staticmethod
    def open(
        require: Iterable[str] | None = None, prefer: Sequence[str] = ("local", "docker", "bwrap"), **options: Any
    ) -> ForkServerSandbox:
        """The first backend on which everything required was tested to hold.

        Args:
            require: properties (see ``palaestra.sandbox.PROPERTIES``; ``net`` and ``fs`` are short for several); by
                default those of level C. An empty set asks for nothing.
            prefer: backends in the order to try them.
            **options: passed on to the backend, such as ``slots``.

        Raises:
            SandboxUnavailable: none will do; ``missing`` and ``hint`` say what is lacking.
        """
        problems: list[str] = []
        missing: set[str] = set()
        for name in prefer:
            backend = _backend(name)
            try:
                return backend(require=require, **options)
            except SandboxUnavailable as error:
                problems.append(f"{name}: {error.hint}")
                missing |= set(error.missing)
            except SandboxError as error:
                problems.append(f"{name}: {error}")
            log.info("backend %s will not do: %s", name, problems[-1])
        raise SandboxUnavailable(sorted(missing), "; ".join(problems) or "prefer is empty")
