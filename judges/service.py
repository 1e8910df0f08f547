"""`JudgeService`: named judges and rubrics, and the operations on them. The HTTP server is a thin coat over this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .base import Judge, Runtime
from .context import Context
from .operations import compare, diversity, partition, plan, rank, score, verify
from .problems import Problem, unknown
from .programmatic import ProgrammaticJudge
from .rubric import BUILTIN_RUBRICS, Rubric
from .types import (
    CompareReply,
    CompareRequest,
    DiversityReply,
    DiversityRequest,
    Envelope,
    PartitionReply,
    PartitionRequest,
    PlanReply,
    RankReply,
    RankRequest,
    Reply,
    ScoreReply,
    ScoreRequest,
    VerifyReply,
    VerifyRequest,
)

REQUESTS: dict[str, type[Envelope]] = {
    "score": ScoreRequest,
    "compare": CompareRequest,
    "rank": RankRequest,
    "partition": PartitionRequest,
    "diversity": DiversityRequest,
    "verify": VerifyRequest,
}
"""Operation names and their request models."""


class JudgeService:
    """Judges and rubrics by name, with the operations of the wire schema as coroutines.

    Args:
        judges: at least one; the first is the default unless ``default`` names another.
        default: name of the judge that serves requests without one.
        rubrics: rubrics beyond the built-in ones.
        runtime: cache, log and metrics shared by all judges.
        deadline_s: longest time for any request.
        audit: a second judge that scores a share of the items, to watch the first for drift.
        audit_share: that share, from 0 to 1; which items is decided by their content.
        canary_share: share of the items, picked by content, that bring a canary probe along (see `canary`).
        allow_python: whether ``/v1/verify`` may run Python graders in the sandbox.

    Raises:
        ValueError: two judges of one name, or a default nobody has.
    """

    def __init__(
        self,
        judges: Sequence[Judge] = (),
        *,
        default: str | None = None,
        rubrics: Mapping[str, Rubric] | None = None,
        runtime: Runtime | None = None,
        deadline_s: float = 600.0,
        audit: Judge | None = None,
        audit_share: float = 0.0,
        canary_share: float = 0.0,
        allow_python: bool = False,
    ):
        judges = list(judges) or [ProgrammaticJudge()]
        self.judges = {judge.name: judge for judge in judges}
        if len(self.judges) != len(judges):
            raise ValueError(f"judge names must be distinct; got {[judge.name for judge in judges]}")
        self.default = default or judges[0].name
        if self.default not in self.judges:
            raise ValueError(f"default judge {self.default!r} is not among {sorted(self.judges)}")
        self.rubrics = {**BUILTIN_RUBRICS, **(rubrics or {})}
        self.runtime = runtime or Runtime()
        self.deadline_s = deadline_s
        self.audit = audit
        self.audit_share = audit_share
        self.canary_share = canary_share
        self.allow_python = allow_python
        self.replay_only = False  # answer from the cache alone
        for judge in [*judges, *([audit] if audit else [])]:
            judge.runtime = self.runtime

    def judge_for(self, request: Envelope) -> Judge:
        """The judge a request asks for, or the default."""
        name = request.judge or self.default
        if name not in self.judges:
            raise unknown("judge", name, self.judges)
        return self.judges[name]

    def rubric_for(self, request: Envelope, judge: Judge) -> Rubric:
        """The rubric a request names or carries; a model judge falls back on ``quality``."""
        rubric = request.rubric
        if isinstance(rubric, Rubric):
            return rubric
        if rubric is None:
            own = getattr(judge, "rubric", None)
            if isinstance(own, Rubric):
                return own
            if judge.kind == "programmatic":
                raise Problem(
                    422, "rubric_missing", f"rubric: judge {judge.name!r} needs a rubric of checks, e.g. 'exact'"
                )
            return self.rubrics["quality"]
        if rubric not in self.rubrics:
            raise unknown("rubric", rubric, self.rubrics)
        return self.rubrics[rubric]

    def context(self, request: Envelope, request_id: str = "") -> Context:
        """A fresh context for a request."""
        context = Context.of(request, request_id=request_id, default_deadline_s=self.deadline_s)
        if self.replay_only:
            context.cache = "only"
        return context

    async def score(self, request: ScoreRequest, context: Context | None = None) -> ScoreReply:
        """Score every item on the rubric."""
        return self._signed(
            await score.score(self, request, context := context or self.context(request)), request, context
        )

    async def compare(self, request: CompareRequest, context: Context | None = None) -> CompareReply:
        """Say of each pair which response is better."""
        return self._signed(
            await compare.compare(self, request, context := context or self.context(request)), request, context
        )

    async def rank(self, request: RankRequest, context: Context | None = None) -> RankReply:
        """Order the responses of each group."""
        return self._signed(
            await rank.rank(self, request, context := context or self.context(request)), request, context
        )

    async def partition(self, request: PartitionRequest, context: Context | None = None) -> PartitionReply:
        """Cluster the responses of each group."""
        return self._signed(
            await partition.partition(self, request, context := context or self.context(request)), request, context
        )

    async def diversity(self, request: DiversityRequest, context: Context | None = None) -> DiversityReply:
        """Measure how different texts are."""
        return self._signed(
            await diversity.diversity(self, request, context := context or self.context(request)), request, context
        )

    async def verify(self, request: VerifyRequest, context: Context | None = None) -> VerifyReply:
        """Grade items with a grader object."""
        return self._signed(
            await verify.verify(self, request, context := context or self.context(request)), request, context
        )

    async def run(self, operation: str, request: Envelope, context: Context | None = None) -> Reply:
        """Any operation by its name."""
        if operation not in REQUESTS:
            raise unknown("operation", operation, REQUESTS)
        reply: Reply = await getattr(self, operation)(request, context)
        return reply

    def plan(self, operation: str, request: Envelope) -> PlanReply:
        """What a request would take, without asking anybody."""
        return plan.plan(self, operation, request)

    def _signed(self, reply: Any, request: Envelope, context: Context) -> Any:
        """Fill in who judged, what it took and what to be wary of."""
        judge = self.judge_for(request)
        reply.judge = reply.judge or judge.info()
        reply.usage = context.usage
        reply.warnings = list(dict.fromkeys([*context.warnings, *reply.warnings]))
        if reply.judge.not_semantic:
            reply.warnings.append("a programmatic judge checks form and answers; it does not understand text")
        reply.partial = context.timed_out
        return reply
