"""Attention over a group's shared prompt and growing rows is the plain softmax over both, whatever the shapes."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.trainer.engines import group_cache
from palaestra.trainer.engines.group_cache import Blocks, GroupCache

D = 8


def plain(q_HD, keys_TKD, values_TKD):
    repeat = q_HD.shape[0] // keys_TKD.shape[1]
    keys, values = (t.repeat_interleave(repeat, 1) for t in (keys_TKD, values_TKD))
    weights = (torch.einsum("hd,thd->ht", q_HD, keys) * D**-0.5).softmax(-1)
    return torch.einsum("ht,thd->hd", weights, values).flatten()


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    share=st.integers(1, 3),
    kv=st.integers(1, 3),
    repeat=st.integers(1, 3),
    steps=st.integers(1, 11),
    drop=st.integers(0, 11),
    seed=st.integers(0, 99),
)
def test_every_step_is_plain_attention(lengths, share, kv, repeat, steps, drop, seed):
    torch.manual_seed(seed)
    block, group_cache.BLOCK = group_cache.BLOCK, 2  # several pieces within few steps
    try:
        prompts = [torch.randn(2, len(lengths), kv, max(lengths), D, dtype=torch.double) for _ in range(2)]
        cache = GroupCache(*([x[i] for x in prompts] for i in range(2)), torch.tensor(lengths), share, steps)
        rows = [(j // share, [], []) for j in range(len(lengths) * share)]
        for step in range(steps):
            if step == drop:  # some rows have ended
                keep = torch.randperm(len(rows))[: max(1, len(rows) // 2)].sort().values
                cache, rows = cache.kept(keep), [rows[i] for i in keep]
            fused = torch.randn(len(rows), kv * (repeat + 2), D, dtype=torch.double)  # as projections come
            q, k, v = fused.split((kv * repeat, kv, kv), dim=1)
            for layer in range(2):
                out = cache.attend(layer, q, k, v)
                for i, (group, keys, values) in enumerate(rows):
                    if layer == 0:
                        keys.append(k[i])
                        values.append(v[i])
                    own = [prompts[layer][n, group, :, : lengths[group]].transpose(0, 1) for n in range(2)]
                    whole = (torch.cat((own[0], torch.stack(keys))), torch.cat((own[1], torch.stack(values))))
                    torch.testing.assert_close(out[i], plain(q[i], *whole))
    finally:
        group_cache.BLOCK = block


def test_blocks_take_no_more_room_than_the_limit():
    blocks = Blocks(limit=100)
    for _ in range(100):
        blocks.append(torch.zeros(1, 1, 1, 4))
    assert [piece.shape[3] for piece in blocks.pieces] == [32, 32, 36]
    assert sum(piece.shape[3] for piece in blocks.filled_pieces()) == 100
