"""Policy losses: autograd against the published tables, aggregation over global counts, degenerate batches."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palaestra.trainer.objectives import losses
from palaestra.trainer.objectives.types import Normaliser

MODES = ("token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "dr_grpo")


def gradient(loss, batch):
    value, _ = loss(batch)
    (grad,) = torch.autograd.grad(value, batch.logp_BT)
    return grad


def table(tokens, rho, advantage):
    old = torch.zeros(1, len(rho), dtype=torch.float64)
    norm = Normaliser(1.0, 1.0, float(len(rho)))
    return tokens(torch.tensor([rho], dtype=torch.float64).log(), advantage, old=old, norm=norm)


@pytest.mark.parametrize(
    ("key", "advantage", "high", "dual"),
    [
        ("pos_sym", 1.0, "eps_high_sym", None),
        ("pos_clip_higher", 1.0, "eps_high_clip_higher", None),
        ("neg_sym", -1.0, "eps_high_sym", None),
        ("neg_dual", -1.0, "eps_high_sym", "dual_c"),
    ],
)
def test_clip_gradient_table(oracle, tokens, key, advantage, high, dual):
    given_, want, tol = oracle("CLIP-grad")
    loss = losses.ppo_clip(given_["eps_low"], given_[high], given_[dual] if dual else None)
    got = -gradient(loss, table(tokens, given_["rho"], advantage))[0]
    assert got.tolist() == pytest.approx(want[key], abs=tol)


def test_h3_values(oracle, tokens):
    given_, want, tol = oracle("H3")
    b = tokens([given_["lp"]], [given_["A"]], old=[given_["lp_old"]])
    rho = losses.log_ratio(b.logp_BT, b.logp_old_BT, b.mask_BT).exp()
    bounds = given_["eps_low"], given_["eps_high"], given_["dual_clip"]
    values = -losses.clipped_surrogate(rho, b.advantages_BT, *bounds)
    assert values[0].tolist() == pytest.approx(want["per_token"], abs=tol)
    mean = losses.ppo_clip(*bounds)(b)[0].item()
    assert mean == pytest.approx(want["mean"], abs=tol)
    from palaestra.trainer.objectives.rehearsal import f_divergence

    h1, _, _ = oracle("H1")
    stored = tokens([h1["lp"]], logp_ref_BT=torch.tensor([h1["lp_ref"]], dtype=torch.float64))
    assert mean + f_divergence("js", 0.2)(stored)[0].item() == pytest.approx(want["plus_0p2_js_mean"], abs=tol)


def test_h3_dual_clip(oracle, tokens):
    given_, want, tol = oracle("H3-dual")
    b = tokens([given_["lp"]], [given_["A"]], old=[given_["lp_old"]])
    assert losses.ppo_clip(0.2, 0.28, given_["dual_clip"])(b)[0].item() == pytest.approx(want[0], abs=tol)


def test_two_sided_clip_bounds_the_unclipped_term(tokens):
    b = table(tokens, [5.0], -1.0)
    assert losses.ppo_clip(delta=2.0)(b)[0].item() == pytest.approx(2.0)
    assert losses.ppo_clip()(b)[0].item() == pytest.approx(5.0)


def test_aggregation_weights(oracle):
    given_, want, tol = oracle("AGG-weights")
    mask = torch.zeros(2, 8, dtype=torch.float64)
    for row, length in enumerate(given_["lengths"]):
        mask[row, :length] = 1
    norm = Normaliser(float(mask.sum()), 2.0, given_["L_max"])
    for mode, weights in want.items():
        values = torch.zeros_like(mask, requires_grad=True)
        (grad,) = torch.autograd.grad(losses.aggregate(values, mask, norm, mode), values)
        assert [grad[0, 0].item(), grad[1, 0].item()] == pytest.approx(weights, abs=tol)


def test_aggregation_of_a_loss(oracle, tokens):
    given_, want, tol = oracle("AGG-loss")
    mask = torch.tensor([[1.0] * n + [0.0] * (8 - n) for n in given_["lengths"]], dtype=torch.float64)
    advantages = torch.tensor(given_["A"], dtype=torch.float64)[:, None]
    for mode, value in want.items():
        b = tokens(torch.full((2, 8), -1.0, dtype=torch.float64), advantages, mask=mask, max_length=given_["L_max"])
        assert losses.ppo_clip(aggregation=mode)(b)[0].item() == pytest.approx(value, abs=tol)


def test_unknown_aggregation_names_the_choices():
    with pytest.raises(ValueError, match="token_mean, seq_mean_token_mean"):
        losses.aggregate(torch.zeros(1, 1), torch.ones(1, 1), Normaliser(1, 1, 1), "mean")


def test_gspo_ratio_and_clip(oracle, tokens):
    given_, want, tol = oracle("GSPO-1")
    old = torch.zeros(2, 4, dtype=torch.float64)
    b = tokens(given_["log_ratios"], 1.0, old=old)
    s = losses.sequence_ratio(b)[:, 0]
    assert s.tolist() == pytest.approx(want["s"], abs=tol)
    assert b.logp_BT[0].exp().tolist() == pytest.approx(want["token_ratios_0"], abs=tol)
    assert b.logp_BT[0].sum().exp().item() == pytest.approx(want["product_0"], abs=tol)
    grad = gradient(losses.gspo(given_["eps_low"], given_["eps_high"]), b)
    assert [bool((row != 0).all()) for row in grad] == want["inside"]
    # Token form and sequence form have one gradient: s_i A_i / |y_i| on every token.
    assert -grad[1].tolist()[0] == pytest.approx(s[1].item() / 4 / 2, abs=1e-9)


def test_cispo_weights(oracle, tokens):
    given_, want, tol = oracle("CISPO-1")
    forms = {"absolute_cap": (given_["ratio_cap"], 0.0), "two_sided": (1 + given_["eps_high"], 1 - given_["eps_low"])}
    for key, (cap, floor) in forms.items():
        grad = -gradient(losses.cispo(cap, floor), table(tokens, given_["rho"], given_["A"]))[0]
        assert grad.tolist() == pytest.approx(want[key], abs=tol)
        assert (grad != 0).all()


def random_batch(tokens, seed=0, rows=4, width=6, **fields):
    g = torch.Generator().manual_seed(seed)
    logp = -torch.rand(rows, width, generator=g, dtype=torch.float64) * 3
    old = logp + 0.3 * torch.randn(rows, width, generator=g, dtype=torch.float64)
    mask = (torch.arange(width)[None] < torch.randint(0, width + 1, (rows, 1), generator=g)).double()
    advantages = torch.randn(rows, 1, generator=g, dtype=torch.float64)
    return tokens(logp, advantages, old=old, mask=mask, max_length=width, **fields)


ALL = {
    "ppo": lambda mode: losses.ppo_clip(aggregation=mode),
    "clip_higher": lambda mode: losses.ppo_clip(0.2, 0.28, aggregation=mode),
    "dual": lambda mode: losses.ppo_clip(dual_clip=3.0, aggregation=mode),
    "two_sided": lambda mode: losses.ppo_clip(delta=4.0, aggregation=mode),
    "gspo": lambda mode: losses.gspo(aggregation=mode),
    "cispo": lambda mode: losses.cispo(aggregation=mode),
    "importance": lambda mode: losses.importance_sampling(aggregation=mode),
    "capped": lambda mode: losses.importance_sampling(1.02, mode),
    "score": lambda mode: losses.score_function(mode),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ALL)
def test_splitting_a_batch_changes_nothing(name, mode, tokens):
    loss, whole = ALL[name](mode), random_batch(tokens)
    value, full = loss(whole)[0], gradient(loss, whole)
    parts, grads = 0.0, []
    for rows in (slice(0, 1), slice(1, 4)):
        cut = tokens(
            whole.logp_BT.detach()[rows].clone(),
            whole.advantages_BT[rows],
            old=whole.logp_old_BT[rows],
            mask=whole.mask_BT[rows],
            norm=whole.norm,
        )
        parts += loss(cut)[0].item()
        grads.append(gradient(loss, cut))
    assert parts == pytest.approx(value.item(), abs=1e-12)
    assert torch.allclose(torch.cat(grads), full, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_on_policy_every_loss_has_the_gradient_of_reinforce(name, tokens):
    b = random_batch(tokens)
    b = replace(b, logp_old_BT=b.logp_BT.detach())
    got = gradient(ALL[name]("seq_mean_token_mean"), b)
    if name == "gspo":  # a sequence's gradient is spread evenly; with one advantage a row it is the same sum
        assert torch.allclose(got.sum(-1), gradient(ALL["score"]("seq_mean_token_mean"), b).sum(-1), atol=1e-9)
    else:
        assert torch.allclose(got, gradient(ALL["score"]("seq_mean_token_mean"), b), atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ALL)
def test_empty_and_extreme_batches_are_finite(name, mode, tokens):
    loss = ALL[name](mode)
    empty = tokens([[float("-inf"), -1.0]], 1.0, old=[[0.0, float("-inf")]], mask=[[0.0, 0.0]])
    value, _ = loss(empty)
    value.backward()
    assert value.item() == 0 and torch.isfinite(empty.logp_BT.grad).all() and (empty.logp_BT.grad == 0).all()
    huge = tokens([[0.0, -500.0]], -1.0, old=[[-500.0, 0.0]])
    value, _ = loss(huge)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(huge.logp_BT.grad).all()


@given(st.integers(0, 50))
def test_zero_advantage_gives_zero_gradient(seed):
    g = torch.Generator().manual_seed(seed)
    logp = -torch.rand(2, 3, generator=g, dtype=torch.float64)
    from palaestra.trainer.objectives.types import TokenBatch

    for build in ALL.values():
        here = logp.clone().requires_grad_(True)
        b = TokenBatch(here, logp - 0.1, logp, torch.zeros_like(logp), torch.ones_like(logp), Normaliser(6, 2, 3))
        assert (gradient(build("token_mean"), b) == 0).all()


def test_weights_multiply_the_loss_and_not_its_normaliser(tokens):
    b = random_batch(tokens)
    weighted = replace(b, weights_BT=torch.full_like(b.mask_BT, 0.5))
    loss = losses.ppo_clip()
    assert loss(weighted)[0].item() == pytest.approx(0.5 * loss(b)[0].item())


def test_against_rollout_uses_the_engines_probabilities(tokens):
    b = random_batch(tokens)
    other = replace(b, logp_roll_BT=b.logp_old_BT, logp_old_BT=b.logp_BT.detach())
    loss = losses.importance_sampling()
    assert losses.against_rollout(loss)(other)[0].item() == pytest.approx(loss(b)[0].item())


def test_clip_fractions_are_counted_by_sign(tokens):
    _, metrics = losses.ppo_clip()(table(tokens, [0.5, 1.0, 1.5], 1.0))
    assert (metrics["clipfrac_low"].item(), metrics["clipfrac_high"].item()) == (0, 1)
    _, metrics = losses.ppo_clip()(table(tokens, [0.5, 1.0, 1.5], -1.0))
    assert (metrics["clipfrac_low"].item(), metrics["clipfrac_high"].item()) == (1, 0)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("cispo", "capped", "gspo")])
def test_gradcheck(name, tokens):
    """Numerical derivatives of the losses without stopped gradients (the others are compared with tables above)."""
    b = random_batch(tokens, seed=3)
    loss = ALL[name]("token_mean")
    assert torch.autograd.gradcheck(lambda x: loss(replace(b, logp_BT=x))[0], (b.logp_BT,), eps=1e-6, atol=1e-6)
