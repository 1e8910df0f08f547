"""Prompts and continuations as one stream of tokens: nothing is padded, and a prompt's tokens exist once.

A group's prompt stands in the stream once, then come the continuations of all prompts. A continuation's token attends
to its prompt and to what it continues: its sequence of queries is its own tokens, its sequence of keys starts with the
prompt's. One call of variable-length flash attention does that for the whole stream, on a GPU.

Axes: N tokens of the stream, M keys (a prompt's count once for each of its continuations), H query heads, K key-value
heads, D head size, B rows, T positions of the longest row.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """A stream of sequences: first the distinct prompts, then the rows of more than one token.

    Attributes:
        ids_N: tokens.
        positions_N: place of each token in its text.
        keys_M: for each key of each sequence, the token it comes from.
        query_ends: where the queries of each sequence end, starting with 0 (int32).
        key_ends: where the keys of each sequence end, starting with 0 (int32).
        most_queries: of one sequence.
        most_keys: of one sequence.
        predicts_BT: token whose hidden state predicts each continuation token; 0 on padding.
    """

    ids_N: Tensor
    positions_N: Tensor
    keys_M: Tensor
    query_ends: Tensor
    key_ends: Tensor
    most_queries: int
    most_keys: int
    predicts_BT: Tensor


def pack(
    prompts: Sequence[Sequence[int]], rows: Sequence[int], ids: Sequence[Sequence[int]], device: Any = "cpu"
) -> Packed:
    """Lay out a micro-batch. The last token of a continuation predicts nothing here and stays out.

    Args:
        prompts: distinct prompts.
        rows: which prompt each row continues.
        ids: the continuations, none of them empty.
        device: where the tensors go.

    Example:
        >>> pack([(5, 6)], [0, 0], [(7, 8), (9, 9)]).keys_M.tolist()
        [0, 1, 0, 1, 2, 0, 1, 3]
    """
    starts = np.cumsum([0, *(len(p) for p in prompts)])
    tokens: list[int] = [token for prompt in prompts for token in prompt]
    positions = [np.arange(len(p)) for p in prompts]
    keys = [np.arange(starts[i], starts[i + 1]) for i in range(len(prompts))]
    queries = [len(p) for p in prompts]
    predicts = np.zeros((len(rows), max(len(row) for row in ids)), dtype=np.int64)
    for b, (row, continuation) in enumerate(zip(rows, ids, strict=True)):
        own = np.arange(len(tokens), len(tokens) + len(continuation) - 1)
        tokens.extend(continuation[:-1])
        if len(own):
            positions.append(len(prompts[row]) + np.arange(len(own)))
            keys.append(np.concatenate((keys[row], own)))
            queries.append(len(own))
        predicts[b, : len(continuation)] = np.concatenate(([starts[row + 1] - 1], own))

    def ends(sizes: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.cumsum([0, *sizes]).astype(np.int32)).to(device)

    return Packed(
        ids_N=torch.tensor(tokens, dtype=torch.long, device=device),
        positions_N=torch.from_numpy(np.concatenate(positions)).to(device),
        keys_M=torch.from_numpy(np.concatenate(keys)).to(device),
        query_ends=ends(queries),
        key_ends=ends([len(k) for k in keys]),
        most_queries=max(queries),
        most_keys=max(len(k) for k in keys),
        predicts_BT=torch.from_numpy(predicts).to(device),
    )


def runs_packed(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether flash attention takes such streams: half precision on a CUDA device, heads of up to 256."""
    return device.type == "cuda" and dtype in (torch.bfloat16, torch.float16) and head_dim <= 256 and head_dim % 8 == 0


def attend_packed(q_NHD: Tensor, k_NKD: Tensor, v_NKD: Tensor, packed: Packed) -> Tensor:
    """Causal attention inside every sequence of a stream [N, H, D]; the last query of each sees all its keys."""
    k, v = k_NKD.index_select(0, packed.keys_M), v_NKD.index_select(0, packed.keys_M)
    if runs_packed(q_NHD.device, q_NHD.dtype, q_NHD.shape[-1]):
        from torch.nn.attention.varlen import varlen_attn

        ends = (packed.query_ends, packed.key_ends, packed.most_queries, packed.most_keys)
        out = varlen_attn(q_NHD, k, v, *ends, **_causal())
        assert isinstance(out, Tensor)
        return out
    return _attend_one_by_one(q_NHD, k, v, packed)


@cache
def _causal() -> dict[str, Any]:
    """How this version of torch is told causal attention with fewer key-value heads."""
    from torch.nn.attention.varlen import varlen_attn

    known = inspect.signature(varlen_attn).parameters
    options: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    return options | ({"enable_gqa": True} if "enable_gqa" in known else {})


def _attend_one_by_one(q_NHD: Tensor, k_MKD: Tensor, v_MKD: Tensor, packed: Packed) -> Tensor:
    """The same, slowly, anywhere: what the fast way is tested against."""
    out = []
    query_ends, key_ends = packed.query_ends.tolist(), packed.key_ends.tolist()
    for i in range(len(query_ends) - 1):
        q = q_NHD[query_ends[i] : query_ends[i + 1]].transpose(0, 1)
        k, v = (t[key_ends[i] : key_ends[i + 1]].transpose(0, 1) for t in (k_MKD, v_MKD))
        queries, keys = q.shape[1], k.shape[1]
        seen = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
        attended = F.scaled_dot_product_attention(
            q[None], k[None], v[None], attn_mask=seen, enable_gqa=q.shape[0] != k.shape[0]
        )
        out.append(attended[0].transpose(0, 1))
    return torch.cat(out)
