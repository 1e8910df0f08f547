"""Sampling on a GPU: fixed buffers, one CUDA graph a token, the host looks at the rows once in a while.

The native engine's loop launches some hundred kernels a token; on a GPU that takes longer than the kernels themselves.
Here a token is one graph launch. Rows that ended leave the batch when half of it has: they keep their memory, and the
rest is named by an index, so nothing is copied. The graph is captured again then, and when new weights arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import wide_linear
from .base import Prompt, SamplingParams
from .decoder import Decoder, DecoderWeights
from .fused import rms_norm
from .sampling import draw, hits_string, refuse_nan

LOOK_EVERY = 8
"""Tokens between two looks at which rows have ended; a look waits for the GPU."""
WORTH_CAPTURING = 12
"""Tokens that must be left for a capture to pay."""


@dataclass(frozen=True)
class Sampled:
    """Tokens and log-probabilities of each row, its length, whether it stopped, and each token's weight version."""

    ids: list[list[int]]
    logp: list[list[float]]
    lengths: list[int]
    stopped: list[bool]
    versions: list[int]


def why_not(decoder: Decoder, device: torch.device) -> str | None:
    """Why this way of sampling cannot be used, or None."""
    if device.type != "cuda":
        return f"the device is {device.type}"
    try:
        from . import attention
    except ImportError:
        return "Triton is not installed"
    return attention.why_not(decoder.head_dim)


def bytes_a_row(decoder: Decoder, w: DecoderWeights, tokens: int) -> int:
    """Memory of the keys and values of one row."""
    return 2 * len(w.layers) * decoder.kv_heads * decoder.head_dim * tokens * w.layers[0].out.element_size()


class Rows:
    """The rows of one call and everything a captured step reads and writes.

    Args:
        decoder: the forward pass.
        w: weights for the prompts and the first token.
        prompts: equally many continuations each.
        params: how to sample.
        random_TB: a uniform number for each token, float64, on the device.
    """

    def __init__(
        self, decoder: Decoder, w: DecoderWeights, prompts: Sequence[Prompt], params: SamplingParams, random_TB: Tensor
    ) -> None:
        device, share, limit = random_TB.device, prompts[0].n, params.max_new_tokens
        self.decoder, self.params, self.random_TB = decoder, params, random_TB
        lengths = torch.tensor([len(p.ids) for p in prompts], device=device)
        longest, rows = max(len(p.ids) for p in prompts), len(prompts) * share
        ids = torch.tensor([p.ids + (0,) * (longest - len(p.ids)) for p in prompts], device=device)
        hidden, cache = decoder.encode(w, ids, lengths)
        self.prompt_keys = [k.contiguous() for k in cache.keys]
        self.prompt_values = [v.contiguous() for v in cache.values]
        own = (rows, decoder.kv_heads, limit, decoder.head_dim)
        self.own_keys = [torch.empty(own, device=device, dtype=hidden.dtype) for _ in w.layers]
        self.own_values = [torch.empty(own, device=device, dtype=hidden.dtype) for _ in w.layers]
        self.cos, self.sin = decoder.rope(torch.arange(longest + limit, device=device), hidden.dtype)
        self.row_of_N = torch.arange(rows, device=device)
        self.prompt_of_B = self.row_of_N // share
        self.prompt_length_B = lengths.repeat_interleave(share)
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        self.stop_ids = torch.tensor(params.stop_ids, dtype=torch.long, device=device)
        self.ids_TB = torch.zeros(limit, rows, dtype=torch.long, device=device)
        self.logp_TB = torch.zeros(limit, rows, device=device)
        self.length_B = torch.full((rows,), limit, device=device)
        self.ended_B = torch.zeros(rows, dtype=torch.bool, device=device)
        last = hidden[torch.arange(len(prompts), device=device), lengths - 1].repeat_interleave(share, 0)
        self._draw(w, last)

    def advance(self, w: DecoderWeights) -> None:
        """Run the newest token of every row and draw the next. Works inside a capture: nothing waits for the GPU."""
        from .attention import attend

        decoder, rows = self.decoder, self.row_of_N
        position = self.prompt_length_B[rows] + self.step
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        x = decoder.embed(w, self.ids_TB.index_select(0, self.step)[0, rows])
        memory = zip(self.prompt_keys, self.prompt_values, self.own_keys, self.own_values, strict=True)
        for layer, kept in zip(w.layers, memory, strict=True):
            attended = attend(
                *decoder.project(layer, x, cos, sin), *kept, rows, self.prompt_of_B, self.prompt_length_B, self.step
            )
            x = decoder.feed_forward(layer, x + F.linear(attended, layer.out))
        self.step += 1
        self._draw(w, rms_norm(x, w.norm, decoder.eps))

    def _draw(self, w: DecoderWeights, hidden_NC: Tensor) -> None:
        rows, params = self.row_of_N, self.params
        uniform = self.random_TB.index_select(0, self.step)[0, rows]
        ids, logp = draw(wide_linear(hidden_NC, w.head), uniform, params.temperature, params.top_p)
        at = self.step.expand(len(rows))
        self.ids_TB.index_put_((at, rows), ids)
        self.logp_TB.index_put_((at, rows), logp)
        if params.stop_ids:
            self._end((ids[:, None] == self.stop_ids).any(-1))

    def _end(self, ends_N: Tensor) -> None:
        """The newest token ends these rows, unless they have ended before."""
        rows = self.row_of_N
        ends_N = ends_N & ~self.ended_B[rows]
        self.length_B.index_copy_(0, rows, torch.where(ends_N, self.step + 1, self.length_B[rows]))
        self.ended_B.index_copy_(0, rows, ends_N | self.ended_B[rows])

    def end_on_strings(self, tokenizer: Any, count: int) -> None:
        """End rows whose text holds a stop string; `count` tokens are there."""
        hits = hits_string(tokenizer, self.ids_TB[:count, self.row_of_N].T.tolist(), self.params.stop_strings)
        self._end(torch.tensor(hits, device=self.ended_B.device))

    def drop_ended(self) -> int:
        """How many rows go on; the others leave when they are half of the batch or more."""
        going = self.row_of_N[~self.ended_B[self.row_of_N]]
        if len(going) <= len(self.row_of_N) // 2:
            self.row_of_N = going
        return len(going)


Capture = Callable[[Rows, DecoderWeights], Callable[[], None]]


def sample(
    decoder: Decoder,
    served: Callable[[], tuple[DecoderWeights, int]],
    prompts: Sequence[Prompt],
    params: SamplingParams,
    random_TB: Tensor,
    tokenizer: Any = None,
    capture: Capture | None = None,
) -> Sampled:
    """Continue prompts.

    Args:
        decoder: the forward pass.
        served: the weights of the moment and their version, asked before every token.
        prompts: equally many continuations each.
        params: how to sample.
        random_TB: a uniform number for each token, float64, on the device.
        tokenizer: for stop strings.
        capture: makes of a step something that repeats it; None = a CUDA graph.
    """
    capture = capture or captured
    weights, version = served()
    versions = [version]
    rows = Rows(decoder, weights, prompts, params, random_TB)
    replay: Callable[[], None] | None = None
    look_every = 1 if params.stop_strings else LOOK_EVERY
    for step in range(1, params.max_new_tokens + 1):  # that many tokens are there
        if params.stop_strings:
            rows.end_on_strings(tokenizer, step)
        if step == params.max_new_tokens:
            break
        if (params.stop_ids or params.stop_strings) and step % look_every == 0:
            before = rows.row_of_N
            if not rows.drop_ended():
                break
            replay = replay if rows.row_of_N is before else None
        now, version = served()
        if now is not weights:
            weights, replay = now, None
        versions.append(version)
        if replay is not None:
            replay()
            continue
        rows.advance(weights)  # also loads and warms up every kernel of the capture
        if params.max_new_tokens - step > WORTH_CAPTURING:
            replay = capture(rows, weights)
    refuse_nan(rows.logp_TB)
    ids, logp = rows.ids_TB.T.tolist(), rows.logp_TB.T.tolist()
    return Sampled(ids, logp, rows.length_B.tolist(), rows.ended_B.tolist(), versions)


def captured(rows: Rows, weights: DecoderWeights) -> Callable[[], None]:
    """A CUDA graph of one step."""
    graph = torch.cuda.CUDAGraph()
    # thread_local: the learner may allocate in another thread meanwhile (asynchronous runs)
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        rows.advance(weights)
    replay: Callable[[], None] = graph.replay
    return replay
