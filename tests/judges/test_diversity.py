"""Diversity measures against hand-computed values, and the edge cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.judges.diversity import METRICS, distinct_at_k, diversity


def one(name, texts, **inputs):
    return diversity(texts, metrics=[name], **inputs).metrics[name]


def test_cluster_measures():
    texts, labels = list("abcd"), [0, 0, 1, 2]
    assert one("n_distinct", texts, labels=labels) == 3
    assert one("cluster_sizes", texts, labels=labels) == [2, 1, 1]
    assert one("shannon", texts, labels=labels) == pytest.approx(1.5 * math.log(2))
    assert one("simpson", texts, labels=labels) == pytest.approx(1 - 2 / 12)
    assert one("darling", texts, labels=labels) == pytest.approx([2 / 3, 2 / 3, 1, 1])
    assert one("uniqueness", texts, labels=labels, alpha=1.0) == [0.5, 0.5, 1.0, 1.0]
    assert one("darling", texts, labels=[0] * 4) == [0.0] * 4  # a measure has no floor


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9))
def test_distinct_at_k_counts_subsets(labels):
    from itertools import combinations

    sizes = np.array([labels.count(c) for c in set(labels)])
    for k, value in distinct_at_k(sizes).items():
        subsets = [len({labels[i] for i in chosen}) for chosen in combinations(range(len(labels)), k)]
        assert value == pytest.approx(np.mean(subsets), abs=1e-4)


def test_pair_measures():
    p = np.array([[1, 0.8, np.nan], [0.8, 1, 0.0], [np.nan, 0.0, 1]])
    assert one("mean_pairwise", list("abc"), p_same=p) == pytest.approx(0.6)
    assert one("vendi", list("abc"), p_same=np.ones((3, 3))) == pytest.approx(1)
    assert one("vendi", list("abc"), p_same=np.eye(3)) == pytest.approx(3)
    assert one("mean_pairwise", list("ab"), p_same=np.full((2, 2), np.nan)) is None


def test_surface_measures():
    same, different = ["the cat sat on the mat"] * 3, ["one two three four five", "six seven eight nine ten"]
    assert one("self_bleu", same) == pytest.approx(1)
    assert one("self_bleu", different) < 0.1
    assert one("distinct_1", same) == pytest.approx(5 / 18)
    assert one("distinct_2", different) == 1.0


def test_one_text_is_degenerate_and_nothing_is_divided():
    report = diversity(["alone"], labels=[0], p_same=np.ones((1, 1)))
    assert report.status == "degenerate"
    assert report.metrics["darling"] == [0.0] and report.metrics["simpson"] == 0.0
    assert diversity([]).status == "degenerate"


@pytest.mark.parametrize("texts", [["", ""], ["\ud800", "\x00"], ["a" * 100_000, ""], ["!", "?"]])
def test_odd_texts_give_finite_numbers(texts):
    metrics = diversity(texts, labels=[0, None], p_same=np.full((2, 2), np.nan)).metrics
    assert set(metrics) == set(METRICS)
    assert all(math.isfinite(v) for v in metrics.values() if isinstance(v, float))


def test_missing_input_is_none_and_bad_input_is_named():
    assert diversity(["a", "b"]).metrics["n_distinct"] is None
    with pytest.raises(ValueError, match="'novelty'"):
        diversity(["a", "b"], metrics=["novelty"])
    with pytest.raises(ValueError, match="1 labels for 2 texts"):
        diversity(["a", "b"], labels=[0])
    with pytest.raises(ValueError, match="shape"):
        diversity(["a", "b"], p_same=np.ones((3, 3)))
