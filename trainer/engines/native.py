"""The default engine: a batched decode loop in PyTorch that reads the learner's own weights.

Each prompt is encoded once for all its continuations, and while decoding the prompt's keys stay unexpanded, so a group
of 8 reads them once. Rows that ended leave the batch when half of it has.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...schema import Turn
from ..precision import wide_linear
from ..products import linear
from . import graphed
from .base import Prompt, SamplingParams, Scored, UpdateReceipt, refuse_empty
from .decoder import Decoder, DecoderWeights
from .fused import rms_norm
from .group_cache import GroupCache
from .sampling import draw, hits_string, refuse_nan, uniforms


class NativeEngine:
    """Samples from a Hugging Face model through `Decoder`.

    Args:
        model: the module whose parameters are read; the learner may keep training it.
        tokenizer: needed only for stop strings.
        max_rows: rows decoded at once; more are split into several passes.
        version: weight version it starts with.
        own_copy: keep the weights apart from the module's, so that sampling may go on in another thread while the
            module is trained; `update_weights` then swaps them between two tokens.
        compiled: compile the parts of a layer between its attentions with torch.compile.

    Raises:
        ValueError: the architecture is not supported (use the Hugging Face engine).
    """

    def __init__(
        self, model: Any, tokenizer: Any = None, *, max_rows: int = 1024, version: int = 0, own_copy: bool = False,
        compiled: bool = False,
    ) -> None:  # fmt: skip
        self.compiled = compiled
        self._model, self.decoder = model, self._decoder(model)
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.own_copy = own_copy
        self._served: tuple[DecoderWeights, int] | None = None  # one object, so a swap is seen whole or not at all
        self._refresh(version)

    def _decoder(self, model: Any) -> Decoder:
        decoder = Decoder(model)
        if self.compiled:
            decoder.compile()
        return decoder

    @property
    def version(self) -> int:
        """Version of the weights that are served."""
        return self._version

    @torch.no_grad()
    def _refresh(self, version: int) -> tuple[DecoderWeights, int]:
        weights = self.decoder.weights()
        self._version = version
        self._served = (weights.copied() if self.own_copy else weights, version)
        return self._served

    def sample(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[list[Turn]]:
        """Continue every prompt; see `Engine.sample`."""
        refuse_empty(prompts)
        results: list[list[Turn]] = [[] for _ in prompts]
        by_count: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_count.setdefault(prompt.n, []).append(index)
        for count, indices in by_count.items():
            indices.sort(key=lambda i: len(prompts[i].ids))  # similar lengths share a pass, so padding stays small
            width = max(1, self._rows_at_once(prompts[indices[-1]], params) // max(count, 1))
            for start in range(0, len(indices), width):
                chunk = indices[start : start + width]
                for index, turns in zip(chunk, self._sample([prompts[i] for i in chunk], params), strict=True):
                    results[index] = turns
        return results

    def _rows_at_once(self, longest: Prompt, params: SamplingParams) -> int:
        """Rows whose keys and values fit into three quarters of the GPU's free memory, at most `max_rows`."""
        weights, _ = self._serve()
        device = weights.embed.device
        if device.type != "cuda":
            return self.max_rows
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + unused
        tokens = params.max_new_tokens + len(longest.ids) // max(longest.n, 1)
        return min(self.max_rows, int(0.75 * free) // graphed.bytes_a_row(self.decoder, weights, tokens))

    def _serve(self) -> tuple[DecoderWeights, int]:
        return self._served or self._refresh(self.version)

    @torch.inference_mode()
    def _sample(self, prompts: list[Prompt], params: SamplingParams) -> list[list[Turn]]:
        weights, version = self._serve()
        versions = [version]  # of the weights that the token of each step comes from
        device, share, limit = weights.embed.device, prompts[0].n, params.max_new_tokens
        rows = len(prompts) * share
        if not rows:
            return [[] for _ in prompts]
        keys = np.array([p.keys[j] if p.keys else j for p in prompts for j in range(share)], dtype=np.uint64)
        with np.errstate(over="ignore"):
            random = torch.from_numpy(uniforms(keys + np.uint64(params.seed & (2**64 - 1)), limit)).to(device)
        if graphed.why_not(self.decoder, device) is None:
            out = graphed.sample(self.decoder, self._serve, prompts, params, random.T.contiguous(), self.tokenizer)
            return _turns(prompts, out.ids, out.logp, out.lengths, out.stopped, out.versions)
        cache, hidden = self._prefill(weights, prompts, limit)
        ids_BT = torch.zeros(rows, limit, dtype=torch.long, device=device)
        logp_BT = torch.zeros(rows, limit, device=device)
        length_B = torch.full((rows,), limit, device=device)
        active = torch.arange(rows, device=device)  # row of the output that each decoded row writes to
        alive = torch.ones(rows, dtype=torch.bool, device=device)
        ended = torch.zeros(rows, dtype=torch.bool, device=device)
        stop_ids = torch.tensor(params.stop_ids, dtype=torch.long, device=device)
        for step in range(limit):
            ids, logp = draw(wide_linear(hidden, weights.head), random[active, step], params.temperature, params.top_p)
            ids_BT[active, step], logp_BT[active, step] = ids, logp
            done = (ids[:, None] == stop_ids).any(-1)
            if params.stop_strings:
                texts = ids_BT[active, : step + 1].tolist()
                done |= torch.tensor(hits_string(self.tokenizer, texts, params.stop_strings), device=device)
            done &= alive
            length_B[active[done]] = step + 1
            ended[active[done]] = True
            alive &= ~done
            left = int(alive.sum())
            if not left or step + 1 == limit:
                break
            if left <= len(alive) // 2:
                keep = alive.nonzero()[:, 0]
                cache, active, ids, alive = cache.kept(keep), active[keep], ids[keep], alive[keep]
            weights, version = self._served or (weights, version)  # an update in flight; the old keys stay
            versions.append(version)
            hidden = self._decode(weights, cache, ids, step)
        refuse_nan(logp_BT)
        return _turns(prompts, ids_BT.tolist(), logp_BT.tolist(), length_B.tolist(), ended.tolist(), versions)

    def _prefill(self, w: DecoderWeights, prompts: list[Prompt], limit: int) -> tuple[GroupCache, Tensor]:
        """Encode the prompts; their keys and values, and the last hidden state of each row's prompt [B, C]."""
        device, share = w.embed.device, prompts[0].n
        lengths = torch.tensor([len(p.ids) for p in prompts], device=device)
        longest = int(lengths.max())
        ids = torch.tensor([p.ids + (0,) * (longest - len(p.ids)) for p in prompts], device=device)
        hidden, encoded = self.decoder.encode(w, ids, lengths)
        keys, values = [k.contiguous() for k in encoded.keys], [v.contiguous() for v in encoded.values]
        cache = GroupCache(keys, values, lengths, share, limit)
        return cache, hidden[torch.arange(len(prompts), device=device), lengths - 1].repeat_interleave(share, 0)

    def _decode(self, w: DecoderWeights, cache: GroupCache, ids_B: Tensor, step: int) -> Tensor:
        """Run one token of every row and return its final hidden state [B, C]."""
        decoder = self.decoder
        cos, sin = decoder.rope(cache.lengths_G.repeat_interleave(cache.share) + step, w.embed.dtype)
        cos, sin = cos[:, None], sin[:, None]
        x = w.embed[ids_B]
        for index, layer in enumerate(w.layers):
            attended = cache.attend(index, *decoder.project(layer, x, cos, sin))
            x = x + linear(attended, layer.out)
            x = decoder.feed_forward(layer, x)
        return rms_norm(x, w.norm, decoder.eps)

    @torch.inference_mode()
    def score(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]], topk: int | None = None
    ) -> list[Scored]:
        """Log-probabilities of given completions at temperature 1; see `Engine.score`."""
        weights, _ = self._serve()
        device = weights.embed.device
        results = []
        for prompt, completion in zip(prompt_ids, completion_ids, strict=True):
            ids = torch.tensor([[*prompt, *completion]], dtype=torch.long, device=device)
            hidden, _ = self.decoder.encode(weights, ids[:, :-1], torch.tensor([ids.shape[1] - 1], device=device))
            logp = wide_linear(hidden[0, len(prompt) - 1 :], weights.head).log_softmax(-1)
            taken = logp.gather(1, ids[0, len(prompt) :, None])[:, 0]
            if topk:
                top = logp.topk(min(topk, logp.shape[1]), dim=-1)
                results.append(Scored(taken.cpu().numpy(), top.indices.cpu().numpy(), top.values.cpu().numpy()))
            else:
                results.append(Scored(taken.cpu().numpy()))
        return results

    def update_weights(self, source: Any = None, version: int = 0) -> UpdateReceipt:
        """Read the module again after a training step, or load a state dict into it first."""
        start = time.perf_counter()
        if isinstance(source, dict):
            self.decoder.model.load_state_dict(source)
        elif source is not None and source is not self._model:
            self._model, self.decoder = source, self._decoder(source)
        self._refresh(version)
        return UpdateReceipt(version=version, ms=(time.perf_counter() - start) * 1e3)

    def pause(self, mode: Literal["keep", "wait", "abort"] = "wait") -> None:
        """Nothing to do: an update waits for nobody and takes effect between two tokens."""

    def resume(self) -> None:
        """Nothing to do; see `pause`."""

    def close(self) -> None:
        """Drop the fused copies."""
        self._served = None


def _turns(
    prompts: Sequence[Prompt],
    ids: list[list[int]],
    logp: list[list[float]],
    lengths: list[int],
    ended: list[bool],
    versions: list[int],
) -> list[list[Turn]]:
    share = prompts[0].n
    turns = [
        Turn(
            prompt_ids=prompts[row // share].ids,
            completion_ids=tuple(ids[row][:length]),
            logprobs=tuple(logp[row][:length]),
            stop="stop" if ended[row] else "length",
            policy_version=versions[0],
            version_spans=spans(versions[:length]),
        )
        for row, length in enumerate(lengths)
    ]
    return [turns[i * share : (i + 1) * share] for i in range(len(prompts))]


def spans(versions: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Where the version of consecutive tokens changes.

    Example:
        >>> spans([3, 3, 4, 4, 6])
        ((2, 4), (4, 6))
    """
    return tuple((i, v) for i, v in enumerate(versions) if i and v != versions[i - 1])
