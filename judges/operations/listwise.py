"""Listwise ranking: blocks of a few responses scored together, shuffled between passes, put on one scale.

Each pass cuts a fresh random permutation into blocks. Levels differ from block to block, so each block counts only by
its deviations from its own mean: ridge least squares with block-centred observations.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...schema import RewardStatus
from ..base import Judge
from ..context import Context
from ..types import ErrorInfo, GroupRanking, RankRequest, ResponseGroup, UsageInfo, as_text

if TYPE_CHECKING:
    from ..rubric import Rubric

BLOCK = 4
PASSES = 3
NOISE = 0.55  # variance of one listwise score in units of response quality; only its ratio to the prior's 1 matters


async def rank_listwise(
    judge: Judge, group: ResponseGroup, rubric: Rubric | None, request: RankRequest, context: Context
) -> GroupRanking:
    """Rank a group with ``rounds`` passes (three by default) of blocks of four."""
    from .rank import scored_ranking

    texts = {r.id: as_text(r.response) for r in group.responses}
    first_with: dict[str, str] = {}
    for key, text in texts.items():
        first_with.setdefault(text, key)
    ids = list(first_with.values())
    blocks = blocks_of(sorted(ids), request.rounds or PASSES, request.seed or 0)

    usage = UsageInfo()

    async def ask(block: Sequence[str]) -> dict[str, float] | tuple[RewardStatus, ErrorInfo | None]:
        shown = {key: texts[key] for key in block}
        verdict = await judge.listwise(as_text(group.prompt), shown, group.reference, rubric, context)
        usage.add(verdict.used)
        usage.cache_hits += verdict.cached
        scores = verdict.values["scores"] if verdict.ok and verdict.values else None
        return scores if scores is not None else (verdict.status, verdict.error)

    answers = await asyncio.gather(*(ask(block) for block in blocks)) if len(ids) > 1 else []
    good = [answer for answer in answers if isinstance(answer, dict)]
    theta = centred_fit(ids, good) if good else {}
    if len(ids) == 1:
        theta = {ids[0]: 0.0}
    scores = {key: theta[first_with[text]] for key, text in texts.items() if first_with[text] in theta}
    ranking = scored_ranking(group, scores, request.reward)
    failure = next((a for a in answers if not isinstance(a, dict)), None)
    if failure is not None:
        for row in ranking.ranking:
            if row.reward is None:
                row.status, row.error = failure
    ranking.usage = usage
    ranking.stats = {
        "calls": len(blocks) if len(ids) > 1 else 0,
        "rounds": 1 if len(ids) > 1 else 0,
        "coverage": len(good) / len(blocks) if blocks and len(ids) > 1 else 1.0,
        "failed_calls": len(answers) - len(good),
    }
    return ranking


def blocks_of(ids: Sequence[str], passes: int, seed: int) -> list[list[str]]:
    """Blocks of at most `BLOCK` ids; none of a single id, which would tell nothing."""
    rng = random.Random(f"listwise:{seed}:{len(ids)}")
    blocks = []
    for _ in range(passes):
        order = rng.sample(list(ids), len(ids))
        cut = [order[i : i + BLOCK] for i in range(0, len(order), BLOCK)]
        if len(cut) > 1 and len(cut[-1]) == 1:
            cut[-1].insert(0, cut[-2].pop())
        blocks += cut
    return blocks


def centred_fit(ids: Sequence[str], answers: Sequence[dict[str, float]]) -> dict[str, float]:
    """Quality of every id that occurs, by least squares on deviations from each block's mean.

    Only ids connected to one another through shared blocks can be compared; the largest such set is returned.
    """
    index = {key: i for i, key in enumerate(ids)}
    n = len(ids)
    A, rhs, together = np.eye(n), np.zeros(n), np.eye(n, dtype=bool)
    values = np.array([score for answer in answers for score in answer.values()])
    spread = float(values.std()) or 1.0
    for answer in answers:
        rows = np.array([index[key] for key in answer])
        scores = np.array(list(answer.values())) / spread
        A[np.ix_(rows, rows)] += (np.eye(len(rows)) - 1 / len(rows)) / NOISE
        rhs[rows] += (scores - scores.mean()) / NOISE
        together[np.ix_(rows, rows)] = True
    for _ in range(max(1, n.bit_length())):  # transitive closure by repeated squaring
        together = (together.astype(int) @ together.astype(int)) > 0
    best = max(range(n), key=lambda i: int(together[i].sum()))
    theta = np.linalg.solve(A, rhs)
    members = [i for i in range(n) if together[best, i]]
    return {ids[i]: round(float(theta[i]), 12) for i in members} if len(members) > 1 or n == 1 else {}


def plan_listwise(distinct: int, request: RankRequest) -> tuple[int, int]:
    """Calls and rounds for so many different responses."""
    if distinct < 2:
        return 0, 0
    return len(blocks_of([str(i) for i in range(distinct)], request.rounds or PASSES, request.seed or 0)), 1
