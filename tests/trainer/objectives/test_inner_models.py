"""The example of methods that live inside an architecture gives their worked numbers."""

import runpy

import numpy as np
import pytest


@pytest.fixture(scope="module")
def models():
    return runpy.run_path("examples/inner_models.py")


def test_test_time_training(oracle, models):
    given, want, tol = oracle("TTT-scalar")
    got = models["ttt_online"](given["W0"], given["lr"], given["k"], given["v"], given["steps"])
    assert got == pytest.approx(want, abs=tol)


def test_one_batch_step_is_linear_attention(models):
    rng = np.random.default_rng(0)
    keys, values, query = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.normal(size=3)
    attention = sum(v * (k @ query) for k, v in zip(keys, values, strict=True))
    assert models["ttt_batch_output"](keys, values, query) == pytest.approx(attention)


def test_titans_memory(oracle, models):
    given, want, tol = oracle("TITANS-1")
    got = models["titans_memory"](given["eta"], given["theta"], given["alpha"], given["k"], given["v"])
    assert got == pytest.approx(want, abs=tol)


def test_neuron_contributions(oracle, models):
    given, want, tol = oracle("HN-cett")
    h, shares = models["cett"](np.array(given["W_down"]), np.array(given["z"]))
    assert h == pytest.approx(want["h"], abs=tol) and shares == pytest.approx(want["cett"], abs=tol)
