"""Diversity of a set of texts: cluster counts and entropies, pairwise difference, and measures of the surface."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from ...schema import RewardStatus
from ..context import Context
from ..diversity import METRICS
from ..diversity import diversity as measure
from ..problems import Problem, unknown
from ..types import DiversityReply, DiversityRequest, PartitionRequest, Response, ResponseGroup, as_text
from .partition import partition

if TYPE_CHECKING:
    from ..service import JudgeService

_PLACED = (RewardStatus.OK, RewardStatus.DEGENERATE)
_SURFACE = {"self_bleu", "distinct_1", "distinct_2"}


async def diversity(service: JudgeService, request: DiversityRequest, context: Context) -> DiversityReply:
    """Measure; the judge is asked for a partition only when a metric needs clusters or pair probabilities."""
    for name in request.metrics:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    group = request.group or ResponseGroup(
        responses=[Response(id=str(i), response=text) for i, text in enumerate(request.texts or [])]
    )
    if group.unread:
        worst = next(iter(group.unread.values()))
        raise Problem(422, "invalid_request", f"group.responses: {worst.id!r}: {worst.message}")
    texts = [as_text(r.response) for r in group.responses]
    wanted = request.metrics or list(METRICS)
    reply = DiversityReply()
    labels: list[int | None] | None = None
    p_same = None
    judge = service.judge_for(request)
    if set(wanted) - _SURFACE and len(texts) > 1:
        if f"same:{request.scope}" not in judge.capabilities:
            reply.warnings.append(f"judge {judge.name!r} cannot tell scope {request.scope!r}: no cluster metrics")
        else:
            asked = PartitionRequest(group=group, scope=request.scope, seed=request.seed, budget=request.budget)
            found = await partition(service, asked, context)
            labels = found.labels
            p_same = np.full((len(texts), len(texts)), np.nan)
            np.fill_diagonal(p_same, 1.0)
            for i, j, p in found.p_same or []:
                p_same[i, j] = p_same[j, i] = p
            reply.stats = found.stats
            unplaced = [row.id for row in found.items or [] if row.status not in _PLACED]
            if unplaced:
                reply.warnings.append(f"{len(unplaced)} of {len(texts)} texts could not be placed; no cluster metrics")
                reply.status = next(i.status for i in found.items or [] if i.id == unplaced[0])
                labels = p_same = None
    alpha = {} if request.alpha is None else {"alpha": request.alpha}
    report = await asyncio.to_thread(lambda: measure(texts, labels, p_same, wanted, **alpha))
    if report.status == "degenerate":
        reply.status = RewardStatus.DEGENERATE
    reply.metrics = report.metrics
    return reply
