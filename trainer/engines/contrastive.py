"""Contrastive decoding as an engine (arXiv 2210.15097): an expert samples what a weaker amateur would not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...schema import Turn
from ..config import ConfigError
from ..objectives.decoding import contrast
from ..policy import Policy
from .base import Prompt, SamplingParams
from .hf import HuggingFaceEngine


@dataclass
class _Output:
    logits: Tensor
    past_key_values: Any = None


class ContrastiveModel(torch.nn.Module):
    """Two language models with the calling convention of one, whose logits are the contrastive scores."""

    def __init__(self, expert: Any, amateur: Any, alpha: float, temperature: float) -> None:
        super().__init__()
        self.expert, self.amateur = expert, amateur
        self.alpha, self.temperature, self.greedy = alpha, temperature, False

    @property
    def device(self) -> Any:
        """Where the expert is."""
        return self.expert.device

    def forward(self, input_ids: Tensor, past_key_values: Any = None, position_ids: Any = None, **options: Any) -> Any:
        """Scores in place of logits; the caches of both models travel together."""
        caches = past_key_values or (None, None)
        if position_ids is not None:
            options["position_ids"] = position_ids
        expert = self.expert(input_ids=input_ids, past_key_values=caches[0], **options)
        amateur = self.amateur(input_ids=input_ids, past_key_values=caches[1], **options)
        scores = contrast(expert.logits.float(), amateur.logits.float(), self.alpha, self.temperature, self.greedy)
        return _Output(scores, (expert.past_key_values, amateur.past_key_values))


class ContrastiveEngine(HuggingFaceEngine):
    """Samples an expert against an amateur; reported log-probabilities are those of the distribution drawn from.

    Args:
        expert, amateur: policies with one vocabulary.
        alpha: plausibility threshold in (0, 1].
        temperature: of the amateur, above 0.

    Raises:
        ConfigError: the vocabularies differ or a parameter is out of range.
    """

    def __init__(self, expert: Policy, amateur: Policy, alpha: float = 0.1, temperature: float = 1.0) -> None:
        if not 0 < alpha <= 1 or temperature <= 0:
            raise ConfigError(f"contrastive decoding: alpha {alpha} must be in (0, 1], temperature {temperature} > 0")
        if expert.tokenizer.get_vocab() != amateur.tokenizer.get_vocab():
            raise ConfigError(
                f"contrastive decoding: expert and amateur have different vocabularies ({len(expert.tokenizer)} and "
                f"{len(amateur.tokenizer)} tokens); choose an amateur of the expert's family"
            )
        super().__init__(ContrastiveModel(expert.model, amateur.model, alpha, temperature), expert.tokenizer)

    def sample(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[list[Turn]]:
        """Continue every prompt; see `Engine.sample`."""
        self.model.greedy = params.temperature == 0
        return super().sample(prompts, params)
