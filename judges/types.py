"""The wire schema, version 1: every request of the judge server, and with `palaestra.judges.replies` every reply.

The Python API takes and returns the same models. Requests are strict: an unknown key is an error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..schema import Message, clean_text
from .replies import (
    Answer,
    CompareReply,
    CriterionResult,
    DiversityReply,
    ErrorInfo,
    GroupPartition,
    GroupRanking,
    ItemResult,
    JudgeInfo,
    MatchResult,
    OrderResult,
    PairResult,
    PartitionItem,
    PartitionReply,
    PlanReply,
    RankedResponse,
    RankReply,
    Reply,
    ScoreReply,
    SitOut,
    UsageInfo,
    VerifyReply,
    VerifyResult,
)
from .rubric import Rubric

__all__ = [
    "MAX_GROUP",
    "MAX_ITEMS",
    "MAX_TEXT",
    "SCHEMA_VERSION",
    "Answer",
    "BadItem",
    "Budget",
    "CacheMode",
    "CompareReply",
    "CompareRequest",
    "CriterionResult",
    "DiversityReply",
    "DiversityRequest",
    "Envelope",
    "ErrorInfo",
    "Estimator",
    "GroupPartition",
    "GroupRanking",
    "GroupRequest",
    "Identifier",
    "Item",
    "ItemResult",
    "JudgeInfo",
    "MatchResult",
    "OrderPolicy",
    "OrderResult",
    "Pair",
    "PairResult",
    "PartitionItem",
    "PartitionMethod",
    "PartitionReply",
    "PartitionRequest",
    "PlanReply",
    "RankMethod",
    "RankReply",
    "RankRequest",
    "RankedResponse",
    "Reply",
    "Response",
    "ResponseGroup",
    "RewardForm",
    "Scope",
    "ScoreReply",
    "ScoreRequest",
    "SitOut",
    "Text",
    "UsageInfo",
    "VerifyReply",
    "VerifyRequest",
    "VerifyResult",
    "Wire",
    "as_text",
    "explain",
]

SCHEMA_VERSION = 1
MAX_TEXT = 4 * 2**20
MAX_ITEMS = 4096
MAX_GROUP = 128

OrderPolicy = Literal["both", "random_single", "balanced_single", "given"]
RankMethod = Literal[
    "auto", "balanced", "adaptive", "round_robin", "anchor", "single_elimination", "double_elimination", "swiss",
    "listwise", "pointwise",
]  # fmt: skip
Estimator = Literal["auto", "wins", "bt", "ls_margin", "lmm"]
RewardForm = Literal["quantile_z", "quantile", "theta_z", "theta"]
PartitionMethod = Literal["auto", "greedy_vote", "corr_cluster", "union_find", "average_linkage", "one_shot"]
Scope = Literal["answer", "semantic", "strategy"]
CacheMode = Literal["use", "refresh", "off", "only"]


class Wire(BaseModel):
    """Strict base of requests."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _text_or_messages(value: Any) -> Any:
    return clean_text(value) if isinstance(value, str) else value


Text = Annotated[
    Annotated[str, Field(max_length=MAX_TEXT)] | tuple[Message, ...],
    BeforeValidator(_text_or_messages),
]
Identifier = Annotated[str, Field(min_length=1, max_length=256), BeforeValidator(_text_or_messages)]


def as_text(value: str | tuple[Message, ...]) -> str:
    """The text of a prompt or response; messages are written out with their roles unless there is only one."""
    if isinstance(value, str):
        return value
    if len(value) == 1:
        return value[0].text
    return "\n\n".join(f"{m.role}: {m.text}" for m in value)


class Budget(Wire):
    """Most judge calls, tokens and dollars a request may use; checked before each call is sent."""

    max_calls: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    max_cost_usd: float | None = Field(default=None, ge=0)


class Envelope(Wire):
    """What every request may carry."""

    run_id: str | None = Field(default=None, max_length=200)
    request_id: str | None = Field(default=None, max_length=200)
    judge: str | None = None
    rubric: str | Rubric | None = None
    deadline_ms: int | None = Field(default=None, gt=0)
    budget: Budget | None = None
    cache: CacheMode = "use"
    seed: int | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class Item(Wire):
    """One prompt with one response to be judged; ``reference`` is the known right answer, for the judge only."""

    id: Identifier
    prompt: Text = ""
    response: Text
    reference: Any = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class BadItem(BaseModel):
    """Stands where an item could not be read, so that its siblings are judged all the same."""

    id: str
    message: str


def _lenient(model: type[BaseModel]) -> Any:
    def read(rows: Any) -> Any:
        if not isinstance(rows, (list, tuple)):
            return rows
        read_rows: list[Any] = []
        for index, row in enumerate(rows):
            try:
                read_rows.append(row if isinstance(row, model) else model.model_validate(row))
            except ValidationError as error:
                known = row.get("id") if isinstance(row, dict) else None
                name = clean_text(known) if isinstance(known, str) and known else f"#{index}"
                read_rows.append(BadItem(id=name[:256], message=explain(error)))
        return read_rows

    return BeforeValidator(read)


def explain(error: ValidationError) -> str:
    """A validation error in one line: field, problem; the input itself is not repeated."""
    return "; ".join(
        f"{'.'.join(str(part) for part in row['loc']) or 'item'}: {row['msg']}"
        for row in error.errors(include_input=False, include_url=False)[:4]
    )


def _no_twins(rows: list[Any], where: str) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise ValueError(f"{where}: id {row.id!r} occurs twice; results are matched by id, so ids must be unique")
        seen.add(row.id)


class ScoreRequest(Envelope):
    """Score every item on a rubric."""

    items: Annotated[list[Item | BadItem], _lenient(Item), Field(max_length=MAX_ITEMS)]
    n_samples: int = Field(default=1, ge=1, le=64)
    aggregate: Literal["mean", "median", "min"] = "mean"

    @model_validator(mode="after")
    def _ids(self) -> ScoreRequest:
        _no_twins(self.items, "items")
        return self


class Pair(Wire):
    """Two responses to one prompt."""

    id: Identifier
    prompt: Text = ""
    a: Text
    b: Text
    reference: Any = None


class CompareRequest(Envelope):
    """Say of each pair which response is better."""

    pairs: Annotated[list[Pair | BadItem], _lenient(Pair), Field(max_length=MAX_ITEMS)]
    order_policy: OrderPolicy = "both"
    allow_tie: bool = True

    @model_validator(mode="after")
    def _ids(self) -> CompareRequest:
        _no_twins(self.pairs, "pairs")
        return self


class Response(Wire):
    """One response of a group."""

    id: Identifier
    response: Text
    score_hint: float | None = None
    correct: bool | None = None
    """Whether it is verified to be right; used by partitions of scope ``strategy``."""


class ResponseGroup(Wire):
    """The responses to one prompt."""

    id: Identifier = "group"
    prompt: Text = ""
    reference: Any = None
    responses: list[Response] = Field(min_length=1, max_length=MAX_GROUP)

    @field_validator("responses")
    @classmethod
    def _ids(cls, responses: list[Response]) -> list[Response]:
        _no_twins(responses, "group.responses")
        return responses


class GroupRequest(Envelope):
    """Base of requests about one ``group`` or several ``groups``."""

    group: ResponseGroup | None = None
    groups: list[ResponseGroup] | None = Field(default=None, min_length=1, max_length=MAX_ITEMS)

    @model_validator(mode="after")
    def _one_or_many(self) -> GroupRequest:
        if (self.group is None) == (self.groups is None):
            raise ValueError("give either 'group' or 'groups'")
        _no_twins(self.all_groups, "groups")
        return self

    @property
    def all_groups(self) -> list[ResponseGroup]:
        """The groups, one or many."""
        return self.groups if self.groups is not None else [self.group] if self.group is not None else []


class RankRequest(GroupRequest):
    """Order the responses of a group by comparisons."""

    method: RankMethod = "auto"
    estimator: Estimator = "auto"
    order_policy: OrderPolicy | None = None
    degree: int | None = Field(default=None, ge=1, le=1000)
    rounds: int | None = Field(default=None, ge=1, le=1000)
    anchor_id: str | None = None
    reward: RewardForm = "quantile_z"
    length_covariate: bool = False
    """Fit and remove a linear effect of response length (estimators ``ls_margin`` and ``lmm``)."""


class PartitionRequest(GroupRequest):
    """Put equivalent responses of a group into one cluster."""

    scope: Scope = "answer"
    method: PartitionMethod = "auto"
    threshold: float | None = Field(default=None, gt=0, lt=1)
    correct: list[bool] | None = None
    max_repair_calls: int = Field(default=0, ge=0, le=1000)
    alpha: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_flag_each(self) -> PartitionRequest:
        if self.correct is not None:
            if self.group is None:
                raise ValueError("correct: only with a single 'group'")
            if len(self.correct) != len(self.group.responses):
                raise ValueError(f"correct: {len(self.correct)} flags for {len(self.group.responses)} responses")
        return self


class DiversityRequest(Envelope):
    """Measure how different texts are."""

    group: ResponseGroup | None = None
    texts: list[Text] | None = Field(default=None, min_length=1, max_length=MAX_GROUP)
    metrics: list[str] = Field(default_factory=list)
    scope: Scope = "semantic"
    alpha: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_or_other(self) -> DiversityRequest:
        if (self.group is None) == (self.texts is None):
            raise ValueError("give either 'group' or 'texts'")
        return self


class VerifyRequest(Envelope):
    """Check items with a deterministic or model grader, ``verifier.type`` in the words of OpenAI graders."""

    items: Annotated[list[Item | BadItem], _lenient(Item), Field(max_length=MAX_ITEMS)]
    verifier: dict[str, Any]

    @model_validator(mode="after")
    def _ids(self) -> VerifyRequest:
        _no_twins(self.items, "items")
        return self
