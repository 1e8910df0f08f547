"""Every worked number of the metrics, their limits and their degenerate cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.trainer import metrics
from palaestra.trainer.metrics.estimators import response_mean_entropy, token_mean_entropy
from palaestra.trainer.metrics.passk import maj_at_k_law, plug_in_pass_at_k, vote
from palaestra.trainer.metrics.preference import win_rate_error


def test_pass_at_k(oracle):
    given_, want, tol = oracle("M-passk")
    n, c = given_["n"], given_["c"]
    for k, value in want["unbiased"].items():
        assert metrics.pass_at_k(n, c, int(k)) == pytest.approx(value, abs=tol)
    for k, value in want["plug_in"].items():
        assert plug_in_pass_at_k(n, c, int(k)) == pytest.approx(value, abs=tol)


def test_pass_hat_k(oracle):
    given_, want, tol = oracle("M-pass-hat-k")
    assert metrics.pass_hat_k(**given_) == pytest.approx(want, abs=tol)


def test_area_under_pass_at_k(oracle):
    given_, want, tol = oracle("U4")
    curve = [metrics.pass_at_k(given_["n"], given_["c"], k) for k in range(1, given_["n"] + 1)]
    assert [curve[int(k) - 1] for k in want["pass_at_k"]] == pytest.approx(list(want["pass_at_k"].values()), abs=tol)
    area = metrics.auc_at_k(curve)
    assert area["mean"] == pytest.approx(want["mean_1_to_8"], abs=tol)
    assert area["trapezoid"] == pytest.approx(want["trapezoid_over_Kminus1"], abs=tol)


@given(st.integers(1, 30), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_success(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exact = 1 - math.comb(n - c, k) / math.comb(n, k)
    assert metrics.pass_at_k(n, c, k) == pytest.approx(exact, abs=1e-12)
    assert plug_in_pass_at_k(n, c, k) <= metrics.pass_at_k(n, c, k) + 1e-12
    assert metrics.pass_hat_k(n, c, k) <= c / n + 1e-12 <= metrics.pass_at_k(n, c, k) + 2e-12


@pytest.mark.parametrize(("n", "c", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1)])
def test_impossible_counts_raise(n, c, k):
    with pytest.raises(ValueError):
        metrics.pass_at_k(n, c, k)


def test_majority_vote(oracle):
    given_, want, tol = oracle("M-majk")
    for p in given_["p"]:
        got = [maj_at_k_law([p, 1 - p], k) for k in given_["k"]]
        assert got == pytest.approx(want[f"p{p}"], abs=tol)
    assert maj_at_k_law(given_["three"], 5) == pytest.approx(want["three_k5"], abs=tol)


def test_sampled_majority_agrees_with_its_law_and_shares_ties():
    rng = np.random.default_rng(0)
    answers = rng.choice(["a", "b", "c"], 300, p=[0.4, 0.35, 0.25]).tolist()
    share = [answers.count(x) / 300 for x in "abc"]
    assert metrics.maj_at_k(answers, {"a"}, 5) == pytest.approx(maj_at_k_law(share, 5), abs=0.04)
    assert vote(["a", "b"], {"b"}) == 0.5 and vote([None, None], {"a"}) == 0.0 and vote([None, "a"], {"a"}) == 1.0
    assert vote(["a", "b", "c"], {"b", "c"}) == pytest.approx(2 / 3)
    assert metrics.maj_at_k(["a", "a", "b"], {"a"}, 3) == 1.0


def test_distinct_n(oracle):
    given_, want, tol = oracle("M-distinct")
    assert metrics.distinct_n(given_["texts"], 1) == pytest.approx(want["distinct_1"], abs=tol)
    assert metrics.distinct_n(given_["texts"], 2) == pytest.approx(want["distinct_2"], abs=tol)
    assert metrics.distinct_n(["", "a"], 1) == 1.0 and math.isnan(metrics.distinct_n(["", ""], 1))


def test_vendi(oracle):
    _, want, tol = oracle("M-vendi")
    pairs = np.kron(np.eye(2), np.ones((2, 2)))
    for matrix, value in zip((np.ones((4, 4)), np.eye(4), pairs), want, strict=True):
        assert metrics.vendi(matrix)[0] == pytest.approx(value, abs=tol)
    score, clipped = metrics.vendi(np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]]))
    assert clipped > 0 and 1 <= score <= 3


def test_hive_pairs(oracle):
    given_, want, tol = oracle("HIVE-1")
    vectors = np.array(given_["vectors"])
    similarity = metrics.cosines(vectors)
    assert similarity[np.triu_indices(4, 1)] == pytest.approx(want["cosines"], abs=tol)
    stats = metrics.intra_homogeneity(vectors, 0.8)
    assert [stats["mean"], stats["above"]] == pytest.approx([want["mean"], want["frac_gt_0p8"]], abs=tol)
    assert metrics.vendi(similarity)[0] == pytest.approx(want["vendi"], abs=tol)
    assert math.isnan(metrics.intra_homogeneity(vectors[:1])["mean"])


def test_clusters(oracle):
    given_, want, tol = oracle("M-clusters")
    similarity = metrics.cosines(np.array(given_["vectors"]))
    for threshold in given_["thresholds"]:
        counts = [len(set(f(similarity, threshold).tolist())) for f in (metrics.components, metrics.leaders)]
        assert counts == want["components_leader"][str(threshold)]
    labels = np.repeat([0, 1, 2], given_["sizes"])
    numbers = metrics.effective_number(labels)
    assert numbers["entropy"] == pytest.approx(want["entropy_nats"], abs=tol)
    assert numbers["exp_entropy"] == pytest.approx(want["exp_entropy"], abs=tol)
    assert numbers["inverse_simpson"] == pytest.approx(want["inverse_simpson"], abs=tol)
    assert metrics.effective_number([])["clusters"] == 0


def test_hivemind_shows_the_floor_and_the_models_apart():
    rng = np.random.default_rng(0)
    centre = {q: rng.normal(size=16) for q in "abcdef"}
    same = {q: centre[q] + 0.05 * rng.normal(size=(5, 16)) for q in centre}
    other = {q: rng.normal(size=(5, 16)) for q in centre}
    table = metrics.hivemind({"narrow": same, "twin": same, "wide": other})
    assert table["narrow"]["mean"] > 0.9 > 0.4 > table["wide"]["mean"]
    assert table["narrow"]["pools_above"] == 1 and abs(table["narrow"]["floor"]) < 0.4
    assert table["narrow|twin"]["mean"] > 0.9 > table["narrow|wide"]["mean"]


def test_offline_embeddings_are_deterministic_and_know_likeness():
    texts = ["the cat sat on the mat", "the cat sat on a mat", "integrals of rational functions", ""]
    vectors = metrics.hashed_tfidf(texts)
    assert (vectors == metrics.hashed_tfidf(texts)).all() and not vectors[3].any()
    similarity = metrics.cosines(vectors)
    assert similarity[0, 1] > 0.5 > 0.2 > similarity[0, 2]


def test_ess(oracle):
    given_, want, tol = oracle("M-ess")
    w, (low, high) = np.array(given_["weights"]), given_["mask"]
    assert metrics.ess(w) == pytest.approx(want["raw"], abs=tol)
    assert metrics.ess(np.minimum(w, given_["cap"])) == pytest.approx(want["capped"], abs=tol)
    assert metrics.ess(np.where((w >= low) & (w <= high), w, 0)) == pytest.approx(want["masked"], abs=tol)
    assert metrics.ess(np.zeros(3)) == want["all_zero"] and metrics.ess(np.array([])) == 0
    given_, want, tol = oracle("ESS-1")
    assert [metrics.ess(np.array(w)) for w in given_["weights"]] == pytest.approx(want, abs=tol)


def test_ess_of_log_normal_weights_and_its_sums_over_ranks(oracle):
    given_, want, _ = oracle("ESS-lognormal")
    rng = np.random.default_rng(0)
    for sd, theory in zip(given_["log_std"], want, strict=True):
        assert np.exp(-(sd**2)) == pytest.approx(theory, abs=1e-6)
        logs = sd * rng.normal(size=200_000)
        assert metrics.ess(np.exp(logs)) == pytest.approx(theory, abs=1e-2)
        halves = [metrics.ess_parts(logs[:50_000]), metrics.ess_parts(logs[50_000:])]
        joined = {key: halves[0][key] + halves[1][key] for key in halves[0]}
        assert metrics.ess_from_parts(joined) == pytest.approx(metrics.ess(np.exp(logs)), rel=1e-9)


def test_entropies(oracle):
    given_, want, tol = oracle("M-entropy")
    got = metrics.entropies(np.array(given_["p"]))
    assert got == pytest.approx(want, abs=tol)
    assert metrics.entropies(np.array([1.0, 0.0]))["nats"] == 0


def test_two_aggregations_of_entropy_differ():
    h, mask = np.array([[1.0, 1.0, 1.0], [4.0, 0, 0]]), np.array([[1, 1, 1], [1, 0, 0]])
    assert token_mean_entropy(h, mask) == 7 / 4 and response_mean_entropy(h, mask) == 2.5
    assert math.isnan(token_mean_entropy(h, mask * 0)) and math.isnan(response_mean_entropy(h, mask * 0))


@pytest.mark.parametrize("name", ["M-kl", "M-kl-far"])
def test_kl_estimates_from_samples(oracle, name):
    given_, want, _ = oracle(name)
    p, q = np.array(given_["pi"]), np.array(given_["ref"])
    sample = np.random.default_rng(0).choice(len(p), 400_000, p=p)
    got = metrics.kl_estimates(np.log(p)[sample], np.log(q)[sample])
    for k in ("k1", "k2", "k3"):
        assert got[k] == pytest.approx(want[k]["mean"], abs=0.02)
        assert got[f"{k}_std"] == pytest.approx(want[k]["std"], rel=0.03)


def test_win_rate(oracle):
    given_, want, tol = oracle("WINRATE-se")
    first, second = given_["n"]
    assert win_rate_error(given_["w"], first) == pytest.approx(want["se_805"], abs=tol)
    assert 1.96 * win_rate_error(given_["w"], first) == pytest.approx(want["half95_805"], abs=tol)
    assert 1.96 * win_rate_error(given_["w"], second) == pytest.approx(want["half95_250"], abs=tol)
    table = metrics.win_rate([1, 0.5, None, 0], [10, 20, 30, 40])
    assert (table["win_rate"], table["n"], table["unscored"], table["mean_length"]) == (0.5, 3, 1, 25)
    assert math.isnan(metrics.win_rate([None])["win_rate"])
    with pytest.raises(ValueError, match="found 2"):
        metrics.win_rate([2])


def test_razor(oracle):
    from palaestra.trainer.metrics.forgetting import kl

    given_, want, tol = oracle("RAZOR-1")
    base, correct, eps = np.array(given_["pi0"]), np.isin(np.arange(4), given_["correct"]), given_["mix_eps"]
    star = metrics.i_projection(base, correct)
    assert star == pytest.approx(want["i_projection"], abs=tol)
    assert kl(star, base) == pytest.approx(want["neg_log_pi0_correct"], abs=tol)
    assert -np.log(base[correct].sum()) == pytest.approx(want["neg_log_pi0_correct"], abs=tol)
    rare = np.eye(4)[3]
    for key, target in {"i_projection": star, "uniform_correct": correct / 2, "rare_label": rare}.items():
        tuned = (1 - eps) * target + eps * base
        assert tuned[correct].sum() == pytest.approx(want["accuracy"], abs=tol)
        assert kl(base, tuned) == pytest.approx(want[f"fkl_{key}"], abs=tol)
    z = np.log(base)
    for _ in range(given_["pg"]["steps"]):
        p = np.exp(z) / np.exp(z).sum()
        z = z + given_["pg"]["lr"] * p * (correct - p @ correct)
    p = np.exp(z) / np.exp(z).sum()
    assert p == pytest.approx(want["pg_policy"], abs=tol) and p[correct].sum() == pytest.approx(want["pg_accuracy"])
    assert kl(base, p) == pytest.approx(want["fkl_softmax_pg"], abs=tol)


def test_rejection_sampling_reaches_the_projection_in_one_step_and_rare_labels_forget_more():
    """Two tasks share one softmax table: pushing the first task's logits moves the second task's policy."""
    base = np.array([0.5, 0.3, 0.15, 0.05])
    correct = np.array([False, True, False, True])
    rng = np.random.default_rng(0)
    drawn = rng.choice(4, 200_000, p=base)
    kept = np.bincount(drawn[correct[drawn]], minlength=4)
    assert kept / kept.sum() == pytest.approx(metrics.i_projection(base, correct), abs=5e-3)
    prior_right = np.array([False, True, False, False])

    def fit(target):
        z = np.log(base)
        for _ in range(100_000):
            p = np.exp(z) / np.exp(z).sum()
            if p[correct].sum() >= 0.98:
                break
            z = z + 0.2 * (target - p)
        prior = np.exp(z * 0.8) / np.exp(z * 0.8).sum()
        start = np.exp(np.log(base) * 0.8) / np.exp(np.log(base) * 0.8).sum()
        from palaestra.trainer.metrics.forgetting import kl

        return kl(base, p), start[prior_right].sum() - prior[prior_right].sum()

    em, rare = fit(metrics.i_projection(base, correct)), fit(np.eye(4)[3])
    assert rare[0] > em[0] and rare[1] > em[1]


def test_gain_and_drop_signs():
    base, tuned = {"new": 0.2, "a": 0.8, "b": 0.5, "c": 0.0}, {"new": 0.7, "a": 0.6, "b": 0.6, "c": 0.1}
    got = metrics.forgetting(base, tuned, "new")
    assert got.gain == pytest.approx(0.5) and got.drop == pytest.approx((0.2 - 0.1 - 0.1) / 3)
    assert got.drops["a"] == pytest.approx(0.2) and got.cannot_drop == ("c",)
    with pytest.raises(ValueError, match="missing: b"):
        metrics.forgetting({"new": 1, "b": 1}, {"new": 1}, "new")
    assert metrics.drop_at_gain([(0.0, 0.0), (0.4, 0.2)], 0.2) == pytest.approx(0.1)
    assert metrics.drop_at_gain([(0.0, 0.0), (0.4, 0.2)], 0.5) is None


def test_sampled_forward_kl_is_clipped():
    got = metrics.sampled_forward_kl(
        [np.array([-1.0, -1.0]), np.array([-1.0])], [np.array([-2.0, -np.inf]), np.array([-1.0])]
    )
    assert got["per_sequence"] == pytest.approx(21 / 2) and got["per_token"] == pytest.approx(7)
    assert metrics.top1_flip_rate([1, 2], [1, 3]) == 0.5 and math.isnan(metrics.top1_flip_rate([], []))


def synthetic_texts(gap, n=120, seed=0):
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(60)]
    logits = rng.normal(size=60) + gap * rng.normal(size=(3, 60))
    texts, models, prompts = [], [], []
    for i in range(n):
        for m in range(3):
            p = np.exp(logits[m]) / np.exp(logits[m]).sum()
            texts.append(" ".join(rng.choice(words, 40, p=p)))
            models.append(f"model{m}")
            prompts.append(f"q{i}")
    return texts, models, prompts


def test_identity_grows_with_the_difference_between_models():
    reports = {gap: metrics.identity_report(*synthetic_texts(gap), test_share=0.4) for gap in (0.0, 0.3, 1.0)}
    assert abs(reports[0.0]["accuracy"] - 1 / 3) < 0.12 and abs(reports[1.0]["shuffled"] - 1 / 3) < 0.12
    assert reports[0.3]["accuracy"] > 0.55 and reports[1.0]["accuracy"] > 0.97
    assert metrics.identity_report(*synthetic_texts(1.0, 60), transform="markdown_only")["accuracy"] < 0.55
    with pytest.raises(ValueError, match="two models"):
        metrics.identity_report(["a"], ["m"], ["q"])
    with pytest.raises(ValueError, match="two prompts"):
        metrics.identity_report(["a", "b"], ["m", "n"], ["q", "q"])


def test_epiplexity_of_coins(oracle):
    given_, want, tol = oracle("EPI-kt")
    for n in given_["n"]:
        for share, name in zip(given_["ones_fraction"], ("fair", "biased_0.1"), strict=True):
            ones = int(n * share)
            got = metrics.kt_epiplexity([1] * ones + [0] * (n - ones))
            row = want[f"{name}_n{n}"]
            assert got["structure"] == pytest.approx(row["S"], abs=tol)
            assert got["residual"] == pytest.approx(row["H_per_bit"], abs=tol)
        assert 0.5 * math.log2(n) == pytest.approx(want[f"half_log2_n{n}"], abs=tol)


def test_epiplexity_depends_on_the_learner(oracle):
    given_, want, tol = oracle("EPI-alternating")
    bits = [0, 1] * (given_["n"] // 2)
    for order in (0, 1):
        got = metrics.kt_epiplexity(bits, order, given_["order1_initial_context"])
        row = want[f"order{order}"]
        assert [got["structure"], got["residual"]] == pytest.approx([row["S"], row["H"]], abs=tol)
    with pytest.raises(ValueError, match="one first and one final"):
        metrics.prequential([1.0], [])
    assert metrics.requential([0.5, 0.25]) == 0.75


def test_bootstrap_covers_and_leaves_nan_out():
    rng = np.random.default_rng(0)
    hits = sum(
        interval.low <= 0 <= interval.high
        for interval in (metrics.bootstrap(rng.normal(size=40), draws=300, seed=i) for i in range(100))
    )
    assert 85 <= hits <= 100
    assert metrics.bootstrap([1.0, float("nan"), 3.0]).value == 2 and math.isnan(metrics.bootstrap([]).value)
    gap = metrics.paired_difference([0, 0, 1.0], [1, 1, 1.0])
    assert gap.value == pytest.approx(2 / 3)
    both = metrics.over_seeds([[1, 0, 1], [1, 1, 0]])
    assert both.value == pytest.approx(2 / 3) and both.low <= both.value <= both.high


def test_discovery():
    assert metrics.discovery_at_k([1, 5, None], 4) == pytest.approx(1 / 3)
