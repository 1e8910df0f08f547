"""Pointwise scores: every item on its own, several samples combined, a share audited by a second judge."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...schema import RewardStatus
from ..base import Judge
from ..context import Context
from ..rubric import Rubric
from ..textprep import nonce_of
from ..types import BadItem, ErrorInfo, Item, ItemResult, ScoreReply, ScoreRequest, as_text

if TYPE_CHECKING:
    from ..service import JudgeService

_COMBINE: dict[str, Callable[[list[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
}


async def score(service: JudgeService, request: ScoreRequest, context: Context) -> ScoreReply:
    """Score all items concurrently; one that fails leaves the others alone."""
    judge = service.judge_for(request)
    rubric = service.rubric_for(request, judge)

    async def one(item: Item | BadItem) -> ItemResult:
        if isinstance(item, BadItem):
            result = bad_item(item)
        elif request.n_samples == 1:
            result = await guarded(judge, item, rubric, context)
        else:
            results = await asyncio.gather(
                *(guarded(judge, item, rubric, context, sample) for sample in range(request.n_samples))
            )
            result = _aggregate(results, request.aggregate)
        context.finished(result)
        return result

    results = await asyncio.gather(*(one(item) for item in request.items))
    reply = ScoreReply(results=list(results))
    reply.stats = _length_correlation(request, reply.results)
    if service.audit is not None and service.audit_share > 0:
        reply.stats |= await _audit(service, request, rubric, reply.results, context)
    if judge.paid and service.canary_share > 0:
        reply.stats |= await _canaries(service, judge, request, rubric, context)
    return reply


def bad_item(item: BadItem) -> ItemResult:
    """The result of an item that could not be read."""
    error = ErrorInfo(code="invalid_input", message=item.message)
    return ItemResult(id=item.id, status=RewardStatus.INVALID_INPUT, error=error)


async def guarded(judge: Judge, item: Item, rubric: Rubric, context: Context, sample: int = 0) -> ItemResult:
    """Score one item; whatever goes wrong inside the judge is this item's error alone."""
    try:
        return await judge.score_item(item, rubric, context, sample=sample)
    except Exception as error:  # the boundary to judges other people write
        info = ErrorInfo(code="judge_failed", message=f"judge {judge.name!r}: {type(error).__name__}: {error}"[:300])
        return ItemResult(id=item.id, status=RewardStatus.UPSTREAM_ERROR, error=info)


def _aggregate(results: list[ItemResult], how: str) -> ItemResult:
    """Combine the samples that came to a score; with none, the first failure stands."""
    good = [r for r in results if r.score is not None and r.reward is not None]
    base = (good or results)[0].model_copy(deep=True)
    base.samples = [r.score for r in results]
    base.calls = sum(r.calls for r in results)
    if not good:
        return base
    base.score = _COMBINE[how]([r.score for r in good if r.score is not None])
    base.reward = _COMBINE[how]([r.reward for r in good if r.reward is not None])
    for index, criterion in enumerate(base.criteria):
        values = [score for r in good if (score := r.criteria[index].score) is not None]
        if values:
            criterion.score = _COMBINE[how](values)
    if len(good) < len(results):
        base.flags.append(f"samples_failed:{len(results) - len(good)}")
    return base


def _length_correlation(request: ScoreRequest, results: list[ItemResult]) -> dict[str, float]:
    """Pearson correlation of score and response length over this batch, when there is anything to correlate."""
    length = {item.id: float(len(as_text(item.response))) for item in request.items if isinstance(item, Item)}
    rows = [(length[r.id], r.score) for r in results if r.score is not None and r.id in length]
    if len(rows) < 3:
        return {}
    x, y = zip(*rows, strict=True)
    if len(set(x)) < 2 or len(set(y)) < 2:
        return {}
    return {"length_correlation": statistics.correlation(x, y)}


async def _canaries(
    service: JudgeService, judge: Judge, request: ScoreRequest, rubric: Rubric, context: Context
) -> dict[str, float]:
    """One probe for a share of the items picked by their content; a failed one is a warning and changes no score."""
    from ..canary import PROBES, probe

    picks = [int(nonce_of("canary", i.id, as_text(i.response)), 16) for i in request.items if isinstance(i, Item)]
    chosen = {PROBES[pick % len(PROBES)] for pick in picks if (pick >> 8) / 2**56 < service.canary_share}
    found = await probe(judge, rubric, context, [p for p in PROBES if p in chosen])
    for result in found:
        if service.runtime.observer is not None:
            service.runtime.observer.canary(judge.name, result.name, result.passed)
        if result.passed is False:
            before = "" if result.plain is None else f" instead of {result.plain:.2f}"
            context.warnings.append(
                f"judge {judge.name!r} fell for canary {result.name!r}: reward {result.attacked:.2f}{before}"
            )
    failed = sum(result.passed is False for result in found)
    return {"canaries": float(len(found)), "canaries_failed": float(failed)} if found else {}


async def _audit(
    service: JudgeService, request: ScoreRequest, rubric: Rubric, results: list[ItemResult], context: Context
) -> dict[str, float]:
    """Mean absolute difference from the second judge, on a share of the items picked by their content."""
    assert service.audit is not None
    rewards = {r.id: r.reward for r in results if r.status is RewardStatus.OK}
    picked = [
        item
        for item in request.items
        if isinstance(item, Item)
        and rewards.get(item.id) is not None
        and int(nonce_of(item.id, as_text(item.response)), 16) / 16**16 < service.audit_share
    ]
    second = await asyncio.gather(*(guarded(service.audit, item, rubric, context) for item in picked))
    gaps = [abs(r.reward - first) for r in second if r.reward is not None and (first := rewards[r.id]) is not None]
    return {"audited": float(len(gaps)), "audit_drift": statistics.fmean(gaps)} if gaps else {"audited": 0.0}
