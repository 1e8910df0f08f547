"""`ProgrammaticJudge`: weighted checks, no model. It says of itself that it does not understand text."""

from __future__ import annotations

import asyncio
from typing import Literal

from ..schema import RewardStatus
from .base import Judge, PairQuestion
from .checkers import Check, run_check
from .context import Context, RawVerdict, failed
from .rubric import Criterion, Rubric
from .types import CriterionResult, ErrorInfo, Item, ItemResult, JudgeInfo, as_text

# Checks that may start a process or compute for long; they leave the event loop.
_SLOW = {"regex", "answer", "tests_pass"}


class ProgrammaticJudge(Judge):
    """Scores with the checks of a rubric; compares by those scores, equal scores being a tie.

    A criterion that only a model could judge comes back as ``unsupported`` with no score, and so does the item.

    Args:
        name: name on the server.
        rubric: rubric used when a request names none.
        strategy: ``form`` takes two responses for one strategy when their final answers are written alike, as fits
            tasks whose answer *is* the way (an expression, a route); ``none`` leaves strategies to other judges.
    """

    kind = "programmatic"
    capabilities: tuple[str, ...] = ("score", "compare", "same:answer")

    def __init__(
        self, name: str = "programmatic", rubric: Rubric | None = None, strategy: Literal["none", "form"] = "none"
    ):
        super().__init__(name)
        self.rubric = rubric
        self.strategy = strategy
        if strategy == "form":
            self.capabilities = (*type(self).capabilities, "same:strategy")

    def info(self) -> JudgeInfo:
        """Who this is; ``not_semantic`` is always set."""
        return JudgeInfo(name=self.name, kind=self.kind, capabilities=self.capabilities, not_semantic=True)

    async def score_item(self, item: Item, rubric: Rubric, context: Context, *, sample: int = 0) -> ItemResult:
        """Weighted mean of the checks, on 0 to 1, with the evidence of each."""
        if any(c.check and c.check.get("type") in _SLOW for c in rubric.criteria):
            results = await asyncio.to_thread(check_all, rubric.criteria, item)
        else:
            results = check_all(rubric.criteria, item)
        return combine(item.id, rubric, results)

    async def compare(self, question: PairQuestion, context: Context) -> RawVerdict:
        """Score both sides with the rubric; the higher one wins."""
        rubric = question.rubric or self.rubric
        if rubric is None:
            return failed(RewardStatus.UNSUPPORTED, f"judge {self.name!r} compares by a rubric of checks; give one")
        scores = []
        for text in (question.first, question.second):
            item = Item(id="x", prompt=question.prompt, response=text, reference=question.reference)
            result = await self.score_item(item, rubric, context)
            if result.reward is None:
                return RawVerdict(result.status, error=result.error)
            scores.append(10 * result.reward)
        winner = "tie" if scores[0] == scores[1] else "first" if scores[0] > scores[1] else "second"
        return RawVerdict(RewardStatus.OK, {"winner": winner, "score_first": scores[0], "score_second": scores[1]})

    async def same(self, question: PairQuestion, scope: str, context: Context) -> RawVerdict:
        """Equality of final answers; as strategies, only how they are written. Other scopes need a reader of text."""
        from .answers import final_answer, normalised, same_answer

        if scope == "strategy" and self.strategy == "form":
            first, second = (normalised(final_answer(text)) for text in (question.first, question.second))
            return RawVerdict(RewardStatus.OK, {"p_same": float(first == second)})
        if scope != "answer":
            return failed(RewardStatus.UNSUPPORTED, f"judge {self.name!r} can only compare answers, not {scope}")
        verdict = await asyncio.to_thread(
            lambda: same_answer(final_answer(question.first), final_answer(question.second))
        )
        return RawVerdict(RewardStatus.OK, {"p_same": None if verdict is None else float(verdict)})


def check_all(criteria: tuple[Criterion, ...], item: Item) -> dict[str, Check]:
    """Run every check; criteria without one are ``unsupported``."""
    text = as_text(item.response)
    none = Check(None, "needs a judge that understands text", RewardStatus.UNSUPPORTED)
    return {c.name: run_check(c.check, text, item) if c.check is not None else none for c in criteria}


def combine(
    item_id: str, rubric: Rubric, checks: dict[str, Check], asked: dict[str, float] | None = None
) -> ItemResult:
    """One item's result from its checks and, on the rubric's scale, what a model said of the other criteria.

    A failed ``required`` check outranks everything: the lowest score, whatever the rest. Otherwise every criterion with
    a weight must have a score, or the item has none.
    """
    low, high = rubric.scale
    asked = asked or {}
    rows, flags = [], []
    for criterion in rubric.criteria:
        if criterion.name in asked:
            rows.append(CriterionResult(name=criterion.name, score=asked[criterion.name], weight=criterion.weight))
            continue
        check = checks.get(criterion.name)
        if check is None:  # weight 0 and no check: not asked
            continue
        score = None if check.score is None else low + (high - low) * check.score
        rows.append(
            CriterionResult(
                name=criterion.name, score=score, weight=criterion.weight, evidence=check.evidence, status=check.status
            )
        )
        if criterion.required and check.score is not None and check.score < 1:
            flags.append(f"required:{criterion.name}")
    if flags:
        return ItemResult(id=item_id, status=RewardStatus.OK, score=low, reward=0.0, criteria=rows, flags=flags)
    missing = next((row for row in rows if row.score is None and row.weight > 0), None)
    if missing is not None:
        error = ErrorInfo(code=missing.status.value, message=f"criterion {missing.name!r}: {missing.evidence}")
        return ItemResult(id=item_id, status=missing.status, criteria=rows, error=error)
    total = sum(row.weight for row in rows)
    score = sum(row.weight * row.score for row in rows if row.score is not None) / total
    return ItemResult(id=item_id, status=RewardStatus.OK, score=score, reward=rubric.normalise(score), criteria=rows)
