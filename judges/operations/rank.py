"""Group rankings: comparisons by a tournament or design, a few listwise calls, or one score each."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from ...schema import RewardStatus
from ..base import Judge, PairQuestion
from ..context import Context
from ..problems import Problem
from ..ranking import Call, Outcome, RankGroup, RankOptions, RankResult, average_ranks, quantiles, rank_groups, z_scores
from ..ranking import plan as plan_calls
from ..rubric import Rubric
from ..textprep import gate, suspicion_flags
from ..types import (
    BadItem,
    ErrorInfo,
    GroupRanking,
    Item,
    MatchResult,
    RankedResponse,
    RankReply,
    RankRequest,
    ResponseGroup,
    SitOut,
    UsageInfo,
    as_text,
    unread,
)
from .compare import comparison_rubric, safe_compare
from .listwise import plan_listwise, rank_listwise

if TYPE_CHECKING:
    from ..service import JudgeService


async def rank(service: JudgeService, request: RankRequest, context: Context) -> RankReply:
    """Rank every group; groups of one request share what is learned about the judge's noise."""
    judge = service.judge_for(request)
    groups = request.all_groups
    kept = [_without_gated(judge, group) for group in groups]
    if request.method == "pointwise":
        rubric = service.rubric_for(request, judge)
        rankings = await asyncio.gather(*(_pointwise(judge, g, rubric, request, context) for g in groups))
        return _reply(request, list(rankings), judge, context)
    comparing = comparison_rubric(service, request, judge)  # type: ignore[arg-type]
    if request.method == "listwise":
        jobs = (rank_listwise(judge, g, comparing, request, context) for g, _ in kept if g is not None)
        found = await asyncio.gather(*jobs)
    else:
        found = await _by_comparisons(judge, [g for g, _ in kept if g is not None], comparing, request, context)
    results = iter(found)
    rankings = [
        with_gated(group, next(results) if rest is not None else None, gated, request)
        for group, (rest, gated) in zip(groups, kept, strict=True)
    ]
    return _reply(request, rankings, judge, context)


def _reply(request: RankRequest, rankings: list[GroupRanking], judge: Judge, context: Context) -> RankReply:
    for group, ranking in zip(request.all_groups, rankings, strict=True):
        for response, row in zip(group.responses, ranking.ranking, strict=True):
            row.flags += ["truncated"] if judge.cuts(response.response) else []
        ranking.ranking = group.in_place(ranking.ranking, _unread_response)
        ranking.rewards = [row.reward for row in ranking.ranking]
    rankings = request.in_place(rankings, _unread_group)
    for ranking in rankings:
        ranking.judge = judge.info()
        ranking.stats = {"method": request.method, "reward": request.reward} | ranking.stats
        context.finished(ranking)
    if request.groups is not None:
        return RankReply(groups=rankings)
    only = rankings[0]
    return RankReply(rewards=only.rewards, ranking=only.ranking, matches=only.matches, byes=only.byes, stats=only.stats)


def _unread_response(row: BadItem) -> RankedResponse:
    return RankedResponse(id=row.id, rank=None, status=RewardStatus.INVALID_INPUT, error=unread(row.message))


def _unread_group(row: BadItem) -> GroupRanking:
    return GroupRanking(id=row.id, rewards=[], ranking=[], error=unread(row.message))


def options_of(request: RankRequest, judge: Judge, budget: int | None) -> RankOptions:
    """Ranking options of a request; a wrong combination is the caller's error.

    Raises:
        Problem: 422 with the reason.
    """
    try:
        return RankOptions(
            method=request.method,  # type: ignore[arg-type]
            graded=judge.graded,
            estimator=request.estimator,
            order_policy=request.order_policy or "auto",
            reward=request.reward,
            degree=request.degree,
            rounds=request.rounds,
            anchor_id=request.anchor_id,
            max_calls=None if budget is None else budget // max(1, len(request.all_groups)),
            seed=request.seed or 0,
            length_covariate=request.length_covariate,
        )
    except ValueError as error:
        raise Problem(422, "invalid_options", str(error)) from error


async def _by_comparisons(
    judge: Judge, groups: list[ResponseGroup], rubric: Rubric | None, request: RankRequest, context: Context
) -> list[GroupRanking]:
    options = options_of(request, judge, context.meter.calls_left() if judge.paid else None)
    by_id = {group.id: group for group in groups}
    responses = {group.id: {r.id: r.response for r in group.responses} for group in groups}
    texts = {name: {key: as_text(r) for key, r in rows.items()} for name, rows in responses.items()}
    if request.anchor_id is not None:
        for group in groups:
            if request.anchor_id not in texts[group.id]:
                raise Problem(422, "unknown_anchor", f"anchor_id {request.anchor_id!r} is not in group {group.id!r}")

    async def ask(call: Call) -> Outcome:
        group = by_id[call.group]
        question = PairQuestion(
            prompt=as_text(group.prompt), first=texts[group.id][call.first], second=texts[group.id][call.second],
            reference=group.reference, rubric=rubric,
            sources=(responses[call.group][call.first], responses[call.group][call.second]),
            tag={"op": "rank", "group": group.id, "first": call.first, "second": call.second, "round": call.round},
        )  # fmt: skip
        verdict = await safe_compare(judge, question, context)
        if not verdict.ok or verdict.values is None:
            why = verdict.error.message if verdict.error else None
            return Outcome(status=verdict.status.value, error=why, used=verdict.used)
        values = verdict.values
        return Outcome(
            winner=values["winner"], score_first=values.get("score_first"), score_second=values.get("score_second"),
            cached=verdict.cached, used=verdict.used,
        )  # fmt: skip

    rank_input = [RankGroup(g.id, list(texts[g.id]), texts[g.id]) for g in groups]
    results = await rank_groups(rank_input, ask, options)
    return [_wire(result) for result in results]


def _wire(result: RankResult) -> GroupRanking:
    ranking = []
    for row in result.ranking:
        fields = asdict(row)
        status = RewardStatus(fields.pop("status"))
        error = None if status is RewardStatus.OK else ErrorInfo(code=status.value, message="could not be compared")
        ranking.append(RankedResponse(**fields, status=status, error=error))
    used = result.used
    return GroupRanking(
        id=result.group, rewards=list(result.rewards), ranking=ranking,
        matches=[MatchResult(**asdict(m)) for m in result.matches], byes=[SitOut(**asdict(b)) for b in result.byes],
        stats=asdict(result.stats),
        usage=UsageInfo(**asdict(used), cache_hits=result.stats.cached_calls),
    )  # fmt: skip


def _without_gated(judge: Judge, group: ResponseGroup) -> tuple[ResponseGroup | None, dict[str, str]]:
    """The group without responses that are not worth a call, and the reason for each of those."""
    if not judge.paid:
        return group, {}
    gated = {r.id: reason for r in group.responses if (reason := gate(as_text(r.response)))}
    rest = [r for r in group.responses if r.id not in gated]
    return (group.model_copy(update={"responses": rest}) if rest else None), gated


def with_gated(
    group: ResponseGroup, result: GroupRanking | None, gated: dict[str, str], request: RankRequest
) -> GroupRanking:
    """Put gated responses back, tied in the last place, and flag texts that talk to the judge."""
    result = result or GroupRanking(id=group.id, rewards=[], ranking=[], stats={"calls": 0, "rounds": 0})
    rows = {row.id: row for row in result.ranking}
    if gated:
        for key, reason in gated.items():
            info = ErrorInfo(code="gated", message=reason)
            rows[key] = RankedResponse(id=key, rank=None, status=RewardStatus.GATED, flags=["gated"], error=info)
        _place_gated(list(rows.values()), request.reward)
        result.stats = {**result.stats, "gated": len(gated)}
    for response in group.responses:
        rows[response.id].flags += suspicion_flags(as_text(response.response))
    result.ranking = [rows[r.id] for r in group.responses]
    result.rewards = [row.reward for row in result.ranking]
    return result


def _place_gated(rows: list[RankedResponse], form: str) -> None:
    """Ranks and rewards of a group in which gated responses come last; unscored ones stay out of it."""
    ranked = [r for r in rows if r.rank is not None]
    gated = [r for r in rows if r.status is RewardStatus.GATED]
    # A response that had nobody but gated ones beside it has no rank of its own, yet it beats them.
    alone = [r for r in rows if r.rank is None and r.status is not RewardStatus.GATED]
    if not ranked and len(alone) == 1:
        alone[0].status, alone[0].error, ranked = RewardStatus.OK, None, alone
        alone[0].rank = 1.0
    levels = [-(r.rank or 0.0) for r in ranked] + [float("-inf")] * len(gated)
    if not levels:
        return
    finite = [level if level != float("-inf") else -1e9 for level in levels]
    average = average_ranks(finite)
    if form.startswith("theta") and ranked and all(r.theta is not None for r in ranked):
        lowest = min(r.theta for r in ranked if r.theta is not None)
        thetas = [r.theta for r in ranked if r.theta is not None] + [lowest] * len(gated)
        values = list(z_scores(thetas)) if form == "theta_z" else thetas
    else:
        shares = quantiles(finite)
        values = list(z_scores(shares)) if form.endswith("_z") else list(shares)
    for row, place, value in zip([*ranked, *gated], average, values, strict=True):
        row.rank = len(levels) - float(place)
        row.reward = float(value)


async def _pointwise(
    judge: Judge, group: ResponseGroup, rubric: Rubric, request: RankRequest, context: Context
) -> GroupRanking:
    """Rank by one score each. Equal texts share a call through the cache of identical questions."""
    from .score import guarded

    items = [
        Item(id=r.id, prompt=group.prompt, response=r.response, reference=group.reference) for r in group.responses
    ]
    unique: dict[str, Item] = {}
    for item in items:
        unique.setdefault(as_text(item.response), item)
    found = await asyncio.gather(*(guarded(judge, item, rubric, context) for item in unique.values()))
    by_text = dict(zip(unique, found, strict=True))
    results = [by_text[as_text(item.response)] for item in items]
    scores = {i.id: r.score for i, r in zip(items, results, strict=True) if r.score is not None}
    failures = {i.id: r for i, r in zip(items, results, strict=True) if r.score is None}
    ranking = scored_ranking(group, scores, request.reward)
    for row in ranking.ranking:
        if row.id in failures:
            row.status, row.error = failures[row.id].status, failures[row.id].error
    ranking.stats = {"calls": sum(r.calls for r in found), "rounds": 1, "coverage": len(scores) / len(items)}
    ranking.usage = UsageInfo(calls=ranking.stats["calls"], cache_hits=sum(r.cached for r in found))
    return ranking


def scored_ranking(group: ResponseGroup, scores: dict[str, float], form: str) -> GroupRanking:
    """A ranking from one number per id; ids without one stay unscored."""
    ids = [r.id for r in group.responses if r.id in scores]
    values = [scores[i] for i in ids]
    ranking = {r.id: RankedResponse(id=r.id, rank=None, status=RewardStatus.UNSCORED) for r in group.responses}
    if ids:
        places = average_ranks(values)
        shares = values if form.startswith("theta") else list(quantiles(values))
        rewards = list(z_scores(shares)) if form.endswith("_z") else shares
        for key, place, reward in zip(ids, places, rewards, strict=True):
            ranking[key] = RankedResponse(id=key, rank=len(ids) - float(place), theta=scores[key], reward=float(reward))
    rows = [ranking[r.id] for r in group.responses]
    return GroupRanking(id=group.id, rewards=[row.reward for row in rows], ranking=rows)


def plan_rank(judge: Judge, request: RankRequest, rubric: Rubric | None) -> tuple[int, int]:
    """Calls and rounds of a request."""
    calls = rounds = 0
    for group in request.all_groups:
        rest, _ = _without_gated(judge, group)
        if rest is None:
            continue
        texts = {r.id: as_text(r.response) for r in rest.responses}
        distinct = len(set(texts.values()))
        if request.method == "pointwise":
            found = (distinct * (judge.calls_per_item(rubric) if rubric else 1), 1)
        elif request.method == "listwise":
            found = plan_listwise(distinct, request)
        else:
            budget = request.budget.max_calls if request.budget else None
            options = options_of(request, judge, budget)
            planned = plan_calls(RankGroup(group.id, list(texts), texts), options)
            found = (planned.calls, planned.rounds)
        calls += found[0]
        rounds = max(rounds, found[1])
    return calls, rounds
