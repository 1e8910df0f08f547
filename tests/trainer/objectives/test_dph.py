"""DPH-RL's generators and rehearsal loss."""

import numpy as np
import pytest
import torch

from palaestra.trainer import objectives
from palaestra.trainer.objectives.divergences import f_generator, js_definition
from palaestra.trainer.objectives.regularisers import kl_values
from palaestra.trainer.objectives.rehearsal import f_divergence, js_exploration

F64 = torch.float64


def test_generators(oracle):
    given, want, tol = oracle("H1")
    ref, lp = (torch.tensor(given[k], dtype=F64) for k in ("lp_ref", "lp"))
    log_u = lp - ref
    assert log_u.exp().tolist() == pytest.approx(want["u"], abs=tol)
    k1, forward, js = (f_generator(log_u, kind) for kind in ("forward_k1", "forward", "js"))
    assert k1.tolist() == pytest.approx(want["k1"], abs=tol) and k1.mean().item() == pytest.approx(want["k1_mean"])
    assert forward.tolist() == pytest.approx(want["forward_k3"], abs=tol)
    assert js.tolist() == pytest.approx(want["js_low_var"], abs=tol)
    reverse = kl_values(lp, ref, "k3")
    assert reverse.tolist() == pytest.approx(want["reverse_k3"], abs=tol)
    means = [forward.mean().item(), js.mean().item(), reverse.mean().item()]
    assert means == pytest.approx([want[k] for k in ("forward_k3_mean", "js_low_var_mean", "reverse_k3_mean")], abs=tol)
    for alpha, value in want["alpha_mean"].items():
        assert f_generator(log_u, "alpha", float(alpha)).mean().item() == pytest.approx(value, abs=tol)
    assert js_definition(lp, ref, True).tolist() == pytest.approx(want["js_def_pef"], abs=tol)
    assert js_definition(lp, ref, False).tolist() == pytest.approx(want["js_def_exp"], abs=tol)


@pytest.mark.parametrize(("kind", "key"), [("forward", "forward_grad"), ("forward_k1", "k1_grad"), ("js", "js_grad")])
def test_gradients_of_the_loss(oracle, tokens, kind, key):
    given, want, tol = oracle("H1")
    b = tokens([given["lp"]], logp_ref_BT=torch.tensor([given["lp_ref"]], dtype=F64))
    value, _ = f_divergence(kind, 1.0)(b)
    assert torch.autograd.grad(value, b.logp_BT)[0][0].tolist() == pytest.approx(want[key], abs=tol)


def test_expectations(oracle):
    given, want, tol = oracle("H2")
    ref, theta = (torch.tensor(given[k], dtype=F64) for k in ("ref", "theta"))
    log_u = (theta / ref).log()
    mix = (ref + theta) / 2
    exact = {
        "kl_ref_theta": (ref * (ref / theta).log()).sum(),
        "kl_theta_ref": (theta * (theta / ref).log()).sum(),
        "e_forward_k3": (ref * f_generator(log_u, "forward")).sum(),
        "e_js_low_var": (ref * f_generator(log_u, "js")).sum(),
        "jsd": 0.5 * (ref * (ref / mix).log()).sum() + 0.5 * (theta * (theta / mix).log()).sum(),
    }
    for key, value in exact.items():
        assert value.item() == pytest.approx(want[key], abs=tol)
    assert exact["e_js_low_var"].item() == pytest.approx(2 * exact["jsd"].item())
    for alpha, value in want["alpha_div"].items():
        assert (ref * f_generator(log_u, "alpha", float(alpha))).sum().item() == pytest.approx(value, abs=tol)


def test_generators_vanish_at_one_and_the_misprint_does_not(oracle):
    _, want, tol = oracle("H-bad-generator")
    zero = torch.zeros((), dtype=F64, requires_grad=True)
    for kind in ("forward", "js", "alpha"):
        value = f_generator(zero, kind)
        assert value.item() == pytest.approx(0, abs=1e-12)
        assert torch.autograd.grad(value, zero)[0].item() == pytest.approx(0, abs=1e-12)
    printed = 1.0 * np.log(1.0 / 2) - (1.0 + 1) / 2 * np.log((1.0 + 1) / 2)
    assert printed == pytest.approx(want["value"], abs=tol)
    assert f_generator(zero, "js").item() != pytest.approx(printed, abs=0.1)


@pytest.mark.parametrize("kind", ["forward", "forward_k1", "js", "js_definition", "alpha"])
def test_extremes_and_empty_samples_stay_finite(kind, tokens):
    ref = torch.tensor([[-500.0, 0.0, -1.0]], dtype=F64)
    for mask in ([[1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]):
        b = tokens([[0.0, -500.0, float("-inf")]], mask=mask, logp_ref_BT=ref)
        value, _ = f_divergence(kind, 1.0)(b)
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(b.logp_BT.grad).all()


def test_the_clamp_stops_the_gradient_beyond_ten(tokens):
    ref = torch.tensor([[-5.0]], dtype=F64)
    b = tokens([[-0.5]], logp_ref_BT=ref)
    for clamp, moves in ((10.0, False), (None, True)):
        value, _ = f_divergence("forward", 1.0, clamp=clamp)(b)
        assert bool(torch.autograd.grad(value, b.logp_BT)[0].any()) is moves


def test_objective_has_a_rehearsal_and_no_kl():
    made = objectives.get("dph", {"generator": "js", "eta": 0.1, "attempts": 8, "threshold": 6, "chunk": 32})
    assert (made.rehearsal.attempts, made.rehearsal.threshold, made.rehearsal.chunk) == (8, 6, 32)
    assert not made.regularisers and not made.needs
    definition = objectives.get("dph", {"generator": "js_definition"})
    assert definition.needs == {"reference"} and len(definition.regularisers) == 1
    with pytest.raises(objectives.ObjectiveError, match="no task could reach it"):
        objectives.get("dph", {"attempts": 4, "threshold": 6})


def test_rehearsal_without_stored_values_is_refused(tokens):
    for term in (f_divergence("forward", 1.0), js_exploration(1.0, 0.1)):
        with pytest.raises(ValueError, match="logp_ref_BT"):
            term(tokens([[-1.0]]))
