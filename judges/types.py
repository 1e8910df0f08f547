"""The wire schema, version 1: every request of the judge server, and with `palaestra.judges.replies` every reply.

The Python API takes and returns the same models. Requests are strict: an unknown key is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

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
    unread,
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
    "problems_of",
    "unread",
]

T = TypeVar("T")
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


def _read_each(model: type[BaseModel], rows: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Each row as the model, or as a `BadItem` with its own id, or ``#`` and its place if it has none."""
    read: list[Any] = []
    for index, row in enumerate(rows):
        try:
            read.append(row if isinstance(row, model) else model.model_validate(row))
        except ValidationError as error:
            known = row.get("id") if isinstance(row, dict) else None
            name = clean_text(known) if isinstance(known, str) and known else f"#{index}"
            read.append(BadItem(id=name[:256], message=explain(error)))
    return read


def _lenient(model: type[BaseModel]) -> Any:
    return BeforeValidator(lambda rows: _read_each(model, rows) if isinstance(rows, (list, tuple)) else rows)


_VAGUE = ("tuple_type", "string_type")
_UNION_TAGS = re.compile(r"str|.*[^\w].*")  # what pydantic calls the members of a union, among the names of fields


def problems_of(error: ValidationError) -> list[tuple[str, str]]:
    """(field, problem) of a validation error, the most telling first; the input itself is not repeated."""
    rows = error.errors(include_input=False, include_url=False)
    # A value that fits no member of a union gives one error each; "not a text" is the least interesting of them.
    rows.sort(key=lambda row: _VAGUE.index(row["type"]) + 1 if row["type"] in _VAGUE else 0)
    found: dict[str, str] = {}
    for row in rows:
        parts = [str(part) for part in row["loc"] if not (isinstance(part, str) and _UNION_TAGS.fullmatch(part))]
        field = ".".join(parts)
        if field not in found and not any(key.startswith(f"{field}.") for key in found):
            found[field] = "must be a text or a list of messages" if row["type"] == "tuple_type" else row["msg"]
    return [(field, text.removeprefix("Value error, ")) for field, text in found.items()]


def explain(error: ValidationError) -> str:
    """A validation error in one line."""
    return "; ".join(f"{field or 'item'}: {text}" for field, text in problems_of(error)[:4])


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
    """The responses to one prompt. One that cannot be read is put aside and fails alone; one at least must be fine."""

    id: Identifier = "group"
    prompt: Text = ""
    reference: Any = None
    responses: list[Response] = Field(min_length=1, max_length=MAX_GROUP)
    _unread: dict[int, BadItem] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _put_unreadable_aside(cls, data: Any, handler: ModelWrapValidatorHandler[ResponseGroup]) -> ResponseGroup:
        rows = data.get("responses") if isinstance(data, dict) else None
        if not isinstance(rows, (list, tuple)) or len(rows) > MAX_GROUP:
            return handler(data)
        read = _read_each(Response, rows)
        _no_twins(read, "responses")
        good = [row for row in read if isinstance(row, Response)]
        group = handler({**data, "responses": good or rows})
        group._unread = {place: row for place, row in enumerate(read) if isinstance(row, BadItem)}
        return group

    @property
    def unread(self) -> dict[int, BadItem]:
        """Responses that could not be read, by their place in the request."""
        return self._unread

    @property
    def size(self) -> int:
        """Responses in the request, readable or not."""
        return len(self.responses) + len(self._unread)

    def in_place(self, rows: Sequence[T], fill: Callable[[BadItem], T]) -> list[T]:
        """``rows``, one for each readable response, with something for every unreadable one where it stood."""
        rest = iter(rows)
        return [fill(self._unread[k]) if k in self._unread else next(rest) for k in range(self.size)]

    def places(self) -> list[int]:
        """Place in the request of every readable response."""
        return [k for k in range(self.size) if k not in self._unread]


class GroupRequest(Envelope):
    """Base of requests about one ``group`` or several ``groups``."""

    group: ResponseGroup | None = None
    groups: Annotated[list[ResponseGroup | BadItem], _lenient(ResponseGroup)] | None = Field(
        default=None, min_length=1, max_length=MAX_ITEMS
    )

    @model_validator(mode="after")
    def _one_or_many(self) -> GroupRequest:
        if (self.group is None) == (self.groups is None):
            raise ValueError("give either 'group' or 'groups'")
        _no_twins(self.groups or [], "groups")
        return self

    @property
    def all_groups(self) -> list[ResponseGroup]:
        """The groups that could be read, one or many."""
        rows = self.groups if self.groups is not None else [self.group]
        return [row for row in rows if isinstance(row, ResponseGroup)]

    def in_place(self, rows: Sequence[T], fill: Callable[[BadItem], T]) -> list[T]:
        """``rows``, one for each readable group, with something for every unreadable one where it stood."""
        rest = iter(rows)
        asked: Sequence[ResponseGroup | BadItem | None] = self.groups or [self.group]
        return [fill(row) if isinstance(row, BadItem) else next(rest) for row in asked]


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
            if len(self.correct) != self.group.size:
                raise ValueError(f"correct: {len(self.correct)} flags for {self.group.size} responses")
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
