"""A functional forward pass over the parameters of a Hugging Face decoder (Qwen3, Qwen2, Llama).

The engine and the learner both run on it, so sampler and learner cannot drift apart. It exists for two shapes of work
that stock modules do slowly: decoding one token for many rows, and training many completions of one prompt. In both the
prompt is encoded once. Parameters are read from the module, never copied, except that the query, key and value matrices
(and gate and up) are concatenated; `Decoder.weights` does that inside the autograd graph when gradients are on.

Axes: P prompts, B rows, S prompt positions, T completion positions, H query heads, K key-value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..lora import effective_weight, is_adapted
from ..packed import Packed, attend_packed
from ..precision import compute_dtype
from ..products import linear
from .fused import gated_silu, norm_rotate, rms_norm, rotate

SUPPORTED = ("Qwen3ForCausalLM", "Qwen2ForCausalLM", "LlamaForCausalLM")
_STATIC_ROPE = ("default", "linear", "llama3", "yarn")


@dataclass(frozen=True)
class LayerWeights:
    """Parameters of one layer, projections fused."""

    norm_attention: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    qk_norm: Tensor | None  # [H + K, D], one row a head
    out: Tensor
    norm_mlp: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True)
class DecoderWeights:
    """All parameters of one forward pass."""

    embed: Tensor
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    head: Tensor

    def copied(self) -> DecoderWeights:
        """The same numbers in memory of their own; a tied head stays tied."""

        def own(tensor: Tensor | None) -> Any:
            return None if tensor is None else tensor.detach().clone()

        layers = tuple(LayerWeights(**{f.name: own(getattr(x, f.name)) for f in fields(x)}) for x in self.layers)
        embed = own(self.embed)
        return DecoderWeights(embed, layers, own(self.norm), embed if self.head is self.embed else own(self.head))


@dataclass(frozen=True)
class PromptCache:
    """Keys and values of encoded prompts, one pair a layer [P, K, S, D], and each prompt's length [P]."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    lengths_P: Tensor


def why_unsupported(model: Any) -> str | None:
    """Why this model needs the Hugging Face path, or None when `Decoder` computes exactly what it does."""
    if is_adapted(model) and next(model.get_base_model().parameters()).dtype not in (torch.float32, torch.float64):
        return "adapters would be rounded away in narrow weights; policy.dtype = 'mixed' keeps them"
    model = _inner(model)
    config = model.config
    name = type(model).__name__
    if name not in SUPPORTED:
        return f"architecture {name} is not one of {', '.join(SUPPORTED)}"
    if getattr(config, "hidden_act", "silu") != "silu":
        return f"activation {config.hidden_act!r} is not silu"
    if getattr(config, "use_sliding_window", False):
        return "the model uses sliding-window attention"
    if getattr(config, "mlp_bias", False) or _bias(model.model.layers[0].self_attn.o_proj) is not None:
        return "the model has biases on its output or MLP projections"
    rope = getattr(model.model.rotary_emb, "rope_type", "default")
    if rope not in _STATIC_ROPE:
        return f"rotary embedding {rope!r} depends on the sequence length"
    projection = model.model.layers[0].self_attn.q_proj
    if type(getattr(projection, "base_layer", projection)) is not torch.nn.Linear:
        return "its projections are not plain linear layers"
    return None


def _inner(model: Any) -> Any:
    """The Hugging Face model under low-rank adapters."""
    return model.get_base_model() if is_adapted(model) else model


def _bias(linear: Any) -> Any:
    return getattr(linear, "base_layer", linear).bias


class Decoder:
    """Forward passes over a Hugging Face causal language model's own parameters.

    Args:
        model: a model for which `why_unsupported` returns None.

    Raises:
        ValueError: the architecture is not supported, with the reason.
    """

    def __init__(self, model: Any) -> None:
        reason = why_unsupported(model)
        if reason:
            raise ValueError(f"the native decoder cannot run this model: {reason}; use engine = 'hf'")
        self.compute = compute_dtype(model)
        self.model = model = _inner(model)
        config = model.config
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps = config.rms_norm_eps
        self._tables: tuple[Tensor, Tensor] | None = None

    def compile(self) -> None:
        """Compile what lies between the attentions, for all layers, and from the second batch size on for all."""
        for name in ("project", "feed_forward"):
            setattr(self, name, torch.compile(getattr(self, name)))

    def weights(self) -> DecoderWeights:
        """Gather the parameters in the type that is computed in; autograd carries gradients back to them."""
        cast = self._cast
        layers = []
        for layer in self.model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            biases = [_bias(p) for p in projections]
            layers.append(
                LayerWeights(
                    norm_attention=cast(layer.input_layernorm.weight),
                    qkv=torch.cat([cast(effective_weight(p)) for p in projections]),
                    qkv_bias=None if biases[0] is None else torch.cat([cast(b) for b in biases]),
                    qk_norm=self._head_norms(attention),
                    out=cast(effective_weight(attention.o_proj)),
                    norm_mlp=cast(layer.post_attention_layernorm.weight),
                    gate_up=torch.cat([cast(effective_weight(p)) for p in (mlp.gate_proj, mlp.up_proj)]),
                    down=cast(effective_weight(mlp.down_proj)),
                )
            )
        base = self.model.model
        embed, head = base.embed_tokens.weight, self.model.get_output_embeddings().weight
        narrow = cast(embed)
        return DecoderWeights(narrow, tuple(layers), cast(base.norm.weight), narrow if head is embed else cast(head))

    def _cast(self, weight: Tensor) -> Tensor:
        return weight if self.compute is None else weight.to(self.compute)

    def _head_norms(self, attention: Any) -> Tensor | None:
        if getattr(attention, "q_norm", None) is None:
            return None
        norms = ((attention.q_norm.weight, self.heads), (attention.k_norm.weight, self.kv_heads))
        return torch.cat([self._cast(weight).expand(heads, -1) for weight, heads in norms])

    def rope(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Half-size cosine and sine tables at the given positions."""
        rotary = self.model.model.rotary_emb
        longest = int(positions.max()) + 1
        if self._tables is None or self._tables[0].shape[0] < longest or self._tables[0].device != positions.device:
            angles = torch.outer(
                torch.arange(max(longest, 256), device=positions.device, dtype=torch.float32),
                rotary.inv_freq.to(positions.device, torch.float32),
            )
            self._tables = (angles.cos() * rotary.attention_scaling, angles.sin() * rotary.attention_scaling)
        cos, sin = self._tables
        return cos[positions].to(dtype), sin[positions].to(dtype)

    def embed(self, w: DecoderWeights, ids: Tensor) -> Tensor:
        """Token embeddings; like the module, the padding token passes no gradient."""
        return F.embedding(ids, w.embed, padding_idx=self.model.model.embed_tokens.padding_idx)

    def project(self, w: LayerWeights, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x [..., C]: shapes [..., H, D], [..., K, D], [..., K, D]; rotated."""
        hidden = linear(rms_norm(x, w.norm_attention, self.eps), w.qkv, w.qkv_bias)
        hidden = hidden.view(*x.shape[:-1], self.heads + 2 * self.kv_heads, self.head_dim)
        qk, v = hidden.split((self.heads + self.kv_heads, self.kv_heads), dim=-2)
        qk = rotate(qk, cos, sin) if w.qk_norm is None else norm_rotate(qk, w.qk_norm, cos, sin, self.eps)
        q, k = qk.split((self.heads, self.kv_heads), dim=-2)
        return q, k, v

    def feed_forward(self, w: LayerWeights, x: Tensor) -> Tensor:
        """The gated MLP with its residual."""
        return x + linear(gated_silu(linear(rms_norm(x, w.norm_mlp, self.eps), w.gate_up)), w.down)

    def encode(self, w: DecoderWeights, ids_PS: Tensor, lengths_P: Tensor) -> tuple[Tensor, PromptCache]:
        """Run right-padded prompts once.

        Returns:
            The final hidden state of every position [P, S, C] (norm applied) and the cache for the continuations.
        """
        cos, sin = self.rope(torch.arange(ids_PS.shape[1], device=ids_PS.device), w.embed.dtype)
        cos, sin = cos[:, None], sin[:, None]
        x = self.embed(w, ids_PS)
        keys, values = [], []
        for layer in w.layers:
            q, k, v = (t.transpose(1, 2) for t in self.project(layer, x, cos, sin))
            keys.append(k)
            values.append(v)
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.kv_heads)
            x = x + linear(attended.transpose(1, 2).flatten(2), layer.out)
            x = self.feed_forward(layer, x)
        return rms_norm(x, w.norm, self.eps), PromptCache(tuple(keys), tuple(values), lengths_P)

    def run_packed(self, w: DecoderWeights, packed: Packed, *, checkpointed: bool = False) -> Tensor:
        """Run prompts and continuations as one stream of tokens without padding.

        Args:
            w: the parameters.
            packed: the stream; see `pack`.
            checkpointed: keep the input of each layer only and compute the rest again in the backward pass.

        Returns:
            The final hidden state of every token [N, C] (norm applied).
        """
        cos, sin = self.rope(packed.positions_N, w.embed.dtype)
        cos, sin = cos[:, None], sin[:, None]

        def run(layer: LayerWeights, x: Tensor) -> Tensor:
            attended = attend_packed(*self.project(layer, x, cos, sin), packed)
            return self.feed_forward(layer, x + F.linear(attended.flatten(1), layer.out))

        x = self.embed(w, packed.ids_N)
        for layer in w.layers:
            x = (
                checkpoint(run, layer, x, use_reentrant=False, preserve_rng_state=False)
                if checkpointed
                else run(layer, x)
            )
        return rms_norm(x, w.norm, self.eps)

    def extend(self, w: DecoderWeights, cache: PromptCache, rows_B: Tensor, ids_BT: Tensor) -> Tensor:
        """Run continuations of encoded prompts, many rows a prompt; gradients flow into the shared prompt.

        Args:
            cache: from `encode`.
            rows_B: which prompt each row continues.
            ids_BT: continuation tokens, right-padded.

        Returns:
            Final hidden states [B, T, C].
        """
        steps, slots = ids_BT.shape[1], cache.keys[0].shape[2]
        lengths_B = cache.lengths_P[rows_B]
        positions = lengths_B[:, None] + torch.arange(steps, device=ids_BT.device)
        cos, sin = self.rope(positions, w.embed.dtype)
        cos, sin = cos[:, :, None], sin[:, :, None]
        seen = torch.arange(slots, device=ids_BT.device) < lengths_B[:, None]
        causal = torch.ones(steps, steps, dtype=torch.bool, device=ids_BT.device).tril()
        mask = torch.cat((seen[:, None, :].expand(-1, steps, -1), causal.expand(len(rows_B), -1, -1)), dim=-1)[:, None]
        bias = torch.zeros_like(mask, dtype=w.embed.dtype).masked_fill_(~mask, -torch.inf)
        spread = _spreading(rows_B.tolist(), len(cache.lengths_P), rows_B)
        x = self.embed(w, ids_BT)
        for layer, key, value in zip(w.layers, cache.keys, cache.values, strict=True):
            q, k, v = (t.transpose(1, 2) for t in self.project(layer, x, cos, sin))
            k = torch.cat((spread(key), k), dim=2)
            v = torch.cat((spread(value), v), dim=2)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=self.heads != self.kv_heads)
            x = x + linear(attended.transpose(1, 2).flatten(2), layer.out)
            x = self.feed_forward(layer, x)
        return rms_norm(x, w.norm, self.eps)


def _spreading(rows: list[int], prompts: int, rows_B: Tensor) -> Callable[[Tensor], Tensor]:
    """What gives every row its prompt's entry. Groups of one size in order are repeated: that derivative is a sum."""
    each = len(rows) // prompts
    if rows == [i // each for i in range(prompts * each)]:
        return lambda tensor: tensor[:, None].expand(-1, each, *tensor.shape[1:]).flatten(0, 1)
    return lambda tensor: tensor.index_select(0, rows_B)
