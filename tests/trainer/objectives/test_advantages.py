"""Advantage estimators against their published numbers and their algebra."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.trainer.objectives import advantages as adv
from palaestra.trainer.objectives.types import RolloutBatch

REWARDS = st.lists(st.floats(-5, 5, allow_nan=False), min_size=2, max_size=8)


def one_group(rewards):
    return RolloutBatch(tuple(map(str, range(len(rewards)))), np.zeros(len(rewards), int), np.array(rewards, float))


def test_grpo_1(oracle, batch):
    given_, want, tol = oracle("GRPO-1")
    b = batch(given_["rewards"])
    for ddof in (0, 1):
        assert np.std(b.rewards_B, ddof=ddof) == pytest.approx(want[f"std_ddof{ddof}"], abs=tol)
        got = adv.group_advantage(b, eps=given_["eps"], ddof=ddof)
        assert got == pytest.approx(want[f"A_ddof{ddof}"], abs=tol)


@pytest.mark.parametrize(("name", "scale"), [("GRPO-2", "group"), ("DRGRPO-1", "none")])
def test_seven_and_one_of_eight(oracle, batch, name, scale):
    _, want, tol = oracle(name)
    for key, rewards in {"c7": [1] * 7 + [0], "c1": [1] + [0] * 7}.items():
        got = adv.group_advantage(batch(rewards), scale)
        assert [got[0], got[-1]] == pytest.approx(want[key], abs=tol)


def test_near_tie_depends_on_eps(oracle, batch):
    given_, want, tol = oracle("GRPO-near-tie")
    for key, eps in {"eps_1e6": 1e-6, "eps_1e4": 1e-4}.items():
        assert adv.group_advantage(batch(given_["rewards"]), eps=eps) == pytest.approx(want[key], abs=tol)


def test_group_of_one_is_zero_with_a_warning(oracle, batch):
    given_, want, tol = oracle("GRPO-size1")
    for estimator in (adv.group_advantage, adv.leave_one_out, adv.best_only_advantage):
        with pytest.warns(UserWarning, match="group_size >= 2"):
            assert estimator(batch(given_["rewards"])) == pytest.approx(want["required"], abs=tol)


def test_rloo_1(oracle, batch):
    given_, want, tol = oracle("RLOO-1")
    b = batch(given_["rewards"])
    assert adv.leave_one_out(b) == pytest.approx(want["rloo"], abs=tol)
    assert adv.group_advantage(b, "none") == pytest.approx(want["dr_grpo"], abs=tol)


def test_psr_adv(oracle, batch):
    given_, want, tol = oracle("PSR-adv")
    b = batch(given_["rewards"])
    weights = {"psr": (1, 0), "nsr": (0, 1), "w_reinforce": (given_["lam"], 1), "pm1": (1, 1)}
    for key, (positive, negative) in weights.items():
        assert adv.signed_rewards(b, positive, negative) == pytest.approx(want[key], abs=tol)


def test_signed_rewards_refuse_grades(batch):
    with pytest.raises(ValueError, match=r"rewards 0 and 1, found 0\.5"):
        adv.signed_rewards(batch([0.5, 1]))


def test_task_std(oracle, batch):
    given_, want, tol = oracle("TASKSTD-1")
    rewards, groups, types = [], [], []
    for name, parts in given_["groups"].items():
        for part in parts:
            groups += [len(set(groups))] * len(part)
            rewards += part
            types += [name] * len(part)
    b = batch(rewards, groups, task_types=tuple(types))
    task, whole, group = (adv.group_advantage(b, scale, eps=0.0) for scale in ("task", "batch", "group"))
    assert np.std(rewards[:8], ddof=1) == pytest.approx(want["std_mc"], abs=tol)
    assert np.std(rewards[8:], ddof=1) == pytest.approx(want["std_niah"], abs=tol)
    assert np.std(rewards[8:12], ddof=1) == pytest.approx(want["group_std_niah0"], abs=tol)
    assert np.std(rewards, ddof=1) == pytest.approx(want["batch_std"], abs=tol)
    assert group[8:12] == pytest.approx(want["niah0_group_norm"], abs=tol)
    assert task[8:12] == pytest.approx(want["niah0_task_norm"], abs=tol)
    assert whole[8:12] == pytest.approx(want["niah0_batch_norm"], abs=tol)
    assert task[:8] == pytest.approx(np.ravel(want["mc_task_norm"]), abs=tol)
    assert whole[:8] == pytest.approx(np.ravel(want["mc_batch_norm"]), abs=tol)


def test_task_of_equal_rewards_is_zero_and_leaves_others_alone(batch):
    b = batch([1, 1, 0, 1], [0, 0, 1, 1], task_types=("easy", "easy", "hard", "hard"))
    got = adv.group_advantage(b, "task", eps=0.0)
    assert got[:2] == pytest.approx([0, 0]) and got[2] < 0 < got[3]


def test_pass_at_k(oracle, batch):
    given_, want, tol = oracle("PASSK-adv")
    n, k = given_["n"], given_["k"]
    for c in range(n + 1):
        got = adv.pass_at_k_advantage(batch([1] * c + [0] * (n - c)), k)
        row = want[str(c)]
        rho = 1 - math.comb(n - c, k) / math.comb(n, k)
        assert rho == pytest.approx(row["rho"], abs=tol)
        if c and row["A_correct"] is not None:
            assert got[0] == pytest.approx(row["A_correct"], abs=tol)
        if c < n:
            assert got[-1] == pytest.approx(row["A_wrong"], abs=tol)
        assert got.sum() == pytest.approx(0, abs=1e-9)


def test_pass_at_k_is_the_mean_over_subsets_divided_by_sigma(batch):
    n, c, k = 6, 2, 3
    from itertools import combinations

    rewards = np.array([1] * c + [0] * (n - c))
    subsets = list(combinations(range(n), k))
    best = np.array([rewards[list(s)].max() for s in subsets])
    rho = best.mean()
    credit = np.array([np.mean([b for s, b in zip(subsets, best, strict=True) if i in s]) for i in range(n)]) - rho
    sigma = math.sqrt(rho * (1 - rho))
    assert adv.pass_at_k_advantage(batch(rewards), k) == pytest.approx(credit / (sigma + 1e-6), abs=1e-9)


def test_pass_at_k_refuses_k_above_n_and_grades(batch):
    with pytest.raises(ValueError, match="k is 4 but a group has 3"):
        adv.pass_at_k_advantage(batch([1, 0, 0]), 4)
    with pytest.raises(ValueError, match="rewards 0 and 1"):
        adv.pass_at_k_advantage(batch([0.5, 0, 1]), 2)
    assert adv.pass_at_k_advantage(batch([1, 0, None]), 3) == pytest.approx([0, 0, 0])


def test_best_only(batch):
    assert adv.best_only_advantage(batch([0.2, 0.9, 0.5])) == pytest.approx([0, 0.4, 0])
    assert adv.best_only_advantage(batch([1, 1, 0])) == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("name", ["P1-both", "P1-gp", "P1-gn", "P2-all-correct", "P2-all-wrong", "P3"])
def test_differential_smoothing(oracle, batch, name):
    given_, want, tol = oracle(name)
    b = batch(given_["rewards"], logp_sums_B=given_["logp_sum"], lengths_B=given_.get("lengths", [1] * 4))
    reduce = given_.get("logp_reduce", "sum")
    got = adv.differential_smoothing(b, given_["gamma_p"], given_["gamma_n"], reduce)
    assert got == pytest.approx(want["A"], abs=tol)
    if "sum" in want:
        assert got.sum() == pytest.approx(want["sum"], abs=tol)
    if "logp_mean" in want:
        assert b.logp_sums_B / b.lengths_B == pytest.approx(want["logp_mean"], abs=tol)


def test_differential_smoothing_has_the_right_sign(oracle, batch):
    given_, want, tol = oracle("P1-opposite")
    b = batch(given_["rewards"], logp_sums_B=given_["logp_sum"])
    assert adv.differential_smoothing(b, 0.01, -0.01) == pytest.approx(want["A"], abs=tol)
    assert adv.differential_smoothing(b, 0.01, 0.01) != pytest.approx(want["A"], abs=0.1)


def test_smoothing_options(batch):
    b = batch([1, 1], logp_sums_B=[-10.0, -100.0])
    assert adv.differential_smoothing(b, 0.1, 0.1, clip=2.0) == pytest.approx([1.0, 2.0])
    assert adv.differential_smoothing(b, 0.1, 0.1, skip_zero_variance=True) == pytest.approx([0, 0])
    with pytest.raises(ValueError, match="logp_sums_B"):
        adv.differential_smoothing(batch([1, 0]), 0.1, 0.1)


def test_differential_smoothing_on_an_exact_bandit(oracle):
    given_, want, tol = oracle("P-bandit")
    correct = np.isin(np.arange(4), given_["correct"])
    for key, (gp, gn) in given_["gammas"].items():
        z = np.log(given_["p0"])
        for step in range(1, 4001):
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            shaped = correct + np.where(correct, -gp, gn) * np.log(p)
            z = z + given_["lr"] * p * (shaped - p @ shaped)
            if step in (200, 4000):
                p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
                assert p[correct].sum() == pytest.approx(want[key][f"correct_{step}"], abs=tol)
        assert p[1] == pytest.approx(want[key]["rare_arm_4000"], abs=tol)


@pytest.mark.parametrize("name", ["U1-a0", "U1-a05", "U1-a1", "U1-correct", "U1-correct-count", "U2", "U3"])
def test_uniqueness(oracle, batch, name):
    given_, want, tol = oracle(name)
    labels = [sorted(set(given_["clusters"])).index(c) for c in given_["clusters"]]
    b = batch(given_["rewards"], clusters_B=labels)
    plain = adv.group_advantage(b)
    options = {k: given_[k] for k in ("apply_to", "count_over") if k in given_}
    weights = adv.cluster_weights(b, given_["alpha"], **options)
    assert plain == pytest.approx(want["A"], abs=tol)
    assert weights == pytest.approx(want["w"], abs=tol)
    assert weights * plain == pytest.approx(want["A_weighted"], abs=tol)
    assert (weights * plain).sum() == pytest.approx(want["sum"], abs=tol)


def test_a_failed_partition_weighs_the_whole_group_one(batch):
    b = batch([1, 0, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1], clusters_B=[0, 0, -1, 0, 0, 1])
    assert adv.cluster_weights(b, 1.0) == pytest.approx([1, 1, 1, 0.5, 0.5, 1])


def test_empty_responses_and_unscored_ones_are_not_counted_in_clusters(batch):
    b = batch([1, 1, 0, None], clusters_B=[0, 0, 0, 0], lengths_B=[3, 3, 0, 3])
    assert adv.cluster_weights(b, 1.0) == pytest.approx([0.5, 0.5, 1, 1])


def test_reinforce_pp_whitens_over_tokens(batch):
    b = batch([1, 0, 0], [0, 1, 2], lengths_B=[1, 2, 3])
    got = adv.whitened_returns(b)
    tokens = np.repeat(got, [1, 2, 3])
    assert tokens.mean() == pytest.approx(0, abs=1e-9)
    assert tokens.std(ddof=1) == pytest.approx(1, abs=1e-6)


def test_reinforce_pp_discounts_from_the_last_token(batch):
    b = batch([1, 0], lengths_B=[3, 2])
    got = adv.whitened_returns(b, gamma=0.5)
    returns = np.array([0.25, 0.5, 1.0, 0.0, 0.0])
    white = (returns - returns.mean()) / (returns.std(ddof=1) + 1e-8)
    assert got[0] == pytest.approx(white[:3]) and got[1] == pytest.approx([*white[3:], 0.0])


def test_reinforce_baselines(batch):
    assert adv.plain_returns(batch([1, 0, None])) == pytest.approx([1, 0, 0])
    assert adv.plain_returns(batch([1, 0, None]), "batch") == pytest.approx([0.5, -0.5, 0])


ESTIMATORS = {
    "group": adv.group_advantage,
    "none": lambda b: adv.group_advantage(b, "none"),
    "batch": lambda b: adv.group_advantage(b, "batch"),
    "rloo": adv.leave_one_out,
    "best": adv.best_only_advantage,
    "whitened": adv.whitened_returns,
    "whitened_group": lambda b: adv.whitened_returns(b, group_baseline=True),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_unscored_rollouts_are_left_out(name, batch):
    estimator = ESTIMATORS[name]
    with_gap = estimator(batch([1, None, 0, 0.5], [0, 0, 0, 0]))
    without = estimator(batch([1, 0, 0.5], [0, 0, 0]))
    assert with_gap[[0, 2, 3]] == pytest.approx(without) and with_gap[1] == 0


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("rewards", [[], [None], [0.3], [None, None], [2, 2, 2], [0.1 + 0.2, 0.3, 0.3]])
def test_degenerate_groups_give_zero_and_never_nan(name, rewards, batch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ESTIMATORS[name](batch(rewards)) == pytest.approx(np.zeros(len(rewards)), abs=1e-9)


@given(REWARDS, st.floats(0.1, 10), st.floats(-10, 10))
def test_grpo_ignores_scale_and_shift(rewards, a, b):
    if np.ptp(rewards) < 1e-3:
        return
    plain = adv.group_advantage(one_group(rewards), eps=0.0)
    moved = adv.group_advantage(one_group([a * r + b for r in rewards]), eps=0.0)
    assert moved == pytest.approx(plain, abs=1e-6)


@given(REWARDS, st.randoms())
def test_permuting_a_group_permutes_its_advantages(rewards, random):
    order = list(range(len(rewards)))
    random.shuffle(order)
    for estimator in (adv.group_advantage, adv.leave_one_out):
        plain = estimator(one_group(rewards))
        assert estimator(one_group([rewards[i] for i in order])) == pytest.approx(plain[order], abs=1e-9)


@given(REWARDS)
def test_group_advantages_sum_to_zero_and_rloo_is_a_multiple(rewards):
    centred = adv.group_advantage(one_group(rewards), "none")
    assert centred.sum() == pytest.approx(0, abs=1e-9)
    n = len(rewards)
    assert adv.leave_one_out(one_group(rewards)) == pytest.approx(centred * n / (n - 1), abs=1e-9)
