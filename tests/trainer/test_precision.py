"""Float32 weights that compute in bfloat16: on every path, with float32 gradients; logits stay float32."""

from __future__ import annotations

import copy

import pytest
import torch

import palaestra.trainer
from palaestra.trainer.config import PolicyConfig
from palaestra.trainer.engines import make_engine
from palaestra.trainer.engines.base import Prompt, SamplingParams
from palaestra.trainer.forward import Forward
from palaestra.trainer.head import LinearLogits, head
from palaestra.trainer.policy import load_policy
from palaestra.trainer.precision import add_wide_product_, compute_dtype, computing, dtype_of, wide_linear

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
JOB = [(3, 4, 5), (6, 7)], [0, 0, 1], [(8, 9, 3), (4, 4), (5, 6, 7)]


@pytest.fixture
def mixed():
    return load_policy(PolicyConfig(characters="0123456789", layers=2, hidden=32, dtype="mixed", device="cpu"))


@pytest.mark.parametrize("shared", [True, False])
def test_mixed_weights_compute_as_narrow_ones_and_learn_as_wide_ones(mixed, shared):
    narrow = copy.deepcopy(mixed.model).to(torch.bfloat16)
    del narrow.compute_dtype
    assert dtype_of(mixed.model) == dtype_of(narrow) == torch.bfloat16
    found = Forward(mixed.model, shared_prefix=shared).hidden(*JOB)
    expected = Forward(narrow, shared_prefix=True).hidden(*JOB)
    assert found.dtype == torch.bfloat16
    for row, other, ids in zip(found, expected, JOB[2], strict=True):
        torch.testing.assert_close(row[: len(ids)], other[: len(ids)], atol=0.06, rtol=0.06)
    found.float().square().sum().backward()
    gradients = [p.grad for p in mixed.model.parameters() if p.grad is not None]
    assert len(gradients) > 10
    assert all(g.dtype == torch.float32 for g in gradients)


@pytest.mark.parametrize("kind", ["native", "hf"])
def test_engines_sample_in_the_narrow_type(mixed, kind):
    exact = copy.deepcopy(mixed.model)
    del exact.compute_dtype
    assert compute_dtype(exact) is None
    prompt = Prompt((3, 4, 5, 6), 4)
    turns = make_engine(kind, mixed).sample([prompt], SamplingParams(max_new_tokens=8))[0]
    gaps = []
    for turn in turns:
        ids = torch.tensor([[*turn.prompt_ids, *turn.completion_ids]])
        with torch.no_grad():
            logp = exact(ids).logits.log_softmax(-1)[0, 3:-1]
        gaps += (logp.gather(1, ids[0, 4:, None])[:, 0] - torch.tensor(turn.logprobs)).abs().tolist()
    assert 1e-6 < max(gaps) < 0.1


def test_the_default_is_float32_on_a_cpu_and_mixed_on_a_gpu():
    on_cpu = load_policy(PolicyConfig(characters="01", device="cpu"))
    assert (dtype_of(on_cpu.model), compute_dtype(on_cpu.model)) == (torch.float32, None)
    if torch.cuda.is_available():
        on_gpu = load_policy(PolicyConfig(characters="01"))
        assert next(on_gpu.model.parameters()).dtype == torch.float32
        assert compute_dtype(on_gpu.model) == torch.bfloat16


def test_narrow_weights_lose_small_steps_and_the_log_says_so(caplog):
    from palaestra.trainer.config import TrainConfig
    from palaestra.trainer.optimiser import make_optimiser

    for dtype, moves in ((torch.float32, True), (torch.bfloat16, False)):
        parameter = torch.nn.Parameter(torch.full((8,), 0.5, dtype=dtype))
        optimiser = make_optimiser([parameter], TrainConfig(learning_rate=1e-6))
        for _ in range(50):
            parameter.grad = torch.ones_like(parameter)
            optimiser.step()
        assert bool((parameter != 0.5).any()) == moves
    assert caplog.text.count("rounded away") == 1


def test_outside_a_mixed_model_nothing_is_cast(policy):
    with computing(policy.model):
        assert policy.model(torch.tensor([[3, 4]])).logits.dtype == torch.float32


@pytest.mark.parametrize(("dtype", "merges"), [("mixed", True), ("bfloat16", False)])
def test_small_adapters_are_felt_whatever_type_the_weights_have(dtype, merges, caplog):
    config = PolicyConfig(characters="0123456789", layers=2, hidden=32, dtype=dtype, device="cpu", lora_rank=4)
    model = load_policy(config).model
    forward = Forward(model)
    assert (forward.decoder is not None) == merges
    assert ("rounded away" in caplog.text) != merges
    before = forward.hidden(*JOB)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=2e-3)
    after = forward.hidden(*JOB)
    assert (before != after).any()
    after.float().square().sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert all("lora" in name and grad.dtype == torch.float32 and grad.any() for name, grad in gradients.items())


@needs_gpu
def test_wide_products_are_exact_sums():
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, 256, generator=generator).to("cuda", torch.bfloat16) for n in (48, 1000))
    expected = x.double() @ w.double().T
    found = wide_linear(x, w)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 1e-3  # rounding the result to bfloat16 would cost 0.1
    total = torch.randn(1000, 256, generator=generator).cuda()
    before = total.double()
    g = torch.randn(48, 1000, generator=generator).to("cuda", torch.bfloat16)
    add_wide_product_(total, g.t(), x)
    assert (total - before - g.double().T @ x.double()).abs().max() < 1e-3


@needs_gpu
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_head_on_tensor_cores_agrees_with_the_exact_one(temperature):
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 64, generator=generator).to(torch.bfloat16) for n in (40, 500))
    targets = torch.randint(0, 500, (40,), generator=generator)
    results = []
    for device in ("cpu", "cuda"):
        h, w = (t.to(device).requires_grad_() for t in (hidden.float() if device == "cpu" else hidden, weight.float()))
        out = head(LinearLogits(h, w, temperature), targets.to(device), chunk=16, entropy=True, top_k=5)
        (out.logp_N.sum() + out.entropy_N.sum() + out.support_logp_NK[:, 1].sum()).backward()
        results.append([t.float().cpu() for t in (out.logp_N, out.entropy_N, h.grad, w.grad)])
    for exact, found in zip(*results, strict=True):
        assert (exact - found).norm() / exact.norm() < 0.01


@pytest.mark.parametrize(
    ("device", "train"),
    [
        ("cpu", {}),
        *(
            pytest.param("cuda", train, marks=needs_gpu)
            for train in ({}, {"gradient_checkpointing": True}, {"compile": True})
        ),
    ],
)
def test_a_mixed_run_learns(tmp_path, device, train):
    result = palaestra.trainer.train(
        {
            "out": str(tmp_path / "run"),
            "policy": {
                "characters": "0123456789",
                "layers": 2,
                "hidden": 64,
                "device": device,
                "dtype": "mixed",
            },
            "env": {"id": "palaestra/Sort-v0", "args": {"digits": 3}},
            "warmup": {"steps": 60, "target": 0.4, "check_every": 10, "batch_size": 64, "tasks": 64},
            "rollout": {"group_size": 8, "prompts_per_step": 32, "max_new_tokens": 5},
            "train": {"steps": 30, "warmup_steps": 5, **train},
            "eval": {"tasks": 128, "samples": 4},
            "log": {"tensorboard": False},
        }
    )
    assert result.stopped is None
    assert result.after.pass_at[1].value > result.before.pass_at[1].value + 0.1
