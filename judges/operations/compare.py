"""Pairwise verdicts: both orders, one order by lot, or as given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from ...schema import RewardStatus
from ..base import Judge, PairQuestion
from ..context import Context, RawVerdict
from ..rubric import Rubric
from ..textprep import gate, nonce_of, suspicion_flags
from ..types import BadItem, CompareReply, CompareRequest, ErrorInfo, OrderResult, Pair, PairResult, as_text

if TYPE_CHECKING:
    from ..service import JudgeService

Side = Literal["a", "b"]
Winner = Literal["a", "b", "tie"]
OTHER: dict[str, Side] = {"a": "b", "b": "a"}


async def compare(service: JudgeService, request: CompareRequest, context: Context) -> CompareReply:
    """Compare all pairs concurrently."""
    judge = service.judge_for(request)
    rubric = comparison_rubric(service, request, judge)

    async def one(index: int, pair: Pair | BadItem) -> PairResult:
        if isinstance(pair, BadItem):
            info = ErrorInfo(code="invalid_input", message=pair.message)
            result = PairResult(id=pair.id, status=RewardStatus.INVALID_INPUT, error=info)
        else:
            orders = orders_of(request.order_policy, index, pair, context.seed)
            result = await _one_pair(judge, rubric, pair, orders, request.allow_tie, context)
        context.finished(result)
        return result

    results = await asyncio.gather(*(one(i, pair) for i, pair in enumerate(request.pairs)))
    return CompareReply(results=list(results), stats=comparison_stats(list(results)))


def comparison_rubric(service: JudgeService, request: CompareRequest, judge: Judge) -> Rubric | None:
    """Guidance for comparisons; a programmatic judge cannot do without."""
    if request.rubric is None and judge.kind != "programmatic":
        return None
    return service.rubric_for(request, judge)


def orders_of(policy: str, index: int, pair: Pair, seed: int) -> list[Side]:
    """Which side is shown first in each call."""
    if policy == "both":
        return ["a", "b"]
    if policy == "balanced_single":
        return ["a" if index % 2 == 0 else "b"]
    if policy == "random_single":
        return ["a" if int(nonce_of(str(seed), pair.id), 16) % 2 == 0 else "b"]
    return ["a"]


async def _one_pair(
    judge: Judge, rubric: Rubric | None, pair: Pair, orders: list[Side], allow_tie: bool, context: Context
) -> PairResult:
    texts = {"a": as_text(pair.a), "b": as_text(pair.b)}
    flags = sorted({f"{side}:{flag}" for side, text in texts.items() for flag in suspicion_flags(text)})
    flags += [f"{side}:truncated" for side, response in (("a", pair.a), ("b", pair.b)) if judge.cuts(response)]
    gated = {side: gate(text) for side, text in texts.items()}
    if judge.paid and any(gated.values()):
        # Nothing to ask: a response without content loses to any other, two such are equal.
        winner: Winner = "tie" if all(gated.values()) else "b" if gated["a"] else "a"
        return PairResult(
            id=pair.id, status=RewardStatus.GATED, winner=winner, p_a={"a": 1.0, "b": 0.0}.get(winner, 0.5),
            flags=[*flags, *(f"{side}:gated" for side, reason in gated.items() if reason)],
        )  # fmt: skip

    async def ask(first: Side) -> tuple[Side, RawVerdict]:
        question = PairQuestion(
            prompt=as_text(pair.prompt), first=texts[first], second=texts[OTHER[first]], reference=pair.reference,
            allow_tie=allow_tie, rubric=rubric,
            sources=(pair.a, pair.b) if first == "a" else (pair.b, pair.a),
            tag={"op": "compare", "pair": pair.id, "first": first},
        )  # fmt: skip
        return first, await safe_compare(judge, question, context)

    verdicts = await asyncio.gather(*(ask(first) for first in orders))
    result = combine_orders(pair.id, verdicts)
    result.flags = [*flags, *result.flags]
    return result


async def safe_compare(judge: Judge, question: PairQuestion, context: Context) -> RawVerdict:
    """`Judge.compare` whose exceptions are this one call's failure."""
    try:
        return await judge.compare(question, context)
    except Exception as error:  # the boundary to judges other people write
        info = ErrorInfo(code="judge_failed", message=f"{type(error).__name__}: {error}"[:300])
        return RawVerdict(RewardStatus.UPSTREAM_ERROR, error=info)


def combine_orders(pair_id: str, verdicts: list[tuple[Side, RawVerdict]]) -> PairResult:
    """One result from the calls of a pair. With scores their sums decide; without, disagreement is a tie."""
    orders: list[OrderResult] = []
    totals, votes = {"a": 0.0, "b": 0.0}, []
    good: list[Winner] = []
    graded = True
    for first, verdict in verdicts:
        values = verdict.values if verdict.ok else None
        if values is None:
            orders.append(OrderResult(first=first, winner=None, status=verdict.status))
            continue
        named: dict[str, Winner] = {"first": first, "second": OTHER[first]}
        winner = named.get(values["winner"], "tie")
        one, two = values.get("score_first"), values.get("score_second")
        orders.append(OrderResult(first=first, winner=winner, score_first=one, score_second=two))
        good.append(winner)
        votes.append({"a": 1.0, "b": 0.0}.get(winner, 0.5))
        if one is None or two is None:
            graded = False
        else:
            totals[first] += one
            totals[OTHER[first]] += two
    if not good:
        failure = verdicts[0][1]
        return PairResult(id=pair_id, status=failure.status, orders=orders, error=failure.error)
    share = sum(votes) / len(votes)
    result = PairResult(id=pair_id, status=RewardStatus.OK, p_a=share, orders=orders)
    if graded:
        result.score_a, result.score_b = totals["a"] / len(good), totals["b"] / len(good)
    if len(good) == 1:
        result.winner = good[0]
    elif graded and totals["a"] != totals["b"]:
        result.winner = "a" if totals["a"] > totals["b"] else "b"
    elif graded or share == 0.5:
        result.winner = "tie"
    else:
        result.winner = "a" if share > 0.5 else "b"
    if len(verdicts) == 2:
        result.consistent = good[0] == good[1] if len(good) == 2 else None
        if len(good) < 2:
            result.flags.append("one_order_failed")
    return result


def comparison_stats(results: list[PairResult]) -> dict[str, float | None]:
    """Share of decisive calls won by the first slot, of ties among calls, and of pairs whose orders disagree."""
    calls = [order for result in results for order in result.orders if order.winner is not None]
    decisive = [order for order in calls if order.winner != "tie"]
    both = [result.consistent for result in results if result.consistent is not None]
    return {
        "p_first": sum(o.winner == o.first for o in decisive) / len(decisive) if decisive else None,
        "tie_rate": 1 - len(decisive) / len(calls) if calls else None,
        "inconsistent_rate": 1 - sum(both) / len(both) if both else None,
    }
