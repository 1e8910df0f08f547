"""Simulated annotators: flips, order, debiasing, and ranking with them."""

import asyncio
import json
import math
from pathlib import Path

import numpy as np
import pytest

from palaestra.judges.annotators import (
    Annotator,
    AnnotatorPool,
    agreement,
    default_pool,
    observed_preference,
    true_preference,
)
from palaestra.judges.ranking import RankGroup, RankOptions, rank_group


def share_first(pool, first, second, n=3000):
    return np.mean([pool.compare(first, second, repeat).winner == "first" for repeat in range(n)])


def test_worked_example():
    cases = json.loads((Path(__file__).parents[1] / "data" / "oracles.json").read_text())
    case = next(o for o in cases if o["id"] == "ANNOT-flip")
    p = case["inputs"]["p_flip"]
    expected = case["expected"]
    assert [observed_preference(w, p) for w in case["inputs"]["w"]] == pytest.approx(expected["observed"])
    assert agreement(0.8, 0.8) == pytest.approx(expected["agreement_80_80"])
    assert agreement(0.8, observed_preference(0.8, p)) == pytest.approx(expected["agreement_one_flipped"])
    for w in (0.1, 0.5, 0.9):
        assert true_preference(observed_preference(w, p), p) == pytest.approx(w)


def test_flips_happen_as_often_as_said_and_can_be_undone():
    sure = [Annotator("a", sharpness=math.inf, p_flip=0.25)]
    pool = AnnotatorPool({"good": 1.0, "bad": 0.0}, members=sure)
    share = share_first(pool, "good", "bad")
    assert share == pytest.approx(0.75, abs=4 * math.sqrt(0.75 * 0.25 / 3000))
    assert true_preference(share, 0.25) == pytest.approx(1.0, abs=0.07)


def test_order_matters_only_to_members_with_a_bias():
    utility = {"x": 0.6, "y": 0.0}
    fair = AnnotatorPool(utility, members=[Annotator("a", p_flip=0)])
    assert share_first(fair, "x", "y") == pytest.approx(1 - share_first(fair, "y", "x"), abs=0.04)
    biased = AnnotatorPool(utility, members=[Annotator("a", p_flip=0, first_bonus=2.0)])
    assert share_first(biased, "x", "y") + share_first(biased, "y", "x") > 1.4


def test_a_taste_for_length():
    members = [Annotator("a", p_flip=0, length_taste=1.0)]
    pool = AnnotatorPool({"long": 0.0, "short": 0.0}, {"long": 1000, "short": 10}, members)
    assert share_first(pool, "long", "short", 500) > 0.9


def test_the_pool_is_deterministic_and_divided():
    utility = {f"r{k}": k / 4 for k in range(20)}
    pool, twin = AnnotatorPool(utility, seed=1), AnnotatorPool(utility, seed=1)
    pairs = [(a, b) for a in utility for b in utility if a < b]
    assert [pool.compare(*p) for p in pairs] == [twin.compare(*p) for p in pairs]
    assert pool.member_for("r1", "r2") is pool.member_for("r2", "r1")
    assert len({pool.member_for(*p).name for p in pairs}) == 13
    assert [pool.compare(*p) for p in pairs] != [AnnotatorPool(utility, seed=2).compare(*p) for p in pairs]


def test_ranking_by_annotators():
    utility = {f"r{k}": k / 2 for k in range(8)}
    pool = AnnotatorPool(utility, members=default_pool(p_flip=0.1))
    result = asyncio.run(rank_group(RankGroup("g", list(utility)), pool.ask, RankOptions(reward="quantile")))
    assert result.stats.estimator == "bt"
    assert np.corrcoef(result.rewards, list(utility.values()))[0, 1] > 0.7


def test_flipping_half_of_the_labels_is_refused():
    for call in (
        lambda: Annotator("a", p_flip=0.5),
        lambda: observed_preference(0.5, 0.7),
        lambda: true_preference(0.5, -1),
    ):
        with pytest.raises(ValueError, match="p_flip"):
            call()
    with pytest.raises(ValueError, match="members is empty"):
        AnnotatorPool({}, members=[])
