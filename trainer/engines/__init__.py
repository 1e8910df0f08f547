"""Engines sample from a policy. All keep the promises of `base.Engine`; one contract test holds for all."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("palaestra.trainer")


def make_engine(kind: Any, policy: Any, version: int = 0) -> Any:
    """Make an engine for a loaded policy.

    Args:
        kind: a `RolloutConfig`, or one of the names of its ``engine`` with defaults for the rest. A model that the
            native engine cannot run falls back to ``hf``, loudly.
        policy: a `Policy`.
        version: weight version it starts with.

    Raises:
        EngineFailed: vLLM is missing, untested, unreachable, or does not compute what the policy computes.
    """
    from ..config import RolloutConfig

    settings = kind if isinstance(kind, RolloutConfig) else RolloutConfig.model_construct(engine=kind)
    name = settings.engine
    if name == "native":
        from .decoder import why_unsupported
        from .native import NativeEngine

        reason = why_unsupported(policy.model)
        if reason is None:
            return NativeEngine(policy.model, policy.tokenizer, version=version, compiled=settings.compile)
        log.warning("rollout.engine = 'native' cannot run this model (%s); using Hugging Face generate", reason)
        name = "hf"
    if name == "hf":
        from .hf import HuggingFaceEngine

        return HuggingFaceEngine(policy.model, policy.tokenizer, version=version)
    if name == "vllm":
        from .vllm import VLLMEngine

        return VLLMEngine(
            policy,
            version=version,
            max_context=settings.max_context,
            probe_tolerance=settings.probe_tolerance,
            engine_args=settings.engine_args,
        )
    if name == "vllm_http":
        from .vllm_http import VLLMServerEngine

        return VLLMServerEngine(
            policy,
            settings.url,
            version=version,
            transfer=settings.transfer,
            probe_tolerance=settings.probe_tolerance,
        )
    raise ValueError(f"unknown engine {name!r}; choose native, hf, vllm or vllm_http")
