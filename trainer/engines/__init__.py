"""Engines sample from a policy. All keep the promises of `base.Engine`; one contract test holds for all."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("palaestra.trainer")


def make_engine(kind: str, policy: Any, version: int = 0) -> Any:
    """Make an engine for a loaded policy.

    Args:
        kind: ``native`` or ``hf``. A model that the native engine cannot run falls back to ``hf``, loudly.
        policy: a `Policy`.
        version: weight version it starts with.
    """
    if kind == "native":
        from .decoder import why_unsupported
        from .native import NativeEngine

        reason = why_unsupported(policy.model)
        if reason is None:
            return NativeEngine(policy.model, policy.tokenizer, version=version)
        log.warning("rollout.engine = 'native' cannot run this model (%s); using Hugging Face generate", reason)
        kind = "hf"
    if kind == "hf":
        from .hf import HuggingFaceEngine

        return HuggingFaceEngine(policy.model, policy.tokenizer, version=version)
    raise ValueError(f"unknown engine {kind!r}; choose native or hf")
