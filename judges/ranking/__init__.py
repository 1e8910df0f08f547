"""Ranking a group of responses by asking a judge about pairs.

The judge is one async function; it may be an HTTP client, a model in this process or a simulation:

    async def ask(call: Call) -> Outcome            # Call(group, first, second, round): ids, in the order shown
    Outcome(score_first=7.5, score_second=6.0)      # a judge with scores; the winner follows from them
    Outcome(winner="first" | "second" | "tie")      # a judge that gives a verdict
    Outcome(status="timeout", error="...")          # any failure; never counted as a score or a tie

Which method: ``auto`` takes ``balanced`` (one parallel round) for a judge with scores and for up to 8 responses, and
``adaptive`` (about six dependent rounds) for a judge that gives verdicts only (``graded=False``) on more than 8. The
five topologies are there for comparison and for those who need a bracket; ``estimator="lmm"`` rates their matches
better than the bracket does. Measured accuracy per call is in docs/benchmarks/ranking.md.

Public functions (all pure apart from the calls to ``ask``):

    rank_groups(groups: Sequence[RankGroup], ask: Ask, options: RankOptions | None = None) -> list[RankResult]  (async)
    rank_group(group: RankGroup, ask: Ask, options: RankOptions | None = None) -> RankResult                    (async)
    rank_groups_sync(groups, judge: Callable[[Call], Outcome], options=None) -> list[RankResult]
    plan(group: RankGroup | int, options: RankOptions | None = None) -> Plan(comparisons, calls, rounds)
    conclude(sessions: Sequence[Session]) -> list[RankResult]      results from sessions somebody else has driven

    RankGroup(id, ids, contents=None)               ids in input order; equal contents are judged once
    RankOptions(method="auto", graded=True, estimator="auto", order_policy="auto", reward="quantile_z", degree=None,
                rounds=None, anchor_id=None, max_calls=None, seed=0, noise=None, score_range=(0, 10),
                prior_variance=2.74, length_covariate=False, compat=None)
    RankResult(group, rewards, ranking, matches, stats, byes, used)  dataclasses

``rewards`` is in input order with None for what could not be ranked. Budgets (``max_calls``) are never exceeded, a
call counts when it is dispatched. To drive a session by hand (a server that stores jobs, a rescoring tool):

    session = Session(group, options)
    while calls := session.next_calls():            # one parallel round
        session.feed([outcome_of(call) for call in calls])
    result, = conclude([session])

To rate stored calls with another estimator, feed the stored outcomes to a session with the same options and another
``estimator``; no judge is needed.

Lower level: ``bracket_order``, ``quantiles``, ``z_scores``, ``average_ranks``, ``swiss_rewards`` and the estimators
``fit_wins``, ``fit_bt``, ``fit_ls_margin``, ``fit_lmm``, ``estimate_noise`` on :class:`Evidence`.

>>> quality = {"good": 9.0, "fair": 6.0, "poor": 2.0}
>>> judge = lambda call: Outcome(score_first=quality[call.first], score_second=quality[call.second])
>>> result = rank_groups_sync([RankGroup("g", list(quality))], judge, RankOptions(reward="quantile"))[0]
>>> result.rewards
(1.0, 0.5, 0.0)
>>> plan(16).calls, plan(16, RankOptions(method="single_elimination"))
(48, Plan(comparisons=30, calls=60, rounds=5))
"""

from .elimination import bracket_order
from .estimators import Fit, LinearModel, fit_bt, fit_lmm, fit_ls_margin, fit_wins
from .evidence import Evidence
from .noise import estimate_noise
from .rewards import average_ranks, quantiles, swiss_rewards, z_scores
from .run import conclude, plan, rank_group, rank_groups, rank_groups_sync
from .session import Session
from .types import (
    Ask,
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
)

__all__ = [
    "Ask",
    "Call",
    "Evidence",
    "Fit",
    "LinearModel",
    "MatchRecord",
    "Noise",
    "Outcome",
    "Plan",
    "RankGroup",
    "RankOptions",
    "RankResult",
    "RankStats",
    "Ranked",
    "Session",
    "average_ranks",
    "bracket_order",
    "conclude",
    "estimate_noise",
    "fit_bt",
    "fit_lmm",
    "fit_ls_margin",
    "fit_wins",
    "plan",
    "quantiles",
    "rank_group",
    "rank_groups",
    "rank_groups_sync",
    "swiss_rewards",
    "z_scores",
]
