"""What a ranking says about its own making: enough to draw the bracket or the comparison graph afterwards."""

import asyncio
import itertools

from palaestra.judges import RankRequest
from palaestra.judges.ranking import Outcome
from palaestra.judges.testing import Fault, Oracle

QUALITY = {f"r{i}": float(i) for i in range(6)}


def test_a_bracket_can_be_followed_from_the_matches_and_byes(rank, make_judge):
    result = rank(QUALITY, make_judge(QUALITY), method="single_elimination")
    rounds = {
        number: [m for m in result.matches if m.round == number] for number in sorted({m.round for m in result.matches})
    }
    assert [m.stage for m in rounds[0]] == ["seeding"] * 10  # five matches in both orders
    assert {m.stage for n, matches in rounds.items() if n for m in matches} == {"bracket"}
    assert [(b.id, b.round, b.stage) for b in result.byes] == [("r5", 1, "bracket"), ("r4", 1, "bracket")]
    for number in range(1, max(rounds)):  # who plays next is who won or had a bye
        going_on = {m.winner for m in rounds[number]} | {b.id for b in result.byes if b.round == number}
        assert {key for m in rounds[number + 1] for key in (m.a, m.b)} == going_on
    assert rounds[max(rounds)][-1].winner == "r5"


def test_stages_and_byes_of_the_other_tournaments(rank, make_judge):
    five = {key: QUALITY[key] for key in list(QUALITY)[:5]}
    double = rank(five, make_judge(five), method="double_elimination")
    assert {m.stage for m in double.matches} == {"winners", "losers", "final"}
    assert {b.stage for b in double.byes} <= {"winners", "losers"} and double.byes
    swiss = rank(five, make_judge(five), method="swiss")
    assert [b.round for b in swiss.byes] == [0, 1, 2] and len({b.id for b in swiss.byes}) == 3
    balanced = rank(five, make_judge(five))
    assert {m.stage for m in balanced.matches} == {None} and not balanced.byes


def test_both_orders_share_a_comparison_and_every_call_has_an_id(rank, make_judge):
    result = rank(QUALITY, make_judge(QUALITY), method="round_robin")
    assert len({m.id for m in result.matches}) == len(result.matches) == 30
    by_comparison = itertools.groupby(sorted(result.matches, key=lambda m: m.comparison), key=lambda m: m.comparison)
    for _, pair in by_comparison:
        one, two = pair
        assert {one.first, two.first} == {one.a, one.b} == {two.a, two.b}
        assert one.margin == one.score_a - one.score_b == two.margin
    assert result.stats.inconsistent_rate == 0 and result.stats.statuses == {"ok": 30}


def test_a_judge_that_prefers_the_first_slot_is_inconsistent(rank):
    result = rank(QUALITY, lambda call: Outcome(winner="first"), method="round_robin")
    assert result.stats.inconsistent_rate == 1.0 == result.stats.p_first


def test_a_cut_round_numbers_its_comparisons_without_gaps(rank, make_judge):
    result = rank(QUALITY, make_judge(QUALITY), method="single_elimination", max_calls=14)
    assert [m.comparison for m in result.matches if m.status == "budget_exhausted"]
    assert {m.comparison for m in result.matches} == set(range(10))
    assert result.stats.statuses == {"budget_exhausted": 3, "ok": 14}


def test_the_reply_carries_cost_cache_and_reasons_for_each_group(fake, llm_service):
    texts = {"best": 2.0, "fair": 0.5, "poor": -1.5}
    server = fake(Oracle(quality=texts))
    service = llm_service(server, cache=True)
    body = {
        "prompt": "p",
        "responses": [{"id": key[0], "response": key} for key in texts],
    }
    request = RankRequest(groups=[{"id": "one", **body}, {"id": "two", **body}], method="round_robin")
    reply = asyncio.run(service.rank(request))
    one, two = reply.groups
    assert (one.usage.calls, one.usage.cache_hits, two.usage.calls, two.usage.cache_hits) == (6, 0, 0, 6)
    assert one.usage.prompt_tokens > 0 and two.usage.prompt_tokens == 0
    assert reply.usage.calls == 6 == server.hits
    assert [m.cached for m in two.matches] == [True] * 6 and [m.calls for m in one.matches] == [1] * 6
    assert one.judge.name == "llm" and [r.reward for r in one.results()] == one.rewards
    stored = type(one).model_validate_json(one.model_dump_json())
    assert stored.model_dump_json() == one.model_dump_json()


def test_a_failed_call_says_why_and_what_it_cost(fake, llm_service):
    server = fake(faults=Fault("server_error"))
    service = llm_service(server, model={"max_attempts": 3})
    request = RankRequest(
        group={"prompt": "p", "responses": [{"id": k, "response": k} for k in ("aa", "bb")]}, degree=1
    )
    reply = asyncio.run(service.rank(request))
    (match,) = reply.matches
    assert match.winner is None and match.status.value == "upstream_error" and match.error
    assert match.calls == 3 == reply.usage.calls
    assert reply.stats["statuses"] == {"upstream_error": 1}


def test_rankings_without_matches_tell_their_method_and_cost_too(fake, llm_service):
    service = llm_service(fake(Oracle(quality={"best": 2.0, "fair": 0.5, "poor": -1.5})))
    group = {"prompt": "p", "responses": [{"id": k, "response": k} for k in ("best", "fair", "poor")]}
    for method, calls in (("pointwise", 3), ("listwise", 3)):
        reply = asyncio.run(service.rank(RankRequest(groups=[group], method=method)))
        (ranking,) = reply.groups
        assert ranking.stats["method"] == method and ranking.usage.calls == calls == reply.usage.calls
        assert ranking.judge.name == "llm" and not ranking.matches
