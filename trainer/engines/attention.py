"""Attention of one new token a row, on a GPU: a Triton kernel that reads a group's prompt keys once from memory.

Each row attends to its prompt (shared by its group), to the tokens it has sampled, and to the new one, whose key and
value the kernel also stores. How many tokens there are is read on the device, so that a captured CUDA graph serves
every step. With ``TRITON_INTERPRET=1`` the kernel runs on a CPU, which the tests use.

Axes: P prompts, N rows of this step, B rows that own keys, K key-value heads, R query heads of each, S prompt slots,
T own slots, D head size.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2E = 1.4426950408889634
BLOCK, WARPS, STAGES = 64, 4, 2
"""Keys taken at once, and how a program of the kernel is laid out."""


@triton.jit
def _fold(query, scale, keys, values, first, count, top, total, mixed, D: tl.constexpr, BLOCK: tl.constexpr):
    """Take BLOCK keys and values into the running softmax (base 2) of R query heads."""
    n, d = first + tl.arange(0, BLOCK), tl.arange(0, D)
    here = n < count
    at = n[:, None].to(tl.int64) * D + d[None, :]
    key = tl.load(keys + at, mask=here[:, None], other=0.0)
    score = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
    score = tl.where(here[None, :], score, float("-inf"))
    higher = tl.maximum(top, tl.max(score, 1))
    shrink = tl.exp2(top - higher)
    weight = tl.exp2(score - higher[:, None])
    value = tl.load(values + at, mask=here[:, None], other=0.0)
    mixed = mixed * shrink[:, None] + tl.dot(weight.to(value.dtype), value, input_precision="ieee")
    return higher, total * shrink + tl.sum(weight, 1), mixed


@triton.jit
def _attend(
    out, query, new_key, new_value, prompt_keys, prompt_values, own_keys, own_values, row_of, prompt_of, lengths, step,
    scale, query_stride, key_stride, value_stride, slots, own_slots,
    R: tl.constexpr, PADDED: tl.constexpr, D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    head, heads = tl.program_id(1), tl.num_programs(1)
    here = tl.program_id(0).to(tl.int64)
    row = tl.load(row_of + tl.program_id(0)).to(tl.int64)
    prompt = tl.load(prompt_of + row).to(tl.int64)
    done, length = tl.load(step).to(tl.int32), tl.load(lengths + row).to(tl.int32)
    r, d = tl.arange(0, PADDED), tl.arange(0, D)
    real = r[:, None] < R
    place = (head * R + r[:, None]) * D + d[None, :]
    q = tl.load(query + here * query_stride + place, mask=real, other=0.0)
    key = tl.load(new_key + here * key_stride + head * D + d)
    value = tl.load(new_value + here * value_stride + head * D + d)
    own = (row * heads + head) * own_slots * D
    tl.store(own_keys + own + done.to(tl.int64) * D + d, key)
    tl.store(own_values + own + done.to(tl.int64) * D + d, value)
    # The new token starts the running softmax; the loops below never read what was just stored.
    top = tl.sum(q.to(tl.float32) * key.to(tl.float32)[None, :], 1) * scale
    total = tl.full([PADDED], 1.0, tl.float32)
    mixed = tl.zeros([PADDED, D], tl.float32) + value.to(tl.float32)[None, :]
    keys = prompt_keys + (prompt * heads + head) * slots * D
    values = prompt_values + (prompt * heads + head) * slots * D
    for first in range(0, length, BLOCK):
        top, total, mixed = _fold(q, scale, keys, values, first, length, top, total, mixed, D, BLOCK)
    for first in range(0, done, BLOCK):
        top, total, mixed = _fold(q, scale, own_keys + own, own_values + own, first, done, top, total, mixed, D, BLOCK)
    tl.store(out + here * heads * R * D + place, (mixed / total[:, None]).to(q.dtype), mask=real)


def why_not(head_dim: int) -> str | None:
    """Why the kernel cannot serve heads of this size, or None."""
    return None if head_dim in (16, 32, 64, 128, 256) else f"head size {head_dim} is not a power of two in 16..256"


def attend(
    query_NHD: Tensor, new_key_NKD: Tensor, new_value_NKD: Tensor,
    prompt_keys_PKSD: Tensor, prompt_values_PKSD: Tensor, own_keys_BKTD: Tensor, own_values_BKTD: Tensor,
    row_of_N: Tensor, prompt_of_B: Tensor, lengths_B: Tensor, step: Tensor,
) -> Tensor:  # fmt: skip
    """Attend from one new token a row, and store its key and value.

    Args:
        query_NHD: queries, rotated.
        new_key_NKD: key of the new token, rotated.
        new_value_NKD: its value.
        prompt_keys_PKSD: keys of the prompts, padded on the right.
        prompt_values_PKSD: their values.
        own_keys_BKTD: keys of sampled tokens; slot `step` is written.
        own_values_BKTD: their values; slot `step` is written.
        row_of_N: which of the B rows each of the N rows is.
        prompt_of_B: the prompt of each row.
        lengths_B: length of each row's prompt.
        step: one integer on the device: how many own tokens are stored already.

    Returns:
        [N, H * D].
    """
    rows, heads, dim = query_NHD.shape
    kv, slots, own_slots = own_keys_BKTD.shape[1], prompt_keys_PKSD.shape[2], own_keys_BKTD.shape[2]
    each = heads // kv
    for tensor in (query_NHD, new_key_NKD, new_value_NKD):  # parts of one projection: rows may lie apart, heads do not
        assert tensor.stride()[1:] == (dim, 1)
    out = torch.empty((rows, heads * dim), device=query_NHD.device, dtype=query_NHD.dtype)
    _attend[(rows, kv)](
        out, query_NHD, new_key_NKD, new_value_NKD,
        prompt_keys_PKSD, prompt_values_PKSD, own_keys_BKTD, own_values_BKTD, row_of_N, prompt_of_B, lengths_B, step,
        LOG2E * dim**-0.5, query_NHD.stride(0), new_key_NKD.stride(0), new_value_NKD.stride(0), slots, own_slots,
        R=each, PADDED=max(16, triton.next_power_of_2(each)), D=dim, BLOCK=BLOCK if dim <= 128 else BLOCK // 2,
        num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return out
