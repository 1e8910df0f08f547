"""One stream of tokens computes what padded tensors compute, gradients included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.trainer.engines.decoder import Decoder
from palaestra.trainer.forward import Forward
from palaestra.trainer.packed import pack


@pytest.fixture
def job():
    rng = np.random.default_rng(0)
    prompts = [tuple(rng.integers(3, 13, n).tolist()) for n in (7, 2, 5)]
    ids = [tuple(rng.integers(3, 13, n).tolist()) for n in (1, 4, 6, 2, 3)]
    return prompts, [0, 0, 1, 2, 2], ids


def _packed_hidden(model, prompts, rows, ids, checkpointed=False):
    decoder = Decoder(model)
    packed = pack(prompts, rows, ids, next(model.parameters()).device)
    states = decoder.run_packed(decoder.weights(), packed, checkpointed=checkpointed)
    return states[packed.predicts_BT]


def _gradients(model, hidden, ids):
    """Of a sum with fixed random weights over the real positions."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(hidden.shape, generator=generator).to(hidden)
    for row, continuation in zip(weights, ids, strict=True):
        row[len(continuation) :] = 0
    model.zero_grad()
    (hidden * weights).sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointed", [False, True])
def test_hidden_states_and_gradients_are_those_of_padded_rows(policy, job, checkpointed):
    prompts, rows, ids = job
    expected = Forward(policy.model).hidden(prompts, rows, ids)
    found = _packed_hidden(policy.model, prompts, rows, ids, checkpointed)
    for row, other, continuation in zip(found, expected, ids, strict=True):
        torch.testing.assert_close(row[: len(continuation)], other[: len(continuation)], atol=1e-5, rtol=1e-5)
    mine, theirs = (_gradients(policy.model, hidden, ids) for hidden in (found, expected))
    assert mine.keys() == theirs.keys()
    for name, gradient in mine.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5, rtol=1e-4)


def test_a_prompt_without_shared_rows_and_a_row_of_one_token(policy):
    job = [(4, 5, 6)], [0], [(7,)]
    expected = Forward(policy.model).hidden(*job)
    torch.testing.assert_close(_packed_hidden(policy.model, *job), expected, atol=1e-5, rtol=1e-5)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=8),
)
@settings(max_examples=50, deadline=None)
def test_the_layout_holds_every_token_once_and_every_key(prompt_sizes, continuations):
    prompts = [tuple(range(100 * i, 100 * i + n)) for i, n in enumerate(prompt_sizes)]
    rows = [row % len(prompts) for row, _ in continuations]
    ids = [tuple(range(1000 * (b + 1), 1000 * (b + 1) + n)) for b, (_, n) in enumerate(continuations)]
    packed = pack(prompts, rows, ids)
    tokens = packed.ids_N.tolist()
    assert len(tokens) == len(packed.positions_N) == sum(prompt_sizes) + sum(n - 1 for _, n in continuations)
    assert packed.query_ends[-1] == len(tokens)
    assert packed.key_ends[-1] == len(packed.keys_M)
    texts = [[*prompts[row], *continuation] for row, continuation in zip(rows, ids, strict=True)]
    sequence = len(prompts)
    for b, text in enumerate(texts):
        if len(ids[b]) > 1:
            first, last = packed.key_ends[sequence], packed.key_ends[sequence + 1]
            assert [tokens[k] for k in packed.keys_M[first:last]] == text[:-1]
            sequence += 1
        for t in range(len(ids[b])):
            at = packed.predicts_BT[b, t]
            assert tokens[at] == text[len(prompts[rows[b]]) + t - 1]
            assert packed.positions_N[at] == len(prompts[rows[b]]) + t - 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("checkpointed", [False, True])
def test_flash_attention_agrees_with_the_slow_way(policy, job, checkpointed):
    prompts, rows, ids = job
    exact = _packed_hidden(policy.model, prompts, rows, ids)  # float32, CPU, one sequence after the other
    gradients = _gradients(policy.model, exact, ids)
    model = policy.model.to("cuda")
    model.compute_dtype = torch.bfloat16
    forward = Forward(model, checkpointed=checkpointed)
    assert forward.packs
    found = forward.hidden(prompts, rows, ids)
    for row, other, continuation in zip(found.float().cpu(), exact, ids, strict=True):
        torch.testing.assert_close(row[: len(continuation)], other[: len(continuation)], atol=0.06, rtol=0.06)
    for name, gradient in _gradients(model, found, ids).items():
        assert gradient.dtype == torch.float32
        gap = (gradient.cpu() - gradients[name]).norm() / gradients[name].norm()
        assert gap < 0.05, (name, gap)
