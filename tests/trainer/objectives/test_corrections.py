"""Engine/learner importance corrections."""

import numpy as np
import pytest
import torch

from palaestra.trainer.objectives.corrections import correction
from palaestra.trainer.objectives.losses import importance_sampling


def with_kappa(tokens, kappa, mask=None):
    log = torch.tensor([kappa], dtype=torch.float64).log()
    old = torch.full_like(log, -2.0)
    return tokens(torch.full_like(log, -1.0), 1.0, old=old, roll=old - log, mask=mask)


def ess(w):
    return float(w.sum() ** 2 / (len(w) * (w**2).sum())) if w.any() else 0.0


def test_token_forms(oracle, tokens):
    given, want, tol = oracle("TIS-1")
    b = with_kappa(tokens, given["kappa"])
    tis = correction("token_truncate", 0.0, given["C"])(b)[0].numpy()
    ice = correction("token_mask", *given["icepop"])(b)[0].numpy()
    assert tis == pytest.approx(want["tis"], abs=tol) and ice == pytest.approx(want["icepop"], abs=tol)
    assert [tis.mean(), ice.mean()] == pytest.approx([want["tis_mean"], want["icepop_mean"]], abs=tol)
    assert [ess(tis), ess(ice)] == pytest.approx([want["tis_ess"], want["icepop_ess"]], abs=tol)
    raw = np.array(given["kappa"])
    assert [raw.mean(), ess(raw)] == pytest.approx([want["raw_mean"], want["raw_ess"]], abs=tol)


def test_sequence_and_geometric_forms(oracle, tokens):
    given, want, tol = oracle("TIS-seq")
    b = with_kappa(tokens, [given["kappa"]] * given["tokens"])
    product = correction("sequence_truncate", 0.0, 1e9)(b)
    mean = correction("geometric_truncate", 0.0, 1e9)(b)
    assert product[0, 0].item() == pytest.approx(want["product"], abs=1e-4)
    assert mean[0, 0].item() == pytest.approx(want["geometric_mean"], abs=tol)
    assert (correction("sequence_truncate", 0.0, 2.0)(b) == 2.0).all()
    assert (correction("sequence_mask", 0.0, 2.0)(b) == 0.0).all()


def test_missing_rollout_probabilities_fail_loudly(tokens):
    b = with_kappa(tokens, [1.0, float("nan")])
    with pytest.raises(ValueError, match="log-probabilities are missing"):
        correction("token_truncate")(b)
    ok = with_kappa(tokens, [1.0, float("nan")], mask=[[1.0, 0.0]])
    assert correction("token_truncate")(ok).tolist() == [[1.0, 1.0]]


def test_bounds_out_of_order():
    with pytest.raises(ValueError, match="out of order"):
        correction("token_mask", 2.0, 0.5)


def test_corrected_gradient_is_exact_at_horizon_one_and_biased_by_the_cap(tokens):
    """A fake engine samples from perturbed logits; the expectation over its samples is enumerated."""
    z = torch.tensor([0.4, -0.2, 0.1, -0.6], dtype=torch.float64)
    rewards = torch.tensor([1.0, 0.0, 0.5, 0.2], dtype=torch.float64)
    p = torch.softmax(z, 0)
    exact = p * (rewards - p @ rewards)

    def gap(sigma, cap):
        noise = torch.randn(4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        log_q = torch.log_softmax(z + sigma * noise, 0)
        logits = z.clone().requires_grad_(True)
        logp = torch.log_softmax(logits, 0)
        b = tokens(logp[:, None], rewards[:, None], old=logp.detach()[:, None], roll=log_q[:, None])
        w = correction("token_truncate", 0.0, cap)(b)[:, 0]
        (grad,) = torch.autograd.grad((log_q.exp() * w * rewards * logp).sum(), logits)
        weights = w.numpy()
        return float((grad - exact).norm()), ess(weights), weights

    assert gap(0.5, 1e6)[0] < 1e-12
    caps = [gap(1.0, cap)[0] for cap in (2.0, 1.0, 0.5)]
    assert caps == sorted(caps) and caps[-1] > 1e-3
    spread = [gap(sigma, 1e6)[1] for sigma in (0.1, 0.5, 1.0)]
    assert spread == sorted(spread, reverse=True)


def test_correction_reaches_the_loss(tokens):
    from dataclasses import replace

    b = with_kappa(tokens, [4.0, 1.0])
    weighted = replace(b, weights_BT=correction("token_truncate", 0.0, 2.0)(b), logp_old_BT=b.logp_BT.detach())
    (grad,) = torch.autograd.grad(importance_sampling()(weighted)[0], b.logp_BT)
    assert grad.tolist() == [pytest.approx([-1.0, -0.5])]
