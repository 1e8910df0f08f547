"""What a request would take, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..base import Judge
from ..textprep import gate
from ..types import (
    CompareRequest,
    DiversityRequest,
    Envelope,
    Item,
    Pair,
    PartitionRequest,
    PlanReply,
    RankRequest,
    ScoreRequest,
    VerifyRequest,
    as_text,
)
from .compare import comparison_rubric
from .partition import plan_of
from .rank import plan_rank
from .verify import check_grader

if TYPE_CHECKING:
    from ..service import JudgeService

PROMPT_OVERHEAD = 1200  # characters of instructions in every judge prompt, both roles together
REPLY_TOKENS = 200


def plan(service: JudgeService, operation: str, request: Envelope) -> PlanReply:
    """Calls (at most), parallel rounds, and estimated tokens and cost. Cached verdicts make it cheaper."""
    judge = service.judge_for(request)
    calls, rounds, characters = _plan(service, judge, request)
    prompt_tokens, reply_tokens = calls * (characters + PROMPT_OVERHEAD) // 4, calls * REPLY_TOKENS
    price = judge.price_of(prompt_tokens, reply_tokens)
    return PlanReply(
        operation=operation,
        calls=calls,
        rounds=rounds,
        est_tokens=prompt_tokens + reply_tokens,
        est_cost=price,
        judge=judge.info(),
    )


def _plan(service: JudgeService, judge: Judge, request: Any) -> tuple[int, int, int]:
    """Calls, rounds, and mean characters of judged material in a call."""
    if isinstance(request, ScoreRequest):
        rubric = service.rubric_for(request, judge)
        items = [i for i in request.items if isinstance(i, Item) and not (judge.paid and gate(as_text(i.response)))]
        calls = len(items) * request.n_samples * judge.calls_per_item(rubric)
        return calls, int(calls > 0), _mean(len(as_text(i.prompt)) + len(as_text(i.response)) for i in items)
    if isinstance(request, CompareRequest):
        comparison_rubric(service, request, judge)
        pairs = [p for p in request.pairs if isinstance(p, Pair)]
        calls = len(pairs) * (2 if request.order_policy == "both" else 1) if judge.paid else 0
        return calls, int(calls > 0), _mean(len(as_text(p.prompt) + as_text(p.a) + as_text(p.b)) for p in pairs)
    if isinstance(request, VerifyRequest):
        check_grader(request.verifier, service.allow_python)
        calls = len(request.items) * _model_graders(request.verifier) if judge.paid else 0
        items = [i for i in request.items if isinstance(i, Item)]
        return calls, int(calls > 0), _mean(len(as_text(i.prompt)) + len(as_text(i.response)) for i in items)
    if isinstance(request, RankRequest):
        rubric_or_none = comparison_rubric(service, request, judge)  # type: ignore[arg-type]
        guidance = service.rubric_for(request, judge) if request.method == "pointwise" else rubric_or_none
        calls, rounds = plan_rank(judge, request, guidance)
        return (calls if judge.paid else 0), rounds, _group_characters(request)
    if isinstance(request, PartitionRequest):
        calls, rounds = plan_of(judge, request)
        return (calls if judge.paid else 0), rounds, _group_characters(request)
    assert isinstance(request, DiversityRequest)
    return 0, 0, 0


def _model_graders(grader: dict[str, Any]) -> int:
    if grader.get("type") == "multi":
        return sum(_model_graders(inner) for inner in grader["graders"].values())
    return int(grader.get("type") in ("score_model", "label_model"))


def _group_characters(request: RankRequest | PartitionRequest) -> int:
    return _mean(
        len(as_text(group.prompt)) + 2 * len(as_text(response.response))
        for group in request.all_groups
        for response in group.responses
    )


def _mean(values: Iterable[int]) -> int:
    rows = list(values)
    return sum(rows) // len(rows) if rows else 0
