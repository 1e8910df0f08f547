"""KL estimators as values and as losses, and the entropy bonus."""

import numpy as np
import pytest
import torch

from palaestra.trainer.head import LinearLogits, head
from palaestra.trainer.objectives.regularisers import entropy_bonus, kl_to_reference, kl_values


def spread(p, v):
    return float(np.sqrt(p @ (v - p @ v) ** 2))


@pytest.mark.parametrize("name", ["M-kl", "M-kl-far"])
def test_values(oracle, name):
    given, want, tol = oracle(name)
    p = np.array(given["pi"])
    logp, ref = torch.tensor(given["pi"]).double().log(), torch.tensor(given["ref"]).double().log()
    for estimator in ("k1", "k2", "k3"):
        values = kl_values(logp, ref, estimator).numpy()
        row = want[estimator]
        assert values == pytest.approx(row["values"], abs=tol)
        assert [p @ values, spread(p, values)] == pytest.approx([row["mean"], row["std"]], abs=tol)
    if "kl" in want:
        q = np.array(given["ref"])
        both = [p @ np.log(p / q), q @ np.log(q / p)]
        assert both == pytest.approx([want["kl"], want["reverse"]], abs=tol)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "straight_through"])
def test_gradient_as_a_loss(oracle, estimator):
    given, want, tol = oracle("M-kl-grad")
    z = torch.tensor(given["pi"]).double().log().requires_grad_(True)
    logp = torch.log_softmax(z, 0)
    values = kl_values(logp, torch.tensor(given["ref"]).double().log(), estimator)
    (grad,) = torch.autograd.grad((logp.detach().exp() * values).sum(), z)
    expected = want["true"] if estimator == "straight_through" else want[estimator]
    assert grad.tolist() == pytest.approx(expected, abs=tol)


def test_true_gradients(oracle):
    given, want, tol = oracle("M-kl-grad")
    ref = torch.tensor(given["ref"]).double()
    z = torch.tensor(given["pi"]).double().log().requires_grad_(True)
    logp = torch.log_softmax(z, 0)
    forward = (logp.exp() * (logp - ref.log())).sum()
    backward = (ref * (ref.log() - logp)).sum()
    assert torch.autograd.grad(forward, z, retain_graph=True)[0].tolist() == pytest.approx(want["true"], abs=tol)
    assert torch.autograd.grad(backward, z)[0].tolist() == pytest.approx(want["kl_ref_pi"], abs=tol)


def test_kl_term_needs_a_reference_and_ignores_padding(tokens):
    with pytest.raises(ValueError, match="logp_ref_BT"):
        kl_to_reference(0.1)(tokens([[-1.0]]))
    ref = torch.tensor([[-2.0, float("-inf")]], dtype=torch.float64)
    b = tokens([[-1.0, -1.0]], mask=[[1.0, 0.0]], logp_ref_BT=ref)
    value, metrics = kl_to_reference(0.1, "k3")(b)
    assert value.item() == pytest.approx(0.1 * np.exp(-1)) and metrics["kl_to_reference"].item() > 0
    value.backward()
    assert torch.isfinite(b.logp_BT.grad).all()


def test_off_policy_samples_are_reweighted(tokens):
    ref = torch.tensor([[-2.0]], dtype=torch.float64)
    b = tokens([[-1.0]], old=[[-1.5]], logp_ref_BT=ref)
    plain, weighted = kl_to_reference(1.0, "k2")(b)[0], kl_to_reference(1.0, "k2", off_policy=True)(b)[0]
    assert (weighted / plain).item() == pytest.approx(np.exp(0.5))


def entropy_of(z):
    """The learner's exact entropy of one position."""
    logits = LinearLogits(z[None], torch.eye(len(z), dtype=z.dtype))
    return head(logits, torch.zeros(1, dtype=torch.long), entropy=True).entropy_N[0]


def test_entropy_gradient(oracle):
    given, want, tol = oracle("ENTROPY-grad")
    z = torch.tensor(given["p"]).double().log().requires_grad_(True)
    h = entropy_of(z)
    assert h.item() == pytest.approx(want["H"], abs=tol)
    assert torch.autograd.grad(h, z)[0].tolist() == pytest.approx(want["dH_dlogits"], abs=tol)


def test_sample_form_of_the_entropy_bonus_has_the_same_expected_gradient():
    z = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
    logp = torch.log_softmax(z, 0)
    (sampled,) = torch.autograd.grad((logp.detach().exp() * -logp.detach() * logp).sum(), z, retain_graph=True)
    (exact,) = torch.autograd.grad(entropy_of(z), z)
    assert torch.allclose(sampled, exact, atol=1e-12)


def test_entropy_target_stops_the_bonus(tokens):
    entropy = torch.tensor([[0.5, 2.0]], dtype=torch.float64, requires_grad=True)
    b = tokens([[-1.0, -1.0]], entropy_BT=entropy)
    value, _ = entropy_bonus(0.1, target=1.0)(b)
    (grad,) = torch.autograd.grad(value, entropy)
    assert grad.tolist() == [pytest.approx([-0.05, 0.0])]
    with pytest.raises(ValueError, match="entropy_BT"):
        entropy_bonus(0.1)(tokens([[-1.0]]))
