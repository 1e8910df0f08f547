"""The learner: shared prompts, micro-batches and chunked heads change nothing but speed; unsound steps are skipped."""

from __future__ import annotations

import copy
import os
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.trainer.config import TrainConfig
from palaestra.trainer.forward import Forward
from palaestra.trainer.head import LinearLogits, head
from palaestra.trainer.learner import Learner, Unstable
from palaestra.trainer.objectives import registry
from palaestra.trainer.objectives.types import Objective
from palaestra.trainer.plan import plan
from palaestra.trainer.rows import Row
from palaestra.trainer.samples import Sample


def make_rows(groups=5, size=3, seed=0, zero_every=0):
    rng = np.random.default_rng(seed)
    rows = []
    for g in range(groups):
        prompt = tuple(rng.integers(3, 13, int(rng.integers(2, 9))).tolist())
        for j in range(size):
            length = int(rng.integers(1, 8))
            mask = rng.random(length) < 0.8
            mask[-1] = True
            logp = np.where(mask, -rng.random(length), 0).astype(np.float32)
            ids = tuple(rng.integers(3, 13, length).tolist())
            sample = Sample(f"{g}-{j}", prompt, ids, mask, logp, np.where(mask, 0, -1))
            advantage = 0.0 if zero_every and j % zero_every == 0 else float(rng.normal())
            rows.append(Row(sample, advantage * mask, group=g))
    return rows


def gradients(policy, rows, objective="grpo", params=None, **train):
    """Gradients of one optimiser step before clipping."""
    twin = copy.deepcopy(policy)
    learner = Learner(twin, registry.get(objective, params or {}), TrainConfig(**train), 1.0)
    found = {}

    def keep(largest, metrics):
        found.update({n: p.grad.clone() for n, p in twin.model.named_parameters()})
        return 1.0

    learner.apply = keep
    metrics = learner.train([copy.copy(row) for row in rows], 0)
    return found, metrics


def furthest(a, b):
    scale = max(float(g.abs().max()) for g in a.values())
    return max(float((a[n] - b[n]).abs().max()) for n in a) / scale


@pytest.mark.parametrize(
    "train",
    [
        {"shared_prefix": True},
        {"shared_prefix": True, "token_budget": 64},
        {"shared_prefix": False, "token_budget": 64},
        {"shared_prefix": False, "gradient_checkpointing": True},
    ],
)
@pytest.mark.parametrize("params", [{}, {"entropy_coef": 0.01, "kl_coef": 0.1}])
def test_gradients_do_not_depend_on_how_the_batch_is_run(policy, train, params):
    plain, plain_metrics = gradients(policy, make_rows(), params=params, shared_prefix=False)
    other, metrics = gradients(policy, make_rows(), params=params, **train)
    assert furthest(plain, other) < 2e-5
    assert metrics["loss"] == pytest.approx(plain_metrics["loss"], abs=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_compiled_layers_have_the_same_gradients(policy, shared, monkeypatch):
    """Graphs are captured and differentiated as usual; PALAESTRA_INDUCTOR=1 also generates C++, which takes minutes."""
    if not os.environ.get("PALAESTRA_INDUCTOR"):
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    rows = make_rows(groups=2)
    plain, _ = gradients(policy, rows, shared_prefix=shared)
    compiled, _ = gradients(policy, rows, shared_prefix=shared, compile=True)
    assert furthest(plain, compiled) < 2e-5


def test_rows_without_advantage_are_skipped_but_counted(policy):
    rows = make_rows(zero_every=2)
    skipped, _ = gradients(policy, rows)
    objective = registry.get("grpo", {})
    twin = copy.deepcopy(policy)
    learner = Learner(twin, objective, TrainConfig(), 1.0)
    seen = []
    original = learner.batches
    learner.batches = lambda rows, **k: seen.append(len(rows)) or original(rows, **k)
    learner.train([copy.copy(r) for r in rows], 0)
    assert seen == [sum(bool(r.advantage_T.any()) for r in rows)]
    type(learner).skips_zero_advantage, kept = property(lambda self: False), type(learner).skips_zero_advantage
    try:
        everything, _ = gradients(policy, rows)
    finally:
        type(learner).skips_zero_advantage = kept
    assert furthest(everything, skipped) < 1e-5


def test_a_step_without_any_signal_changes_nothing(policy):
    before = copy.deepcopy(policy.model.state_dict())
    learner = Learner(policy, registry.get("grpo", {}), TrainConfig(weight_decay=0.1), 1.0)
    rows = make_rows()
    for row in rows:
        row.advantage_T = np.zeros(len(row.sample))
    metrics = learner.train(rows, 0)
    assert metrics["optimiser_steps"] == metrics["skipped_steps"] == 0
    assert all(torch.equal(before[n], v) for n, v in policy.model.state_dict().items())


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), min_size=1, max_size=40),
    st.integers(1, 200),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_plans_cover_every_row_once_within_the_budget(shapes, budget, shared):
    prompts = [tuple(range(p + 1)) for p, _ in shapes]
    lengths = [length for _, length in shapes]
    batches = plan(prompts, lengths, budget, shared=shared)
    assert sorted(i for batch in batches for i in batch) == list(range(len(shapes)))
    for batch in batches:
        longest, widest = max(lengths[i] for i in batch), max(len(prompts[i]) for i in batch)
        unique = len({prompts[i] for i in batch})
        cost = unique * widest + len(batch) * longest if shared else len(batch) * (widest + longest)
        assert cost <= budget or len(batch) == 1
    assert batches == plan(prompts, lengths, budget, shared=shared)


@pytest.mark.parametrize("chunk", [10, 1000])
def test_the_head_and_its_gradients_are_those_of_the_whole_softmax(chunk):
    torch.manual_seed(0)
    hidden, weight = torch.randn(37, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    targets = torch.randint(0, 50, (37,))
    out = head(LinearLogits(hidden, weight, 0.7), targets, chunk=chunk, entropy=True, top_k=5)
    logp = (hidden @ weight.T / 0.7).log_softmax(-1)
    expected = (logp.gather(1, targets[:, None])[:, 0], -(logp.exp() * logp).sum(-1), logp.topk(5).values)
    found = (out.logp_N, out.entropy_N, out.support_logp_NK)
    grads = []
    for ours in (found, expected):
        total = ours[0].sin().sum() + (ours[1] ** 2).sum() + ours[2].cos().sum()
        grads.append(torch.autograd.grad(total, (hidden, weight), retain_graph=True))
    for a, b in zip((*found, *grads[0]), (*expected, *grads[1]), strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(out.support_NK, logp.topk(5).indices)
    alone = head(LinearLogits(hidden, weight, 0.7), targets, chunk=chunk)
    assert alone.entropy_N is alone.support_NK is None
    torch.testing.assert_close(
        torch.autograd.grad(alone.logp_N.sum(), (hidden, weight)),
        torch.autograd.grad(expected[0].sum(), (hidden, weight)),
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_compiled_head_is_the_same_head(temperature, monkeypatch):
    monkeypatch.setattr("palaestra.trainer.head._compiled", partial(torch.compile, backend="aot_eager"))
    torch.manual_seed(0)
    hidden, weight = torch.randn(9, 8, requires_grad=True), torch.randn(20, 8, requires_grad=True)
    results = []
    for compiled in (False, True):
        out = head(LinearLogits(hidden, weight, temperature), torch.arange(9), chunk=4, compiled=compiled)
        results.append((out.logp_N, *torch.autograd.grad(out.logp_N.sin().sum(), (hidden, weight))))
    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(plain, fused)


@pytest.mark.parametrize("options", [{}, {"entropy": True}, {"support_NK": torch.tensor([[0, 2]] * 5)}])
def test_head_gradcheck_in_double(options):
    torch.manual_seed(0)
    hidden = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)

    def score(h, w):
        out = head(LinearLogits(h, w, 1.3), torch.tensor([0, 1, 2, 3, 6]), chunk=2, **options)
        return [x for x in (out.logp_N, out.entropy_N, out.support_logp_NK) if x is not None]

    assert torch.autograd.gradcheck(score, (hidden, weight))


def test_a_head_in_bfloat16_scores_in_float32():
    torch.manual_seed(0)
    hidden, weight = (torch.randn(*shape, dtype=torch.bfloat16, requires_grad=True) for shape in ((9, 8), (20, 8)))
    out = head(LinearLogits(hidden, weight), torch.arange(9), chunk=4)
    exact = (hidden.float() @ weight.float().T).log_softmax(-1)[torch.arange(9), torch.arange(9)]
    torch.testing.assert_close(out.logp_N, exact)
    grads = torch.autograd.grad(out.logp_N.sum(), (hidden, weight))
    assert {g.dtype for g in grads} == {torch.bfloat16}


def test_derivatives_written_by_hand_are_the_right_ones():
    from palaestra.trainer.engines import fused

    torch.manual_seed(0)
    x = torch.randn(3, 2, 4, 6, requires_grad=True)
    weight, each = torch.randn(6, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    angle = torch.randn(2, 3)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]

    def norm(x, weight):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    def turn(x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    pairs = [
        (fused.rms_norm(x, weight, 1e-6), norm(x, weight)),
        (fused.rotate(x, cos, sin), turn(x)),
        (fused.norm_rotate(x, each, cos, sin, 1e-6), turn(norm(x, each))),
        (fused.gated_silu(x), torch.nn.functional.silu(x[..., :3]) * x[..., 3:]),
    ]
    for ours, plain in pairs:
        torch.testing.assert_close(ours, plain)
        pull = torch.randn_like(plain)
        found, expected = (
            torch.autograd.grad(out, (x, weight, each), pull, allow_unused=True) for out in (ours, plain)
        )
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(fused.norm_rotate(x, each, cos, sin, 1e-6), pairs[2][1])
        torch.testing.assert_close(fused.gated_silu(x), pairs[3][1])
        torch.testing.assert_close(fused.rms_norm(x, weight, 1e-6), pairs[0][1])


def test_forward_handles_ragged_prompts(policy):
    prompts, rows = [(3, 4), (5, 6, 7, 8, 9), (4,)], [0, 0, 1, 2, 2, 2]
    ids = [(3,), (4, 5, 6), (7, 8), (9, 9, 9, 9), (3, 4), (5,)]
    shared = Forward(policy.model).hidden(prompts, rows, ids)
    plain = Forward(policy.model, shared_prefix=False).hidden(prompts, rows, ids)
    for row, continuation in enumerate(ids):
        torch.testing.assert_close(
            shared[row, : len(continuation)], plain[row, : len(continuation)], atol=1e-5, rtol=1e-4
        )


def _broken(value):
    def loss(batch):
        return (batch.logp_BT * batch.mask_BT).sum() * value, {}

    return Objective(name="broken", advantage=lambda batch: batch.rewards_B, loss=loss)


def test_steps_that_are_not_finite_are_skipped_and_then_stop_the_run(policy):
    before = copy.deepcopy(policy.model.state_dict())
    learner = Learner(policy, _broken(float("nan")), TrainConfig(max_bad_steps=3), 1.0)
    assert learner.train(make_rows(), 0)["skipped_steps"] == 1
    assert learner.train(make_rows(), 1)["skipped_steps"] == 1
    with pytest.raises(Unstable, match=r"lower train\.learning_rate"):
        learner.train(make_rows(), 2)
    assert all(torch.equal(before[n], v) for n, v in policy.model.state_dict().items())


def test_an_exploding_ratio_is_skipped(policy):
    rows = make_rows()
    learner = Learner(policy, registry.get("grpo", {}), TrainConfig(max_ratio=10), 1.0)
    for row in rows:
        row.scores["old"] = np.full(len(row.sample), -50.0, np.float32)
    metrics = learner.train(rows, 0)
    assert metrics["skipped_steps"] == 1
    assert metrics["max_ratio"] > 10


def test_mini_batches_keep_groups_whole_and_use_old_weights(policy):
    rows = make_rows(groups=6)
    learner = Learner(policy, registry.get("grpo", {}), TrainConfig(minibatches=3, epochs=2, learning_rate=1e-2), 1.0)
    old = copy.deepcopy(policy)
    metrics = learner.train(rows, 0)
    assert metrics["optimiser_steps"] == 6
    check = Learner(old, registry.get("grpo", {}), TrainConfig(), 1.0)
    check.score(rows, "again")
    for row in rows:
        np.testing.assert_array_equal(row.scores["old"], row.scores["again"])


def test_the_schedule_is_a_function_of_the_step():
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0, final_lr=0.1)
    learner = type("L", (), {"config": config})()
    rates = [Learner.learning_rate(learner, step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 10
    assert rates[-1] == pytest.approx(0.11, abs=0.01)
