"""The wire schema, version 1: replies. Every result carries an ``id`` and a ``status``; ``reward`` is None unless the
status says it was really judged. `palaestra.judges.types` hands these out together with the requests.
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..lm_types import Usage
from ..schema import Feedback, RewardResult, RewardStatus


class Answer(BaseModel):
    """Base of replies; clients of an older version ignore what they do not know."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class ErrorInfo(Answer):
    """Why something failed."""

    code: str
    message: str
    retryable: bool = False
    details: Any = None
    request_id: str | None = None


def unread(message: str) -> ErrorInfo:
    """The error of something that could not be read."""
    return ErrorInfo(code="invalid_input", message=message)


class JudgeInfo(Answer):
    """Who judged."""

    name: str
    kind: str
    model: str | None = None
    revision: str | None = None
    capabilities: tuple[str, ...] = ()
    not_semantic: bool = False


class UsageInfo(Answer):
    """What it took."""

    calls: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    def add(self, spent: Usage | UsageInfo) -> None:
        """Add what something else took."""
        self.calls += spent.calls
        self.prompt_tokens += spent.prompt_tokens
        self.completion_tokens += spent.completion_tokens
        self.cache_hits += spent.cache_hits if isinstance(spent, UsageInfo) else 0
        if spent.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + spent.cost_usd


class CriterionResult(Answer):
    """Score of one criterion on the rubric's scale; None with the reason in ``status``."""

    name: str
    score: float | None
    weight: float
    evidence: str | None = None
    status: RewardStatus = RewardStatus.OK


class ItemResult(Answer):
    """Outcome for one id."""

    id: str
    status: RewardStatus
    score: float | None = None
    reward: float | None = None
    criteria: list[CriterionResult] = Field(default_factory=list)
    samples: list[float | None] | None = None
    feedback: list[Feedback] = Field(default_factory=list)
    cached: bool = False
    calls: int = 0
    truncated: bool | None = None
    kept_chars: int | None = None
    flags: list[str] = Field(default_factory=list)
    error: ErrorInfo | None = None

    @model_validator(mode="after")
    def _failure_is_not_a_score(self) -> ItemResult:
        if self.status not in (RewardStatus.OK, RewardStatus.GATED, RewardStatus.DEGENERATE):
            self.score = self.reward = None
        return self


class Reply(Answer):
    """What every reply carries."""

    id: str = Field(default_factory=lambda: f"judge-{uuid.uuid4().hex[:12]}")
    judge: JudgeInfo | None = None
    usage: UsageInfo = Field(default_factory=UsageInfo)
    warnings: list[str] = Field(default_factory=list)
    stats: dict[str, Any] = Field(default_factory=dict)
    partial: bool = False


class ScoreReply(Reply):
    """One result per item, in the order of the request."""

    results: list[ItemResult]


class OrderResult(Answer):
    """One call of a comparison."""

    first: Literal["a", "b"]
    winner: Literal["a", "b", "tie"] | None
    score_first: float | None = None
    score_second: float | None = None
    status: RewardStatus = RewardStatus.OK


class PairResult(Answer):
    """Outcome of one pair over the orders it was shown in."""

    id: str
    status: RewardStatus
    winner: Literal["a", "b", "tie"] | None = None
    score_a: float | None = None
    score_b: float | None = None
    p_a: float | None = None
    orders: list[OrderResult] = Field(default_factory=list)
    consistent: bool | None = None
    flags: list[str] = Field(default_factory=list)
    error: ErrorInfo | None = None


class CompareReply(Reply):
    """One result per pair; ``stats`` has ``p_first``, ``tie_rate`` and ``inconsistent_rate``."""

    results: list[PairResult]


class RankedResponse(Answer):
    """Place of one response; rank 1 is best, ties share the average."""

    id: str
    rank: float | None
    theta: float | None = None
    stderr: float | None = None
    reward: float | None = None
    status: RewardStatus = RewardStatus.OK
    wins: float = 0
    losses: float = 0
    ties: float = 0
    flags: list[str] = Field(default_factory=list)
    error: ErrorInfo | None = None

    def result(self) -> RewardResult:
        """The same as a trainer's `RewardResult`."""
        found = {"theta": self.theta, "stderr": self.stderr}
        return RewardResult(
            rollout_id=self.id, status=self.status, reward=self.reward if self.rank is not None else None,
            rank=self.rank, scores={k: v for k, v in found.items() if v is not None},
            error=self.error.message if self.error else None,
        )  # fmt: skip


class MatchResult(Answer):
    """One judge call of a ranking. The calls of one comparison in both orders share ``comparison``."""

    id: str = ""
    """Unique inside the group, in the order of asking."""
    comparison: int = 0
    round: int = 0
    """Parallel round, from 0; a later round was drawn knowing the earlier ones."""
    stage: str | None = None
    """Part of a tournament: ``seeding``, ``bracket``, ``winners``, ``losers`` or ``final``; None for designs."""
    a: str
    b: str
    first: str
    """Id of the response that was shown first."""
    winner: str | None
    """Id of the better response, ``tie``, or None when the call failed."""
    score_a: float | None = None
    score_b: float | None = None
    margin: float | None = None
    """``score_a - score_b``; None for a judge that gives verdicts only."""
    status: RewardStatus = RewardStatus.OK
    error: str | None = None
    cached: bool = False
    calls: int = 0
    """Requests to the model this call took, retries and a repair turn included; 0 when it was in the cache."""


class SitOut(Answer):
    """A response without an opponent in one round of a tournament: it goes on, and that is no evidence."""

    id: str
    round: int
    stage: str | None = None


class GroupRanking(Answer):
    """Ranking of one group, complete enough to be kept with its rollouts and drawn later.

    ``rewards`` and ``ranking`` are in the order of the group's responses.
    """

    id: str
    rewards: list[float | None]
    ranking: list[RankedResponse]
    matches: list[MatchResult] = Field(default_factory=list)
    byes: list[SitOut] = Field(default_factory=list)
    stats: dict[str, Any] = Field(default_factory=dict)
    usage: UsageInfo = Field(default_factory=UsageInfo)
    """What this group took; the reply's ``usage`` is that of all groups."""
    judge: JudgeInfo | None = None
    error: ErrorInfo | None = None
    """Why the whole group could not be read; it has no ranking then."""

    def results(self) -> list[RewardResult]:
        """One result a response, as trainers take them."""
        return [row.result() for row in self.ranking]


class RankReply(Reply):
    """The ranking of ``group``, or one entry per group in ``groups``."""

    rewards: list[float | None] | None = None
    ranking: list[RankedResponse] | None = None
    matches: list[MatchResult] | None = None
    byes: list[SitOut] | None = None
    groups: list[GroupRanking] | None = None


class PartitionItem(Answer):
    """Whether a response could be placed."""

    id: str
    status: RewardStatus
    flags: list[str] = Field(default_factory=list)
    error: ErrorInfo | None = None


class GroupPartition(Answer):
    """Clusters of one group. A response that could not be placed has label and rewards None."""

    id: str
    labels: list[int | None]
    clusters: list[list[str]]
    p_same: list[tuple[int, int, float]] | None = None
    rewards: dict[str, list[float | None]] = Field(default_factory=dict)
    items: list[PartitionItem] = Field(default_factory=list)
    stats: dict[str, Any] = Field(default_factory=dict)
    error: ErrorInfo | None = None
    """Why the whole group could not be read; it has no labels then."""


class PartitionReply(Reply):
    """The partition of ``group``, or one entry per group in ``groups``."""

    labels: list[int | None] | None = None
    clusters: list[list[str]] | None = None
    p_same: list[tuple[int, int, float]] | None = None
    rewards: dict[str, list[float | None]] | None = None
    items: list[PartitionItem] | None = None
    groups: list[GroupPartition] | None = None


class DiversityReply(Reply):
    """Metrics by name; ``status`` is ``degenerate`` for a single text."""

    status: RewardStatus = RewardStatus.OK
    metrics: dict[str, Any] = Field(default_factory=dict)


class VerifyResult(ItemResult):
    """An item result with the grader's error booleans."""

    errors: dict[str, bool] = Field(default_factory=dict)
    sub_rewards: dict[str, float | None] = Field(default_factory=dict)


class VerifyReply(Reply):
    """One result per item."""

    results: list[VerifyResult]


class PlanReply(Answer):
    """What a request would cost, without sending anything."""

    operation: str
    calls: int
    rounds: int
    est_tokens: int
    est_cost: float | None = None
    judge: JudgeInfo | None = None
