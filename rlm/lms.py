"""Language models for the engine: adapters from `palaestra.lm` and from a policy that gives exact token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..lm import LanguageModel, Sampling
from .types import LM, Reply


class ChatLM:
    """A `palaestra.lm.LanguageModel` as an `LM`.

    Args:
        model: the client.
        sampling: how to sample; `max_tokens` and `seed` are set by the engine.
        send_seed: pass the engine's seed on to the server.
    """

    def __init__(self, model: LanguageModel, sampling: Sampling = Sampling(), send_seed: bool = False) -> None:
        self.model, self.sampling, self.send_seed = model, sampling, send_seed

    async def __call__(
        self, messages: Sequence[Mapping[str, Any]], *, n_max_tokens: int, seed: int, tags: Mapping[str, Any]
    ) -> Reply:
        from dataclasses import replace

        sampling = replace(self.sampling, max_tokens=n_max_tokens, seed=seed if self.send_seed else None)
        done = await self.model.complete(list(messages), sampling, allow_empty=True)
        exact = done.token_ids is not None and done.logprobs is not None
        known = done.usage.prompt_tokens or done.usage.completion_tokens
        return Reply(
            done.text,
            done.finish_reason,
            prompt_tokens=done.usage.prompt_tokens if known else None,
            completion_tokens=done.usage.completion_tokens if known else None,
            cost=done.usage.cost_usd,
            prompt_ids=tuple(done.prompt_token_ids or ()),
            token_ids=tuple(done.token_ids or ()) if exact else (),
            logprobs=tuple(done.logprobs or ()) if exact else (),
            model=self.model.name,
        )


def as_lm(model: Any) -> LM:
    """An `LM` from an `LM` or a `palaestra.lm.LanguageModel`.

    Raises:
        TypeError: it is neither.
    """
    if hasattr(model, "complete"):
        return ChatLM(model)
    if callable(model):
        return model
    raise TypeError(f"a {type(model).__name__} is no language model; give an async callable or a LanguageModel")
