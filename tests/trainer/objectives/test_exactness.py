"""Exact gradients on tabular policies: enumerate every group and compare expectations with the true gradient."""

from itertools import product

import numpy as np
import pytest

from palaestra.trainer.objectives import advantages as adv


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def entropy(p):
    return -(p * np.log(p)).sum()


def true_gradient(p, rewards):
    return p * (rewards - p @ rewards)


def expected_gradient(p, rewards, size, estimator, batch, keep=None):
    """E over all groups of (1/G) sum A_i grad log p(y_i)."""
    total = np.zeros(len(p))
    for group in product(range(len(p)), repeat=size):
        advantages = estimator(batch([rewards[y] for y in group]))
        grads = np.eye(len(p))[list(group)] - p
        total += np.prod(p[list(group)]) * (advantages[:, None] * grads).mean(0)
    return total


@pytest.mark.parametrize("size", [2, 3])
def test_rloo_is_unbiased_and_the_group_mean_shrinks_by_g_minus_one_over_g(size, batch):
    p = softmax(np.array([0.3, -0.5, 1.0, 0.0, -1.2]))
    rewards = np.array([1.0, 0.2, 0.0, 0.7, 1.0])
    exact = true_gradient(p, rewards)
    assert expected_gradient(p, rewards, size, adv.leave_one_out, batch) == pytest.approx(exact, abs=1e-12)
    centred = expected_gradient(p, rewards, size, lambda b: adv.group_advantage(b, "none"), batch)
    assert centred == pytest.approx(exact * (size - 1) / size, abs=1e-12)


def test_psr_equals_nsr_equals_half_of_plus_minus_one(batch):
    p = np.array([0.5, 0.3, 0.15, 0.05])
    rewards = np.array([0.0, 1.0, 0.0, 1.0])
    parts = {
        name: expected_gradient(p, rewards, 1, lambda b, w=w: adv.signed_rewards(b, *w), batch)
        for name, w in {"psr": (1, 0), "nsr": (0, 1), "pm1": (1, 1), "w": (0.1, 1)}.items()
    }
    assert parts["psr"] == pytest.approx(parts["nsr"], abs=1e-12)
    assert parts["pm1"] == pytest.approx(2 * parts["psr"], abs=1e-12)
    assert parts["w"] == pytest.approx(1.1 * true_gradient(p, rewards), abs=1e-12)


def test_psr_exact_runs(oracle, batch):
    given, want, tol = oracle("PSR-exact")
    rewards = np.isin(np.arange(4), given["correct"]).astype(float)
    for name, weights in {"psr": (1, 0), "nsr": (0, 1), "w_0.1": (0.1, 1), "pm1": (1, 1)}.items():
        signed = adv.signed_rewards(batch(rewards), *weights)
        z = np.log(given["pi0"])
        for _ in range(given["steps"]):
            p = softmax(z)
            z = z + given["lr"] * p * (signed - p @ signed)
        assert softmax(z) @ rewards == pytest.approx(want[name], abs=tol)


def test_one_negative_step(oracle):
    given, want, tol = oracle("PSR-step")
    p = np.array(given["pi"])
    score = np.eye(4)[given["wrong_index"]] - p
    assert softmax(np.log(p) - given["step"] * score) == pytest.approx(want, abs=tol)


def test_expected_push_of_a_confident_wrong_token(oracle):
    given, want, tol = oracle("PSR-confident-wrong")
    p = np.array([given["pi_wrong"]] + [given["pi_each_other"]] * given["others"])
    push = -p[0] * (np.eye(4)[0] - p)
    assert push[0] == pytest.approx(want["wrong"], abs=tol)
    assert push[1:] == pytest.approx([want["each_other"]] * 3, abs=tol)


def test_a_negative_step_can_lower_entropy(oracle):
    given, want, tol = oracle("PSR-entropy")
    p = np.array(given["pi"])
    score = np.eye(4)[given["index"]] - p
    assert entropy(p) == pytest.approx(want["before"], abs=tol)
    assert entropy(softmax(np.log(p) - given["step"] * score)) == pytest.approx(want["nsr_after"], abs=tol)
    assert entropy(softmax(np.log(p) + given["step"] * score)) == pytest.approx(want["psr_after"], abs=tol)


@pytest.mark.slow
def test_sampled_nsr_keeps_more_entropy_among_correct_answers_than_psr():
    """Published differences come from sampling with the other sign dropped before the token mean: 24 seeds."""
    correct = np.array([True, True, True, False, False, False])

    def run(keep_correct, seed):
        rng, z = np.random.default_rng(seed), np.zeros(6)
        for _ in range(150):
            p = softmax(z)
            ys = rng.choice(6, size=8, p=p)
            ys = ys[correct[ys] == keep_correct]
            if len(ys):
                grad = (np.eye(6)[ys] - p).mean(0)
                z = z + 0.3 * (grad if keep_correct else -grad)
        p = softmax(z)
        return entropy(p[correct] / p[correct].sum()), p[correct].sum()

    psr, nsr = (np.array([run(sign, seed) for seed in range(24)]) for sign in (True, False))
    assert (psr[:, 1] > 0.9).all() and (nsr[:, 1] > 0.9).all()
    gap = nsr[:, 0] - psr[:, 0]
    assert gap.mean() > 3 * gap.std(ddof=1) / np.sqrt(len(gap))


def test_grade_exact_gradient_and_reinforce_spread(oracle):
    given, want, tol = oracle("GRADE-exact")
    p, rewards = softmax(np.array(given["logits"])), np.array(given["reward"])
    assert true_gradient(p, rewards) == pytest.approx(want["exact"], abs=tol)
    for key, baseline in {"reinforce_std": 0.0, "reinforce_mean_baseline_std": p @ rewards}.items():
        samples = (rewards - baseline)[:, None] * (np.eye(3) - p)
        mean = p @ samples
        assert mean == pytest.approx(want["exact"], abs=tol)
        assert np.sqrt(p @ (samples - mean) ** 2) == pytest.approx(want[key], abs=tol)
