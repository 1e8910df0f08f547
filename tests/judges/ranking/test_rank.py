"""Behaviour of ranking with perfect, biased, tied, cyclic and broken judges."""

import asyncio
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.judges.ranking import Call, Outcome, RankGroup, RankOptions, plan, rank_group, rank_groups_sync
from palaestra.judges.ranking.topologies import Scorebook
from palaestra.judges.ranking.types import METHODS, TOPOLOGIES

DESIGNS = ["balanced", "adaptive", "random"]


def ids_of(n):
    return [f"r{i:02d}" for i in range(n)]


def order_of(result):
    return [r.id for r in sorted(result.ranking, key=lambda r: r.rank)]


# -- the right order -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", TOPOLOGIES)
def test_the_best_wins_every_topology(method, rank, make_judge):
    rng = np.random.default_rng(5)
    for n in range(2, 34):
        quality = dict(zip(ids_of(n), rng.permutation(n) / 4, strict=True))
        result = rank(quality, make_judge(quality), method=method)
        best = max(quality, key=quality.get)
        assert [r.id for r in result.ranking if r.rank == 1] == [best], n
        assert result.stats.calls == plan(n, RankOptions(method=method)).calls


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("n", [2, 3, 5, 6, 7, 8, 12, 16, 33])
def test_all_pairs_recover_the_order(n, graded, rank, make_judge):
    rng = np.random.default_rng(n)
    quality = dict(zip(ids_of(n), rng.permutation(n) / 4, strict=True))
    truth = sorted(quality, key=quality.get, reverse=True)
    assert order_of(rank(quality, make_judge(quality, graded=graded), method="round_robin")) == truth
    assert order_of(rank(quality, make_judge(quality, graded=graded), degree=n - 1, seed=1)) == truth


def test_swiss_credits_the_player_and_not_the_list_position(rank, make_judge):
    quality = {i: float(k) for k, i in enumerate(ids_of(16))}
    result = rank(quality, make_judge(quality), method="swiss")
    tally = dict.fromkeys(quality, 0)
    for match in result.matches:
        tally[max(match.a, match.b, key=quality.get)] += 1
    for ranked in result.ranking:
        assert ranked.wins == tally[ranked.id] / 2
    by_wins = sorted(result.ranking, key=lambda r: -r.wins)
    assert by_wins[0].id == "r15"
    assert by_wins[0].wins == 4


@pytest.mark.parametrize("n", [6, 12])
def test_byes_go_to_the_top_seeds(n, rank, make_judge):
    quality = {i: float(k) for k, i in enumerate(ids_of(n))}
    result = rank(quality, make_judge(quality), method="single_elimination", anchor_id="r00")
    byes = {6: 2, 12: 4}[n]
    opening = {name for m in result.matches if m.round == 1 for name in (m.a, m.b)}
    assert opening == set(list(quality)[: n - byes])


# -- no order from nothing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("n", [2, 3, 7, 8, 13])
def test_all_ties_give_zeros(method, graded, n, rank, make_judge):
    result = rank(ids_of(n), make_judge(dict.fromkeys(ids_of(n), 5.0), graded=graded), method=method)
    assert result.rewards == (0.0,) * n
    assert "all_equal" in result.stats.flags
    assert {r.rank for r in result.ranking} == {(n + 1) / 2}


@pytest.mark.parametrize("method", TOPOLOGIES)
def test_ties_at_different_levels_are_still_ties(method, rank):
    level = {i: float(k) for k, i in enumerate(ids_of(6))}

    def judge(call):
        score = level[call.first] + level[call.second]
        return Outcome(score_first=score, score_second=score)

    assert rank(ids_of(6), judge, method=method).rewards == (0.0,) * 6


@pytest.mark.parametrize("graded", [True, False])
@pytest.mark.parametrize("bonus", [3.0, -3.0])
def test_a_judge_that_sees_only_the_position_orders_nobody(graded, bonus, rank, make_judge):
    for method in METHODS:
        for n in (2, 3, 6, 8, 9, 16):
            judge = make_judge(dict.fromkeys(ids_of(n), 5.0), bonus, graded)
            result = rank(ids_of(n), judge, method=method)
            assert result.rewards == (0.0,) * n, (method, n)
            assert result.stats.p_first == (1.0 if bonus > 0 else 0.0)


def test_position_bias_is_measured_and_removed(rank, make_judge):
    quality = {i: float(k) / 2 for k, i in enumerate(ids_of(12))}
    result = rank(quality, make_judge(quality, bonus=4.0), reward="quantile")
    assert order_of(result) == sorted(quality, key=quality.get, reverse=True)
    assert result.stats.position_bias > 0.5
    assert result.stats.p_first > 0.9


def test_a_cycle_is_equal_and_reported(rank):
    beats = {("a", "b"), ("b", "c"), ("c", "a")}

    def judge(call):
        return Outcome(winner="first" if (call.first, call.second) in beats else "second")

    for method in ("balanced", "round_robin"):
        result = rank("abc", judge, method=method, order_policy="both")
        assert result.rewards == (0.0, 0.0, 0.0)
        assert result.stats.cyclic_triads == 1.0
        assert "cyclic" in result.stats.flags


@pytest.mark.parametrize("method", METHODS)
def test_groups_of_none_and_one_cost_nothing(method, rank, make_judge):
    judge = make_judge({"a": 1.0})
    alone = rank(["a"], judge, method=method)
    assert alone.rewards == (0.0,)
    assert alone.ranking[0].status == "ok"
    assert rank([], judge, method=method).rewards == ()
    assert judge.calls == []
    assert plan(1, RankOptions(method=method)).calls == 0


@pytest.mark.parametrize("method", METHODS)
def test_groups_of_two(method, rank, make_judge):
    result = rank(["a", "b"], make_judge({"a": 3.0, "b": 7.0}), method=method, reward="quantile")
    assert result.rewards == (0.0, 1.0)


# -- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_total_outage_trains_nothing(method, rank):
    result = rank(ids_of(6), lambda call: Outcome(status="timeout"), method=method)
    assert result.rewards == (None,) * 6
    assert {r.status for r in result.ranking} == {"timeout"}
    assert {r.rank for r in result.ranking} == {None}
    assert result.stats.coverage == 0
    assert not result.stats.connected


@pytest.mark.parametrize("method", ["round_robin", "swiss", *DESIGNS])
def test_one_dead_pair_leaves_the_others_ranked(method, rank, make_judge):
    quality = {i: float(k) / 2 for k, i in enumerate(ids_of(8))}
    first = rank(quality, make_judge(quality), method=method).matches[0]
    judge = make_judge(quality, failing=[(first.a, first.b)])
    result = rank(quality, judge, method=method, reward="quantile")
    assert None not in result.rewards
    assert result.stats.coverage < 1
    assert result.stats.failed_calls >= 1
    assert result.rewards[0] < 0.5 < result.rewards[-1]


def test_an_unreachable_response_is_unscored_and_the_rest_is_not(rank, make_judge):
    quality = {i: float(k) / 2 for k, i in enumerate(ids_of(6))}
    judge = make_judge(quality, failing=[("r02", other) for other in quality])
    result = rank(quality, judge, reward="quantile")
    by_id = {r.id: r for r in result.ranking}
    assert by_id["r02"].reward is None
    assert by_id["r02"].status == "timeout"
    assert [by_id[i].reward for i in ("r00", "r01", "r03", "r04", "r05")] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert not result.stats.connected


def test_who_leaves_a_bracket_through_an_outage_has_no_place(rank, make_judge):
    quality = {i: float(k) for k, i in enumerate(ids_of(4))}
    judge = make_judge(quality, failing=[("r03", "r02")])
    result = rank(quality, judge, method="single_elimination", anchor_id="r00", reward="quantile")
    by_id = {r.id: r for r in result.ranking}
    assert by_id["r02"].reward is None  # met r03 in the final, which nobody scored
    assert by_id["r03"].reward == 1.0
    assert {by_id["r00"].reward, by_id["r01"].reward} == {0.0, 0.5}


def test_two_islands_are_not_ranked_against_each_other(rank, make_judge):
    quality = {i: float(k) for k, i in enumerate(ids_of(5))}
    bridges = [(a, b) for a in ("r00", "r01") for b in ("r02", "r03", "r04")]
    for method in ("round_robin", "balanced"):
        result = rank(quality, make_judge(quality, failing=bridges), method=method, reward="quantile")
        assert result.rewards == (None, None, 0.0, 0.5, 1.0)
        assert not result.stats.connected


def test_equal_totals_stay_equal_in_floating_point():
    book = Scorebook(2)
    for first, second in ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1)):
        book.add((0, 1), (first, second))
    assert sum(book.totals[0]) != sum(book.totals[1])  # the two sums differ in the last bit
    assert book.mean(0) == book.mean(1)


def test_half_a_match_is_no_match(rank):
    def judge(call):
        return Outcome(status="refusal") if call.first == "a" else Outcome(score_first=9.0, score_second=1.0)

    result = rank("ab", judge, method="round_robin")
    assert result.rewards == (None, None)
    assert result.stats.coverage == 0


def test_scores_that_are_no_numbers_are_failures(rank):
    result = rank("ab", lambda call: Outcome(score_first=float("nan"), score_second=1.0))
    assert result.rewards == (None, None)
    assert result.ranking[0].status == "parse_error"
    assert json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_an_exception_of_the_judge_is_a_failure_of_that_call():
    async def ask(call: Call) -> Outcome:
        if call.first == "a":
            raise ConnectionError("boom")
        return Outcome(score_first=5.0, score_second=7.0)

    result = asyncio.run(rank_group(RankGroup("g", ["a", "b", "c"]), ask))
    assert result.stats.failed_calls == 1
    assert {m.status for m in result.matches} == {"ok", "upstream_error"}
    assert None not in result.rewards


# -- budgets, duplicates, seeds, order -------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    n=st.integers(0, 14),
    method=st.sampled_from(METHODS),
    policy=st.sampled_from(["auto", "both", "balanced_single", "random_single", "given"]),
    budget=st.integers(0, 60),
    seed=st.integers(0, 3),
)
def test_budgets_are_never_exceeded(n, method, policy, budget, seed):
    calls = []

    def judge(call):
        calls.append(call)
        return Outcome(score_first=float(len(call.first)), score_second=float(ord(call.second[-1]) % 7))

    options = RankOptions(method=method, order_policy=policy, max_calls=budget, seed=seed)
    result = rank_groups_sync([RankGroup("g", ids_of(n))], judge, options)[0]
    assert len(calls) == result.stats.calls <= budget
    assert plan(n, options).calls >= result.stats.calls
    assert len(result.rewards) == n
    assert all(call.first != call.second for call in calls)
    if budget == 0 and n > 1:
        assert result.rewards == (None,) * n


@pytest.mark.parametrize("method", METHODS)
def test_no_budget_is_said_so(method, rank, make_judge):
    quality = {i: float(k) for k, i in enumerate(ids_of(6))}
    result = rank(quality, make_judge(quality), method=method, max_calls=0)
    assert {r.status for r in result.ranking} == {"budget_exhausted"}
    assert "budget_exhausted" in result.stats.flags
    enough = plan(6, RankOptions(method=method)).calls
    assert "budget_exhausted" not in rank(quality, make_judge(quality), method=method, max_calls=enough).stats.flags


@pytest.mark.parametrize("method", METHODS)
def test_duplicates_cost_nothing_and_share_the_reward(method, rank, make_judge):
    text = {"a": "one", "b": "two", "c": "one", "d": "three", "e": "two", "f": "four"}
    value = {"one": 2.0, "two": 4.0, "three": 6.0, "four": 8.0}
    quality = {i: value[t] for i, t in text.items()}
    judge = make_judge(quality)
    result = rank(text, judge, contents=text, method=method, reward="quantile")
    assert len(judge.calls) == plan(4, RankOptions(method=method)).calls
    by_id = {r.id: r.reward for r in result.ranking}
    assert by_id["a"] == by_id["c"]
    assert by_id["b"] == by_id["e"]
    assert by_id["f"] == 1.0 or method in ("double_elimination",)


@settings(max_examples=40, deadline=None)
@given(
    order=st.permutations(list(range(9))),
    method=st.sampled_from(METHODS),
    policy=st.sampled_from(["auto", "both", "random_single"]),
    seed=st.integers(0, 5),
)
def test_permutation_equivariance(order, method, policy, seed):
    ids = ids_of(9)
    text = {i: f"text {k * 7 % 9}" for k, i in enumerate(ids)}

    def judge(call):  # biased, intransitive, but a function of the texts
        first, second = int(text[call.first][-1]), int(text[call.second][-1])
        return Outcome(score_first=float(first * second % 4 + 3), score_second=float(second % 5 + 2))

    options = RankOptions(method=method, order_policy=policy, seed=seed)
    base = rank_groups_sync([RankGroup("g", ids, text)], judge, options)[0]
    moved = rank_groups_sync([RankGroup("g", [ids[k] for k in order], text)], judge, options)[0]
    assert {r.id: r for r in base.ranking} == {r.id: r for r in moved.ranking}
    assert base.stats == moved.stats
    assert base.matches == moved.matches


def test_new_ids_for_the_same_texts_change_nothing():
    text = {f"r{k}": f"answer {k * 5 % 7}" for k in range(7)}
    renamed = {f"z{6 - k}": t for k, t in enumerate(text.values())}

    def judge_of(texts):
        def judge(call):
            first, second = int(texts[call.first][-1]), int(texts[call.second][-1])
            return Outcome(score_first=float(first), score_second=float(second % 3 + 1))

        return judge

    def ranked(texts):
        result = rank_groups_sync([RankGroup("g", list(texts), texts)], judge_of(texts), RankOptions(seed=3))[0]
        return {texts[r.id]: r.reward for r in result.ranking}

    assert ranked(text) == ranked(renamed)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_bytes(method, rank, make_judge):
    quality = {i: float(k * 5 % 11) for k, i in enumerate(ids_of(11))}

    def as_bytes(seed):
        result = rank(quality, make_judge(quality, bonus=1.0), method=method, seed=seed)
        return json.dumps(dataclasses.asdict(result)).encode()

    assert as_bytes(7) == as_bytes(7)
    assert as_bytes(7) != as_bytes(8) or method == "round_robin"


def test_order_policies(rank, make_judge):
    quality = {i: float(k) for k, i in enumerate(ids_of(9))}
    both = rank(quality, make_judge(quality), order_policy="both")
    orders = [(m.first == m.a, m.a, m.b) for m in both.matches]
    assert all((not first, a, b) in orders for first, a, b in orders)
    given_order = rank(list(quality)[::-1], make_judge(quality), order_policy="given")
    assert all(m.first == m.b for m in given_order.matches)
    balanced = rank(quality, make_judge(quality))
    lead = dict.fromkeys(quality, 0)
    for m in balanced.matches:
        lead[m.first] += 1
        lead[m.b if m.first == m.a else m.a] -= 1
    assert set(lead.values()) == {0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "knockout"}, "knockout"),
        ({"method": "swiss", "reward": "theta_z"}, "estimator='lmm'"),
        ({"method": "balanced", "estimator": "topology"}, "balanced"),
        ({"max_calls": -1}, "max_calls=-1"),
        ({"score_range": (5, 5)}, "score_range"),
        ({"compat": "qqr"}, "topologies"),
    ],
)
def test_bad_options_name_the_field(options, message):
    with pytest.raises(ValueError, match=message):
        RankOptions(**options)


def test_bad_groups_name_the_response(rank, make_judge):
    with pytest.raises(ValueError, match="'a' twice"):
        rank(["a", "b", "a"], make_judge({}))
    with pytest.raises(ValueError, match="lacks response 'b'"):
        rank(["a", "b"], make_judge({}), contents={"a": "x"})
    with pytest.raises(ValueError, match="anchor_id='z'"):
        rank(["a", "b"], make_judge({}), method="anchor", anchor_id="z")


def test_stored_calls_can_be_rated_again_without_a_judge(rank, make_judge):
    quality = {i: float(k * 3 % 8) for k, i in enumerate(ids_of(8))}
    first = rank(quality, make_judge(quality), method="single_elimination", seed=2)
    log = {(m.first, m.b if m.first == m.a else m.a, m.round): m for m in first.matches}

    def replay(call):
        m = log[(call.first, call.second, call.round)]
        scores = {m.a: m.score_a, m.b: m.score_b}
        return Outcome(score_first=scores[call.first], score_second=scores[call.second])

    again = rank(quality, replay, method="single_elimination", seed=2, estimator="lmm", reward="theta_z")
    assert again.stats.estimator == "lmm"
    assert order_of(again) == sorted(quality, key=quality.get, reverse=True)


def test_length_is_reported_and_can_be_taken_out(rank):
    quality = dict(zip(ids_of(10), [3.0, 0.0, 4.0, 1.0, 2.0, 2.2, 1.2, 4.2, 0.2, 3.2], strict=True))
    text = {i: f"{i}" + "x" * (2 ** (k // 2 + 4)) for k, i in enumerate(quality)}

    def score(i):  # one point for every doubling of the length
        return quality[i] + np.log2(len(text[i])) - 2

    def judge(call):
        return Outcome(score_first=score(call.first), score_second=score(call.second))

    def agreement(result):
        return np.corrcoef([r.theta for r in result.ranking], list(quality.values()))[0, 1]

    plain = rank(text, judge, contents=text, reward="theta")
    fair = rank(text, judge, contents=text, reward="theta", length_covariate=True)
    assert plain.stats.length_correlation > 0.5
    assert plain.stats.length_effect is None
    assert fair.stats.length_effect > 0.3
    assert agreement(fair) > agreement(plain) + 0.1


@pytest.mark.parametrize(
    ("n", "graded", "method"), [(8, False, "balanced"), (9, False, "adaptive"), (33, True, "balanced")]
)
def test_auto_pairs_adaptively_only_where_one_round_of_bare_verdicts_is_too_little(n, graded, method, rank, make_judge):
    quality = {i: float(k) for k, i in enumerate(ids_of(n))}
    stats = rank(quality, make_judge(quality, graded=graded), graded=graded).stats
    assert stats.method == method and (stats.rounds > 1) == (method == "adaptive")
    assert stats.calls == plan(n, RankOptions(graded=graded)).calls == plan(n).calls


@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_rounds_of_adaptive_pairing_can_be_limited(rounds, rank, make_judge):
    quality = {i: float(k) for k, i in enumerate(ids_of(12))}
    result = rank(quality, make_judge(quality, graded=False), method="adaptive", rounds=rounds, degree=8, max_calls=44)
    assert (result.stats.rounds, result.stats.calls) == (rounds, 44)
    first = [m.first for m in result.matches]
    assert max(first.count(i) for i in quality) - min(first.count(i) for i in quality) <= 3
    assert order_of(result)[0] in ("r11", "r10")
    planned = plan(12, RankOptions(method="adaptive", rounds=rounds, degree=8, max_calls=44))
    assert (planned.rounds, planned.calls) == (rounds, 44)
