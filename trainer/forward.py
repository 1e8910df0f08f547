"""Hidden states at the positions that predict continuation tokens, for any model.

Three ways compute the same thing. With a supported architecture each prompt is encoded once for all rows that share it
(`Decoder`); gradients of the rows add up in it. In half precision on a GPU that is one stream of tokens without padding
(`packed`), elsewhere padded tensors. Otherwise prompt and continuation go through the Hugging Face module.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .engines.decoder import Decoder, why_unsupported
from .packed import pack, runs_packed
from .precision import compute_dtype, computing, dtype_of

log = logging.getLogger("palaestra.trainer")


class Forward:
    """Forward passes of one model.

    Args:
        model: a Hugging Face causal language model.
        shared_prefix: encode equal prompts once, when the architecture allows it.
        compiled: compile the layers with torch.compile.
        checkpointed: keep the input of each layer only and compute the rest again in the backward pass.
    """

    def __init__(
        self, model: Any, *, shared_prefix: bool = True, compiled: bool = False, checkpointed: bool = False
    ) -> None:
        self.model = model
        self.checkpointed = checkpointed
        reason = why_unsupported(model) if shared_prefix else "shared_prefix is off"
        self.decoder = Decoder(model) if reason is None else None
        device = next(model.parameters()).device
        self.packs = self.decoder is not None and runs_packed(device, dtype_of(model), self.decoder.head_dim)
        if checkpointed and not self.packs:  # the padded way would keep the prompts' keys of all layers anyway
            reason, self.decoder = reason or "gradient checkpointing on this device", None
        if reason and shared_prefix:
            log.warning("training without shared prompts: %s", reason)
        if checkpointed and self.decoder is None:
            model.gradient_checkpointing_enable()
            model.train()
        if compiled and self.decoder is not None:
            self.decoder.compile()
        elif compiled:
            base = model.get_base_model() if hasattr(model, "get_base_model") else model
            for layer in base.model.layers:
                layer.compile()

    @property
    def head_weight(self) -> Tensor:
        """Output embedding [V, C]."""
        return self.model.get_output_embeddings().weight

    def hidden(self, prompts: Sequence[Sequence[int]], rows: Sequence[int], ids: Sequence[Sequence[int]]) -> Tensor:
        """Final hidden states that predict each continuation token.

        Args:
            prompts: distinct prompts.
            rows: which prompt each row continues.
            ids: the continuations, none of them empty.

        Returns:
            [B, T, C], T being the longest continuation; padding holds arbitrary numbers.
        """
        device = next(self.model.parameters()).device
        steps = max(len(row) for row in ids)
        if self.decoder is None:
            return self._hidden_plain(prompts, rows, ids, steps, device)
        weights = self.decoder.weights()
        if self.packs:
            packed = pack(prompts, rows, ids, device)
            states = self.decoder.run_packed(
                weights, packed, checkpointed=self.checkpointed and torch.is_grad_enabled()
            )
            return states.index_select(0, packed.predicts_BT.flatten()).unflatten(0, packed.predicts_BT.shape)
        if len(prompts) == len(rows):  # nothing to share: one pass over prompt and continuation
            full = [(*prompts[row], *continuation[:-1]) for row, continuation in zip(rows, ids, strict=True)]
            sizes = torch.tensor([len(row) for row in full], device=device)
            encoded, _ = self.decoder.encode(weights, pad(full, int(sizes.max())).to(device), sizes)
            return self._continuations(encoded, [len(prompts[row]) for row in rows], steps)
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        encoded, cache = self.decoder.encode(weights, pad(prompts, int(lengths.max())).to(device), lengths)
        index = torch.tensor(list(rows), device=device)
        last = encoded[torch.arange(len(prompts), device=device), lengths - 1].index_select(0, index)[:, None]
        if steps == 1:
            return last
        inputs = pad([row[:-1] for row in ids], steps - 1).to(device)
        return torch.cat((last, self.decoder.extend(weights, cache, index, inputs)), dim=1)

    def _hidden_plain(
        self,
        prompts: Sequence[Sequence[int]],
        rows: Sequence[int],
        ids: Sequence[Sequence[int]],
        steps: int,
        device: torch.device,
    ) -> Tensor:
        full = [[*prompts[row], *continuation[:-1]] for row, continuation in zip(rows, ids, strict=True)]
        width = max(len(row) for row in full)
        tokens = pad(full, width).to(device)
        mask = torch.arange(width, device=device) < torch.tensor([len(row) for row in full], device=device)[:, None]
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        with computing(self.model):
            hidden = base.model(input_ids=tokens, attention_mask=mask.long(), use_cache=False).last_hidden_state
        if (narrow := compute_dtype(self.model)) is not None:
            hidden = hidden.to(narrow)
        return self._continuations(hidden, [len(prompts[row]) for row in rows], steps)

    @staticmethod
    def _continuations(hidden: Tensor, prompt_lengths: Sequence[int], steps: int) -> Tensor:
        """Of whole sequences, the positions that predict the continuations."""
        first = prompt_lengths[0]
        if all(length == first for length in prompt_lengths):
            return hidden[:, first - 1 : first - 1 + steps]
        start = torch.tensor(prompt_lengths, device=hidden.device) - 1
        take = (start[:, None] + torch.arange(steps, device=hidden.device)).clamp_max(hidden.shape[1] - 1)
        return hidden.gather(1, take[..., None].expand(-1, -1, hidden.shape[-1]))


def pad(rows: Sequence[Sequence[int]], width: int, value: int = 0) -> Tensor:
    """Rows as one tensor, padded on the right."""
    return torch.tensor([[*row, *([value] * (width - len(row)))] for row in rows], dtype=torch.long)
