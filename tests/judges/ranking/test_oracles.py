"""Worked examples of the tournaments and their rewards."""

import numpy as np
import pytest

from palaestra.judges.ranking import (
    Outcome,
    RankGroup,
    bracket_order,
    plan,
    quantiles,
    rank_groups_sync,
    swiss_rewards,
    z_scores,
)
from palaestra.judges.ranking.elimination import double_elimination, single_elimination
from palaestra.judges.ranking.swiss import swiss
from palaestra.judges.ranking.topologies import anchor, round_robin
from palaestra.judges.ranking.types import RankOptions


def play(tournament, totals_of):
    """Rounds and keys of a tournament whose matches are scored by ``totals_of(pair, stage)``."""
    rounds, results = [], None
    try:
        while True:
            matches = tournament.send(results)
            results = [totals_of(pair, len(rounds)) for pair in matches]
            rounds.append([list(pair) for pair in matches])
    except StopIteration as stop:
        return rounds, stop.value


def rewards_of(keys):
    place = {key: i for i, key in enumerate(sorted(set(keys)))}
    return quantiles([float(place[key]) for key in keys])


def seeded(seeding, strength, compat=None):
    def totals(pair, stage):
        value = seeding if stage == 0 else strength
        return value[pair[0]], value[pair[1]]

    n = len(strength)
    return play(single_elimination(n, np.random.default_rng(0), 0, compat), totals)


@pytest.mark.parametrize("size", ["2", "4", "5", "8", "16"])
def test_strict_order_gives_the_published_advantages(oracle, size):
    expected = oracle("A1-strict")["expected"][size]
    n = int(size)
    assert z_scores(quantiles(np.arange(n)[::-1])) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["A1-rr-1", "A1-rr-2", "A1-rr-3"])
def test_competition_ranks_of_round_robin(oracle, name):
    case = oracle(name)
    rewards = quantiles(case["inputs"]["wins"], ties="competition")
    assert rewards == pytest.approx(case["expected"]["r"], abs=1e-6)
    assert z_scores(rewards) == pytest.approx(case["expected"]["A"], abs=1e-6)


def test_brackets(oracle):
    for size, slots in oracle("A2-brackets-full")["expected"].items():
        assert bracket_order(int(size)) == slots
    for size, slots in oracle("A2-brackets-compat")["expected"].items():
        assert bracket_order(int(size), compat="qqr") == slots
    assert sorted(bracket_order(6)) == list(range(8))  # absent seeds stay as byes


@pytest.mark.parametrize("name", ["A2-required", "A2-compat", "A3"])
def test_single_elimination(oracle, name):
    case = oracle(name)
    inputs, expected = case["inputs"], case["expected"]
    rounds, keys = seeded(inputs["seeding"], inputs.get("strength") or inputs["quality"], inputs.get("compat"))
    assert rounds[1:] == expected["rounds"]
    assert sorted(range(len(keys)), key=lambda p: keys[p], reverse=True) == expected["order"]
    rewards = rewards_of(keys)
    assert rewards == pytest.approx(expected["r"], abs=1e-6)
    assert z_scores(rewards) == pytest.approx(expected["A"], abs=1e-6)
    for player, average in expected.get("averages", {}).items():
        assert keys[int(player)][1] == pytest.approx(average, abs=1e-6)


def test_all_ties_order_nobody_unless_compat_asks_for_it(oracle):
    _, keys = seeded([10.0] * 4, [10.0] * 4)
    assert z_scores(rewards_of(keys)).tolist() == oracle("A-tie-required")["expected"]["A"]


@pytest.mark.parametrize("method", ["round_robin", "anchor", "single_elimination", "double_elimination", "swiss"])
def test_a_group_of_one_has_advantage_zero(oracle, method):
    (result,) = rank_groups_sync([RankGroup("g", ["only"])], lambda call: Outcome(), RankOptions(method=method))
    assert list(result.rewards) == oracle("A-n1-required")["expected"]["A"] and result.stats.calls == 0
    _, keys = seeded([10.0] * 4, [10.0] * 4, "qqr")
    assert rewards_of(keys) == pytest.approx(oracle("A-tie-compat")["expected"]["r"], abs=1e-6)
    assert z_scores(rewards_of(keys)) == pytest.approx(oracle("A-tie-compat")["expected"]["A"], abs=1e-6)


def test_swiss_scoring(oracle):
    case = oracle("A4-1")
    rewards = swiss_rewards(case["inputs"]["points"], [3.0] * 4)
    assert rewards == pytest.approx(case["expected"]["r"], abs=1e-6)
    assert z_scores(rewards) == pytest.approx(case["expected"]["A"], abs=1e-6)
    case = oracle("A4-2")
    assert swiss_rewards(**case["inputs"]) == pytest.approx(case["expected"]["r"], abs=1e-6)


def test_cost(oracle):
    for size, methods in oracle("A-calls")["expected"].items():
        for method, (matches, calls) in methods.items():
            planned = plan(int(size), RankOptions(method=method))
            assert (planned.comparisons, planned.calls) == (matches, calls), (size, method)


@pytest.mark.parametrize("n", [8, 16])
def test_perfect_judge_simulation(oracle, n):
    """Mean Spearman correlation of reward and true quality; near 0 would reveal points credited by list position."""
    expected = oracle("A-sim")["expected"]
    topologies = {
        "swiss": (swiss, expected["mean_spearman_swiss"][str(n)]),
        "double_elimination": (double_elimination, expected["mean_spearman_double"][str(n)]),
        "anchor": (lambda n, rng: anchor(n, rng, 0), 1.0),
        "round_robin": (round_robin, 1.0),
        "single_elimination": (lambda n, rng: single_elimination(n, rng, 0), 1.0),
    }
    rng = np.random.default_rng(n)
    for name, (tournament, target) in topologies.items():
        correlations = []
        for _ in range(400):
            quality = rng.permutation(n).astype(float)
            _, keys = play(tournament(n, rng), lambda pair, stage, q=quality: (q[pair[0]], q[pair[1]]))
            correlations.append(np.corrcoef(rewards_of(keys), quality)[0, 1])  # both are ranks, ties averaged
        assert np.mean(correlations) == pytest.approx(target, abs=0.02), name
