"""Rank groups: drive their sessions with a judge, then turn the calls of all groups into rewards."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from ...lm_types import Usage
from .estimators import Fit, LinearModel, fit_bt, fit_wins
from .evidence import Evidence
from .noise import MIN_CALLS, estimate_noise
from .rewards import average_ranks, dense_levels, quantiles, z_scores
from .session import Session, graded
from .stats import cyclic_triads, first_slot, inconsistent_rate, largest_component, no_evidence
from .types import (
    Ask,
    Bye,
    Call,
    MatchRecord,
    Noise,
    Outcome,
    Plan,
    Ranked,
    RankGroup,
    RankOptions,
    RankResult,
    RankStats,
    Record,
)


async def rank_groups(groups: Sequence[RankGroup], ask: Ask, options: RankOptions | None = None) -> list[RankResult]:
    """Rank the responses of each group by asking a judge about pairs.

    The groups run concurrently; calls of one round of a group are awaited together. The noise of the judge is
    estimated from the calls of all groups, so groups of the same judge and rubric belong into one request.

    Args:
        groups: responses to rank, matched by id.
        ask: the judge. An exception it raises is an ``upstream_error`` of that call alone.
        options: see :class:`RankOptions`.

    Returns:
        One result per group, in the same order.
    """
    sessions = [Session(group, options or RankOptions()) for group in groups]

    async def drive(session: Session) -> None:
        while calls := session.next_calls():
            outcomes = await asyncio.gather(*(_safely(ask, call) for call in calls))
            await asyncio.to_thread(session.feed, outcomes)  # an adaptive design fits here: keep the loop free

    await asyncio.gather(*(drive(session) for session in sessions))
    return await asyncio.to_thread(conclude, sessions)


async def rank_group(group: RankGroup, ask: Ask, options: RankOptions | None = None) -> RankResult:
    """Rank one group; see :func:`rank_groups`."""
    return (await rank_groups([group], ask, options))[0]


def rank_groups_sync(
    groups: Sequence[RankGroup], judge: Callable[[Call], Outcome], options: RankOptions | None = None
) -> list[RankResult]:
    """:func:`rank_groups` with a plain function as judge, for simulations, rescoring and tests."""
    sessions = [Session(group, options or RankOptions()) for group in groups]
    for session in sessions:
        while calls := session.next_calls():
            session.feed([judge(call) for call in calls])
    return conclude(sessions)


def plan(group: RankGroup | int, options: RankOptions | None = None) -> Plan:
    """What ranking a group would cost, without asking anybody.

    Args:
        group: the group, or just its number of distinct responses.
        options: see :class:`RankOptions`.

    Returns:
        Comparisons, judge calls and parallel rounds. Exact: none of them depends on what the judge says.
    """
    if isinstance(group, int):
        group = RankGroup("plan", [str(i) for i in range(group)])
    session = Session(group, options or RankOptions())
    while calls := session.next_calls():
        session.feed([Outcome(winner="tie")] * len(calls))
    per_pair = 2 if session.options.both_orders else 1
    return Plan(comparisons=session.calls // per_pair, calls=session.calls, rounds=session.rounds)


async def _safely(ask: Ask, call: Call) -> Outcome:
    try:
        return await ask(call)
    except Exception as error:  # the boundary to a judge somebody else wrote; cancellation passes through
        return Outcome(status="upstream_error", error=f"{type(error).__name__}: {error}")


# -- from calls to rewards -------------------------------------------------------------------------------------------


def conclude(sessions: Sequence[Session]) -> list[RankResult]:
    """Results of finished sessions of one judge; the noise is pooled over all of them."""
    scored = [s for s in sessions if graded(s.records)]
    noise, unsure = _pooled_noise(scored)
    return [_result(session, noise, unsure) for session in sessions]


def _pooled_noise(sessions: Sequence[Session]) -> tuple[Noise | None, bool]:
    """Noise of the judge, and whether there were too few calls to tell how far its levels can be trusted."""
    if not sessions:
        return None, True
    options = sessions[0].options
    if options.noise is not None:
        return options.noise, False
    calls = sum(r.outcome.valid for s in sessions for r in s.records)
    unsure = calls < MIN_CALLS
    use_sums = not unsure and options.estimator != "ls_margin"
    by_size: dict[int, list[Session]] = defaultdict(list)
    for session in sessions:
        by_size[len(session.items)].append(session)
    models = [
        LinearModel(
            Evidence.from_records(size, [s.records for s in group], _lengths_of(group)),
            sum(options.score_range) / 2,
            use_sums,
        )
        for size, group in sorted(by_size.items())
    ]
    return estimate_noise(models), unsure


def _lengths_of(sessions: Sequence[Session]) -> list[np.ndarray] | None:
    if not sessions[0].options.length_covariate:
        return None
    return [_standard_length(session) for session in sessions]


def _standard_length(session: Session) -> np.ndarray:
    """log(1 + characters) of every item, centred and scaled within the group."""
    contents = session.group.contents or {}
    length = np.log1p([len(contents[i]) for i in session.items])
    spread = length.std()
    return (length - length.mean()) / spread if spread > 0 else np.zeros(len(length))


def _fit(session: Session, noise: Noise | None, unsure: bool) -> tuple[str, Fit]:
    """The estimator that was asked for, or that the evidence allows."""
    options, n = session.options, len(session.items)
    name = options.estimator
    has_scores = graded(session.records)
    if name in ("auto", "topology"):
        name = "bt" if not has_scores else "ls_margin" if unsure else "lmm"
    if name in ("lmm", "ls_margin") and not has_scores:
        name = "bt"
    lengths = _lengths_of([session]) if name in ("lmm", "ls_margin") else None
    evidence = Evidence.from_records(n, [session.records], lengths)
    if name == "wins":
        return name, fit_wins(evidence)
    if name == "bt":
        return name, fit_bt(evidence, options.prior_variance)
    assert noise is not None
    return name, LinearModel(evidence, sum(options.score_range) / 2, use_sums=name == "lmm").fit(noise)


def _result(session: Session, noise: Noise | None, unsure: bool) -> RankResult:
    options, n = session.options, len(session.items)
    flags: list[str] = []
    name, fit = _fit(session, noise, unsure) if session.records else ("none", None)
    component = largest_component(n, session.records) if n else []
    value_of: dict[int, float] = {}
    equal = n > 1 and no_evidence(session.records)
    if n == 1:
        value_of = {0: 0.0}
    elif options.places and session.keys is not None:
        name = "topology"
        placed = {i: key for i, key in enumerate(session.keys) if key is not None and i in component}
        place_of = {key: float(place) for place, key in enumerate(sorted(set(placed.values())))}
        value_of = {i: place_of[key] for i, key in placed.items()}
    elif fit is not None and len(component) > 1:
        value_of = {i: float(fit.theta_GN[0, i]) for i in component}
    if n > 1 and len(value_of) < 2:  # nobody to compare with is not a last place
        value_of = {}
    if equal and value_of:
        value_of = dict.fromkeys(value_of, 0.0)
        flags.append("all_equal")

    ids = list(session.group.ids)
    # Canonical order, so that sums of floats do not depend on the order of the input.
    ranked_ids = sorted((i for i in ids if session.member_of[i] in value_of), key=lambda i: (session.member_of[i], i))
    values = np.array([value_of[session.member_of[i]] for i in ranked_ids])
    rewards = dict(zip(ranked_ids, _rewards(values, options).tolist(), strict=True))
    ranks = dict(zip(ranked_ids, (len(values) - average_ranks(values)).tolist(), strict=True))
    members = np.array(sorted(value_of), dtype=int)
    ratings = name != "topology" and fit is not None and len(members) > 1
    errors = fit.stderr(0, members) if ratings and fit is not None else None
    stderr = dict(zip(members.tolist(), errors.tolist(), strict=True)) if errors is not None else {}
    if len(values) > 1 and dense_levels(values).max() == 0 and "all_equal" not in flags:
        flags.append("all_equal")
    tally = _tally(session)
    failure = _failure_status(session)
    ranking = tuple(
        Ranked(
            id=i,
            status="ok" if i in rewards else failure[session.member_of[i]],
            rank=ranks.get(i),
            reward=rewards.get(i),
            theta=value_of.get(session.member_of[i]) if ratings else None,
            stderr=stderr.get(session.member_of[i]),
            wins=tally[session.member_of[i]][0],
            losses=tally[session.member_of[i]][1],
            ties=tally[session.member_of[i]][2],
        )
        for i in ids
    )
    return RankResult(
        group=session.group.id,
        rewards=tuple(rewards.get(i) for i in ids),
        ranking=ranking,
        matches=tuple(_match(session, f"m{number}", r) for number, r in enumerate(session.records)),
        byes=tuple(Bye(session.items[player], number, stage) for player, number, stage in session.byes),
        used=sum((r.outcome.used for r in session.records), Usage()),
        stats=_stats(session, name, fit, noise, component, dict(zip(ranked_ids, values, strict=True)), flags),
    )


def _rewards(values: np.ndarray, options: RankOptions) -> np.ndarray:
    if options.reward.startswith("theta"):
        return z_scores(values) if options.reward == "theta_z" else values
    # ArenaRL gives equal scores the best place of the tie in these two topologies, the mean place elsewhere.
    competition = options.places and options.method in ("round_robin", "anchor")
    rewards = quantiles(values, "competition" if competition else "average")
    return z_scores(rewards) if options.reward == "quantile_z" else rewards


def _tally(session: Session) -> list[list[int]]:
    """Wins, losses and ties of every item over scored comparisons."""
    tally = [[0, 0, 0] for _ in session.items]
    for (a, b), totals in session.played:
        if totals is None:
            continue
        outcome = 2 if totals[0] == totals[1] else 0 if totals[0] > totals[1] else 1
        tally[a][outcome] += 1
        tally[b][2 if outcome == 2 else 1 - outcome] += 1
    return tally


def _failure_status(session: Session) -> list[str]:
    """Why an item could not be ranked: the failure its calls share, else ``unscored``."""
    statuses: list[set[str]] = [set() for _ in session.items]
    for r in session.records:
        status = _status(r.outcome)
        statuses[r.first].add(status)
        statuses[r.second].add(status)
    unasked = "budget_exhausted" if session.cut_by_budget else "unscored"
    return [unasked if not s else next(iter(s)) if len(s) == 1 and s != {"ok"} else "unscored" for s in statuses]


def _match(session: Session, key: str, record: Record) -> MatchRecord:
    a, b = sorted((record.first, record.second))
    outcome = record.outcome
    scores = {record.first: outcome.score_first, record.second: outcome.score_second}
    winner: str | None = None
    if outcome.valid:
        share = outcome.first_share
        winner = "tie" if share == 0.5 else session.items[record.first if share == 1 else record.second]
    score_a, score_b = _finite(scores[a]), _finite(scores[b])
    return MatchRecord(
        id=key,
        comparison=record.comparison,
        round=record.round,
        stage=record.stage,
        a=session.items[a],
        b=session.items[b],
        first=session.items[record.first],
        winner=winner,
        score_a=score_a,
        score_b=score_b,
        margin=None if score_a is None or score_b is None else score_a - score_b,
        status=_status(outcome),
        error=outcome.error,
        cached=outcome.cached,
        calls=outcome.used.calls,
    )


def _status(outcome: Outcome) -> str:
    """The status of a call; one that says ``ok`` without deciding anything was not understood."""
    return outcome.status if outcome.status != "ok" or outcome.valid else "parse_error"


def _stats(
    session: Session,
    name: str,
    fit: Fit | None,
    noise: Noise | None,
    component: list[int],
    value_of: dict[str, float],
    flags: list[str],
) -> RankStats:
    records, n = session.records, len(session.items)
    p_first, tie_rate = first_slot(records)
    triads = cyclic_triads(n, records)
    planned = session.planned_comparisons
    done = sum(totals is not None for _, totals in session.played)
    connected = len(component) == n
    judged = any(r.outcome.valid for r in records)
    residual = float(fit.residual_G[0]) if fit is not None and judged else None
    if residual is not None and fit is not None and graded(records) and residual > math.sqrt(fit.call_variance):
        flags.append("residual_high")
    if triads:
        flags.append("cyclic")
    if not connected:
        flags.append("disconnected")
    if session.cut_by_budget:
        flags.append("budget_exhausted")
    failed = sum(not r.outcome.valid and r.outcome.status != "budget_exhausted" for r in records)
    per_pair = 2 if session.options.both_orders else 1
    return RankStats(
        method=session.options.method,
        order_policy=_order_policy(session.options),
        reward=session.options.reward,
        calls=session.calls,
        rounds=session.rounds,
        planned_calls=planned * per_pair,
        failed_calls=failed,
        cached_calls=sum(r.outcome.cached for r in records),
        statuses=dict(sorted(Counter(_status(r.outcome) for r in records).items())),
        p_first=p_first,
        tie_rate=tie_rate,
        inconsistent_rate=inconsistent_rate(records),
        position_bias=float(fit.bias_G[0]) if fit is not None and fit.bias_G is not None and judged else None,
        cyclic_triads=triads,
        residual=residual,
        coverage=done / planned if planned else None,
        connected=connected,
        estimator=name,
        noise=noise if name in ("lmm", "ls_margin") else None,
        length_effect=float(fit.slope_G[0]) if fit is not None and fit.slope_G is not None else None,
        length_correlation=_length_correlation(session, value_of),
        flags=tuple(flags),
    )


def _order_policy(options: RankOptions) -> str:
    """What ``auto`` came to."""
    if options.order_policy != "auto":
        return options.order_policy
    return "both" if options.both_orders else "balanced_single"


def _length_correlation(session: Session, value_of: dict[str, float]) -> float | None:
    contents = session.group.contents
    if contents is None or len(value_of) < 3:
        return None
    length = np.array([len(contents[i]) for i in value_of], dtype=float)
    values = np.array(list(value_of.values()))
    if length.std() == 0 or values.std() == 0:
        return None
    return float(np.corrcoef(length, values)[0, 1])


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
