"""The sizing model against real modules and against numbers that can be worked out by hand."""

from __future__ import annotations

import pytest

from palaestra.trainer.sizing import (
    GIB,
    Shape,
    rollout_tokens_per_second,
    speedup_of_overlap,
    train_tokens_per_second,
    training_memory,
    weight_transfer_seconds,
)

QWEN3_8B = Shape(36, 4096, 32, 8, 128, 12288, 151936, tied=False)
QWEN3_0_6B = Shape(28, 1024, 16, 8, 128, 3072, 151936)


def test_it_counts_the_parameters_of_real_models(policy):
    shape = Shape.of(policy.model.config.to_dict())
    assert shape.parameters == pytest.approx(policy.model.num_parameters(), rel=0.02)
    assert QWEN3_8B.parameters == pytest.approx(8.19e9, rel=0.01)
    assert QWEN3_0_6B.parameters == pytest.approx(0.596e9, rel=0.01)


def test_cache_and_memory_by_hand():
    assert QWEN3_0_6B.kv_bytes() == 114_688
    assert QWEN3_8B.kv_bytes() == 147_456
    full = training_memory(QWEN3_8B, bytes_each=4)
    assert (full.weights + full.gradients + full.optimiser) / 1e9 == pytest.approx(131, rel=0.01)
    assert training_memory(QWEN3_8B, head_chunk=1024).logits / 3 / 1e9 == pytest.approx(0.62, rel=0.01)
    assert training_memory(QWEN3_8B, devices=8).weights == full.weights / 8
    assert training_memory(QWEN3_8B, recompute=True).activations < full.activations / 8
    assert training_memory(QWEN3_8B, copies=1).total - full.total == full.weights
    assert full.total > 100 * GIB


def test_optimiser_state_is_what_torch_allocates(policy):
    import torch

    optimizer = torch.optim.AdamW(policy.model.parameters())
    ids = torch.tensor([[1, 2, 3]])
    policy.model(input_ids=ids).logits.sum().backward()
    optimizer.step()
    held = sum(v.nbytes for s in optimizer.state.values() for v in s.values() if v.dim())
    memory = training_memory(Shape.of(policy.model.config.to_dict()))
    assert memory.optimiser == pytest.approx(held, rel=0.02)
    assert memory.gradients == pytest.approx(sum(p.grad.nbytes for p in policy.model.parameters()), rel=0.02)


def test_activations_are_what_autograd_saves():
    import torch

    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    model = load_policy(PolicyConfig(characters="0123456789", layers=3, hidden=96, heads=4, mlp=256)).model
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(input_ids=torch.ones(4, 64, dtype=torch.long), use_cache=False)
    found = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
    expected = training_memory(Shape.of(model.config.to_dict()), tokens=4 * 64).activations
    assert expected == pytest.approx(found, rel=0.06)


def test_speeds_move_the_way_they_must():
    fast = train_tokens_per_second(QWEN3_0_6B, 989e12, 512)
    assert fast > train_tokens_per_second(QWEN3_8B, 989e12, 512) * 8
    assert train_tokens_per_second(QWEN3_0_6B, 989e12, 512, 0.2) == pytest.approx(fast / 5)
    few = rollout_tokens_per_second(QWEN3_8B, 4.8e12, 989e12, 8, 512)
    assert few < rollout_tokens_per_second(QWEN3_8B, 4.8e12, 989e12, 512, 512)
    assert rollout_tokens_per_second(QWEN3_8B, 4.8e12, 989e12, 1, 1) == pytest.approx(4.8e12 / 15.1e9, rel=0.02)
    assert weight_transfer_seconds(QWEN3_8B, 16.38e9) == pytest.approx(1.0, rel=0.01)
    assert speedup_of_overlap(5, 5) == 2
    assert speedup_of_overlap(5, 5, wait=5) == 1.5
