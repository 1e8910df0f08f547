"""Log-prob probe: does an engine that holds a copy of the weights really serve the learner's weights?

A server that answers 200 to a weight update may still run half of the old model. So after every update the engine
scores fixed token sequences and the result is compared with the learner's own forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..lora import is_adapted, merged_state_dict
from ..precision import computing, dtype_of
from .base import EngineFailed, Scored

_SEQUENCES, _LENGTH = 2, 48

ScoreFunction = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], list[Scored]]


class StaleWeights(EngineFailed):
    """After an update the engine does not compute what the learner computes."""


class Probe:
    """Compares an engine's log-probabilities with the learner's on fixed tokens.

    Args:
        model: the learner's module; gives the architecture when an update comes as a state dict.
        tolerance: largest log-prob difference in nats; 0 = 1e-4 in float32 and 0.2 in narrower types.
    """

    def __init__(self, model: Any, tolerance: float = 0.0) -> None:
        self.model = model
        self.tolerance = tolerance or (1e-4 if dtype_of(model) == torch.float32 else 0.2)
        vocabulary = int(model.config.get_text_config().vocab_size)
        tokens = np.random.default_rng(0).integers(0, vocabulary, (_SEQUENCES, _LENGTH))
        self.ids = [row.tolist() for row in tokens]

    def expected(self, source: Any = None) -> np.ndarray:
        """The learner's log-probabilities of the probe tokens [sequences, length - 1].

        Args:
            source: a module, a state dict, a Hugging Face folder, or None for the module given at construction.
        """
        model, state = self.model, None
        if isinstance(source, Mapping):
            model = _base(self.model)
            own = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}  # a tied weight once
            state = {name: tensor for name, tensor in source.items() if name in own}
        elif isinstance(source, (str, Path)):
            from transformers import AutoModelForCausalLM

            model = AutoModelForCausalLM.from_pretrained(source, dtype=next(self.model.parameters()).dtype).eval()
        elif source is not None:
            model = source
        ids = torch.tensor(self.ids, device=next(model.parameters()).device)
        with torch.inference_mode(), computing(self.model):
            if state is None:
                logits = model(input_ids=ids, use_cache=False).logits
            else:
                logits = torch.func.functional_call(model, state, (), {"input_ids": ids, "use_cache": False}).logits
            logp = logits[:, :-1].float().log_softmax(-1)
            return logp.gather(2, ids[:, 1:, None])[..., 0].cpu().numpy()

    def verify(self, score: ScoreFunction, source: Any, version: int, hint: str = "") -> float:
        """Score the probe tokens with the engine and compare.

        Returns:
            The largest difference.

        Raises:
            StaleWeights: it passes the tolerance.
        """
        scored = score([ids[:1] for ids in self.ids], [ids[1:] for ids in self.ids])
        gap = float(np.abs(np.stack([s.logp for s in scored]) - self.expected(source)).max())
        if not gap <= self.tolerance:  # also when it is nan
            raise StaleWeights(
                f"weights of version {version}: the engine's log-probabilities differ from the learner's by {gap:.2g} "
                f"(allowed: {self.tolerance:g}), so it does not serve these weights{hint and '; ' + hint}"
            )
        return gap


def tensors_of(source: Any, model: Any) -> dict[str, Any]:
    """The weights of an update as a state dict, adapters merged: from a module, a state dict, or None for `model`."""
    if isinstance(source, Mapping):
        return dict(source)
    module = model if source is None else source
    merged = merged_state_dict(module)
    return {name: t.detach() for name, t in (module.state_dict() if merged is None else merged).items()}


def _base(model: Any) -> Any:
    return model.get_base_model() if is_adapted(model) else model
