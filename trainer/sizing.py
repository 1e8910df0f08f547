"""What a run needs and how fast it can be at best: memory, tokens a second, weight transfer. Arithmetic, no torch.

Everything here is a bound from counts of bytes and operations. Real runs are slower: multiply throughput by the share
of peak that was measured on the machine in question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder.

    Attributes:
        layers: number of layers.
        hidden: width of the residual stream.
        heads: query heads.
        kv_heads: key-value heads.
        head_dim: size of a head.
        mlp: inner width of the gated MLP.
        vocabulary: tokens.
        tied: whether the head is the embedding.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocabulary: int
    tied: bool = True

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From the keys of a Hugging Face ``config.json``."""
        heads = int(config["num_attention_heads"])
        hidden = int(config["hidden_size"])
        return cls(
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            mlp=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
        )

    @property
    def matrices(self) -> int:
        """Parameters that every token is multiplied with, the head included."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.mlp) + self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """All parameters up to norms and biases, which are less than a thousandth."""
        return self.matrices + (0 if self.tied else self.hidden * self.vocabulary)

    def kv_bytes(self, bytes_each: int = 2) -> int:
        """Key-value cache of one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_each

    def flops(self, positions: float, attended: float, head_positions: float) -> float:
        """Operations of forward and backward over some work; computing things a second time to save memory is none.

        Args:
            positions: tokens that went through the layers.
            attended: sum over them of the tokens each looked at.
            head_positions: tokens whose logits were computed.
        """
        head = self.hidden * self.vocabulary
        return 3 * (
            2 * (self.matrices - head) * positions
            + 4 * self.layers * self.heads * self.head_dim * attended
            + 2 * head * head_positions
        )

    def train_flops(self, context: float, *, recompute: bool = False) -> float:
        """Operations to train on one token at a mean context length; `recompute` is gradient checkpointing."""
        forward = 2 * self.matrices + 4 * self.layers * self.heads * self.head_dim * context
        return forward * (4 if recompute else 3)


@dataclass(frozen=True)
class Memory:
    """Bytes on each device."""

    weights: float
    gradients: float
    optimiser: float
    copies: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimiser + self.copies + self.activations + self.logits


def training_memory(
    shape: Shape,
    *,
    bytes_each: int = 4,
    copies: int = 0,
    tokens: int = 16384,
    head_chunk: int = 1024,
    recompute: bool = False,
    devices: int = 1,
) -> Memory:
    """Memory of a training step on each of `devices` that share it by FSDP2.

    Args:
        shape: the model.
        bytes_each: bytes of a weight; gradients and both AdamW moments have its type.
        copies: further whole copies of the weights (reference, teacher, the engine of an asynchronous run).
        tokens: padded tokens of a micro-batch (``train.token_budget``).
        head_chunk: positions whose logits exist at once.
        recompute: gradient checkpointing keeps the input of each layer, and what one layer saves.
        devices: over how many processes weights, gradients and moments are divided.
    """
    weights = shape.parameters * bytes_each
    # What autograd saves in a Hugging Face layer, counted: norms, projections, attention, gated MLP.
    layer = 6 * shape.hidden + 4 * (shape.heads + shape.kv_heads) * shape.head_dim + 4 * shape.mlp
    kept = shape.layers * shape.hidden + layer if recompute else shape.layers * layer
    return Memory(
        weights=weights / devices,
        gradients=weights / devices,
        optimiser=2 * weights / devices,
        copies=copies * weights,
        activations=tokens * kept * bytes_each,
        logits=3 * min(head_chunk, tokens) * shape.vocabulary * 4,
    )


def train_tokens_per_second(shape: Shape, flops: float, context: float, utilisation: float = 1.0) -> float:
    """Tokens a second of forward and backward.

    Args:
        shape: the model.
        flops: measured peak of matrix products, operations a second.
        context: mean context length.
        utilisation: share of the peak that training reaches.
    """
    return flops * utilisation / shape.train_flops(context)


def rollout_tokens_per_second(
    shape: Shape, bandwidth: float, flops: float, rows: int, context: float, bytes_each: int = 2
) -> float:
    """Bound on sampled tokens a second: a step reads all weights and every row's cache, or waits for the arithmetic.

    Args:
        shape: the model.
        bandwidth: memory bandwidth, bytes a second.
        flops: peak, operations a second.
        rows: sequences decoded together.
        context: mean length they have.
        bytes_each: bytes of weights and cache entries.
    """
    reading = (shape.matrices * bytes_each + rows * context * shape.kv_bytes(bytes_each)) / bandwidth
    computing = rows * shape.train_flops(context) / 3 / flops
    return rows / max(reading, computing)


def weight_transfer_seconds(shape: Shape, bandwidth: float, bytes_each: int = 2) -> float:
    """Time to send all weights once."""
    return shape.parameters * bytes_each / bandwidth


def speedup_of_overlap(rollout: float, train: float, wait: float = 0.0) -> float:
    """How much faster steps get when sampling (with its waiting) runs beside training, at best.

    Example:
        >>> speedup_of_overlap(rollout=6, train=4)
        1.6666666666666667
    """
    sampling = rollout + wait
    return (sampling + train) / max(sampling, train)
