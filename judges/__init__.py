"""Judges: rewards for single responses and for whole groups, in this process or from a judge server over HTTP.

A failure is never a score. Every result has an id and a status; its reward is None unless it was really judged.

The client, for trainers (all methods are coroutines; each has a blocking twin ending in ``_sync``)::

    JudgeClient(url="http://127.0.0.1:8400", *, token=None, judge=None, run_id=None,
                connect_s=5.0, read_s=120.0, deadline_s=300.0, max_attempts=3)

    score(items: Group | Sequence[Group] | Sequence[Item | dict], rubric: str | Rubric | dict | None = None, *,
          n_samples=1, aggregate="mean", judge=None, budget=None, cache="use", seed=None, deadline_s=None)
        -> list[RewardResult]                 one per rollout or item, in input order, matched by id
    rank(group: Group | Sequence[Group] | ResponseGroup | dict, *, method="auto", estimator="auto", order_policy=None,
         reward="quantile_z", degree=None, rounds=None, anchor_id=None, judge=..., budget=..., ...)
        -> list[RewardResult]                 with .rank (1 is best, ties share) and .reward
    ranking(the same)
        -> RankReply                          .groups: one `GroupRanking` each, with .results(), .matches, .byes, .stats
    partition(group: Group | ResponseGroup | dict, scope="answer" | "semantic" | "strategy", *, method="auto",
              threshold=None, correct: Mapping[str, bool] | None = None, max_repair_calls=0, alpha=1.0, ...)
        -> Partition                          .labels {rollout_id: int | None}, .clusters, .darling and .uniqueness
                                              {rollout_id: float | None}, .results: list[RewardResult] with .cluster
                                              (a sequence of groups gives a list of Partition)
    compare(pairs) -> list[PairResult];  diversity(texts or group, metrics=...) -> DiversityReply;
    verify(items, verifier) -> list[VerifyResult];  plan(operation, request) -> PlanReply;
    judges() -> list[JudgeInfo];  health() -> bool;  aclose(); also ``async with JudgeClient(...)``
    account.metrics() -> dict[str, float]     calls, tokens, dollars, failures, position bias, ties so far

A `palaestra.schema.Group` is sent with its task's prompt and, as the reference, its task's answer; the rollouts' own
ids come back as ``rollout_id``. What can go wrong as a whole is raised: `JudgeUnavailable` (server down or draining
after retries), `JudgeTimeout`, `JudgeAuthError`, `JudgeRequestError` (the request itself is wrong, ``.details``),
`JudgeProtocolError` (the reply is not ours); all are `JudgeError` with ``.code`` and ``.retryable``. What goes wrong
for one item is that item's status.

In process, without a server: `JudgeService` has the same operations on the same request models::

    service = JudgeService([ProgrammaticJudge(), LLMJudge("grader", OpenAIModel("qwen", base_url=...))])
    reply = await service.score(ScoreRequest(items=[...], rubric="exact"))

For tests: `palaestra.judges.testing.FakeOpenAI`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_LAZY = {
    "JudgeClient": ".client",
    "Partition": ".results",
    "JudgeAuthError": ".errors",
    "JudgeError": ".errors",
    "JudgeProtocolError": ".errors",
    "JudgeRequestError": ".errors",
    "JudgeTimeout": ".errors",
    "JudgeUnavailable": ".errors",
    "LLMJudge": ".llm",
    "JudgePrompt": ".prompts",
    "ProgrammaticJudge": ".programmatic",
    "Criterion": ".rubric",
    "Rubric": ".rubric",
    "JudgeService": ".service",
    "Budget": ".types",
    "CompareRequest": ".types",
    "DiversityRequest": ".types",
    "Item": ".types",
    "PartitionRequest": ".types",
    "RankRequest": ".types",
    "Response": ".types",
    "ResponseGroup": ".types",
    "ScoreRequest": ".types",
    "VerifyRequest": ".types",
}

__all__ = [
    "Budget",
    "CompareRequest",
    "Criterion",
    "DiversityRequest",
    "Item",
    "JudgeAuthError",
    "JudgeClient",
    "JudgeError",
    "JudgePrompt",
    "JudgeProtocolError",
    "JudgeRequestError",
    "JudgeService",
    "JudgeTimeout",
    "JudgeUnavailable",
    "LLMJudge",
    "Partition",
    "PartitionRequest",
    "ProgrammaticJudge",
    "RankRequest",
    "Response",
    "ResponseGroup",
    "Rubric",
    "ScoreRequest",
    "VerifyRequest",
]

if TYPE_CHECKING:
    from .client import JudgeClient
    from .errors import (
        JudgeAuthError,
        JudgeError,
        JudgeProtocolError,
        JudgeRequestError,
        JudgeTimeout,
        JudgeUnavailable,
    )
    from .llm import LLMJudge
    from .programmatic import ProgrammaticJudge
    from .prompts import JudgePrompt
    from .results import Partition
    from .rubric import Criterion, Rubric
    from .service import JudgeService
    from .types import (
        Budget,
        CompareRequest,
        DiversityRequest,
        Item,
        PartitionRequest,
        RankRequest,
        Response,
        ResponseGroup,
        ScoreRequest,
        VerifyRequest,
    )


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name], __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
