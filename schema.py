"""The nouns everybody shares. Files on disk, HTTP bodies and the viewer are made of these and nothing else."""

from __future__ import annotations

import math
import uuid
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Role = Literal["system", "user", "assistant", "tool", "developer"]


def new_id(prefix: str) -> str:
    """A short unique id such as ``roll-3f9c0a51b2d4``."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def clean_text(text: str) -> str:
    """Replace lone surrogates by U+FFFD (one per byte), so that any Python string can be stored and sent as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


class Noun(BaseModel):
    """Base of the shared types: immutable, and strict about names, so that a typo is an error and not lost data."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Noun):
    """One chat message in the OpenAI shape. Unknown keys of other servers are kept, not dropped."""

    model_config = ConfigDict(frozen=True, extra="allow")

    role: Role
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _storable(cls, content: Any) -> Any:
        return clean_text(content) if isinstance(content, str) else content

    def to_dict(self) -> dict[str, Any]:
        """The message as a plain dict without empty fields, as chat templates and servers expect it."""
        return {key: value for key, value in self.model_dump().items() if value is not None or key == "content"}

    @property
    def text(self) -> str:
        """The textual content; parts of other kinds (images) are left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.get("text", "") for part in self.content or [] if isinstance(part, dict))


class Task(Noun):
    """One problem. ``answer`` stays on the host: it is not serialised and not shown in ``repr``."""

    id: str = ""  # empty: the environment names the task
    prompt: str | tuple[Message, ...]
    answer: Any = Field(default=None, repr=False, exclude=True)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt as chat messages."""
        return (Message(role="user", content=self.prompt),) if isinstance(self.prompt, str) else self.prompt


FeedbackKind = Literal["correct", "incorrect", "error", "timeout", "format", "constraint", "info"]


class Feedback(Noun):
    """Text a policy may read about its attempt. It never contains the answer unless the environment says so."""

    text: str
    kind: FeedbackKind = "info"
    details: dict[str, Any] = Field(default_factory=dict)

    @field_validator("text", mode="before")
    @classmethod
    def _storable(cls, text: Any) -> Any:
        return clean_text(text) if isinstance(text, str) else text


class StopReason(StrEnum):
    """Why a rollout ended."""

    FINISHED = "finished"
    TURN_LIMIT = "turn_limit"
    LENGTH = "length"
    ENV_ERROR = "env_error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    BUDGET = "budget"
    INVALID_ACTION = "invalid_action"


class Turn(Noun):
    """What the engine saw and sampled in one turn, exactly; token ids are never made again from text.

    Attributes:
        prompt_ids: all token ids before the first sampled one (earlier turns included).
        completion_ids: sampled token ids, the end-of-turn token included when it was sampled.
        logprobs: natural-log probability of each sampled id under the distribution it was drawn from.
        stop: why sampling ended: ``stop`` (end token or stop string), ``length`` or ``abort``.
        policy_version: version of the weights that sampled the first token of this turn.
        version_spans: where the weights changed while this turn was sampled: (first token of the span, version), in
            order; empty when one version sampled all of it.
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: Literal["stop", "length", "abort"] = "stop"
    policy_version: int = 0
    version_spans: tuple[tuple[int, int], ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """The version that sampled each token."""
        out = [self.policy_version] * len(self.completion_ids)
        for start, version in self.version_spans:
            out[start:] = [version] * len(out[start:])
        return tuple(out)

    @model_validator(mode="after")
    def _same_length(self) -> Turn:
        if len(self.completion_ids) != len(self.logprobs):
            raise ValueError(
                f"Turn.logprobs has {len(self.logprobs)} entries for {len(self.completion_ids)} completion_ids; "
                "give exactly one log-probability per sampled token"
            )
        return self


def _finite_or_none(value: float | None, field: str) -> float | None:
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{field} is {value}; use None for a rollout that could not be scored")
    return value


class Rollout(Noun):
    """One attempt at a task.

    ``reward`` is None when the attempt could not be judged; such a rollout is left out of every mean, trains
    nothing, and is counted and shown. It is never 0.
    """

    id: str = Field(default_factory=lambda: new_id("roll"))
    task_id: str
    group_id: str = ""
    env_id: str = ""
    messages: tuple[Message, ...] = ()
    turns: tuple[Turn, ...] = ()
    reward: float | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    feedback: tuple[Feedback, ...] = ()
    terminated: bool = False
    truncated: bool = False
    stop_reason: StopReason = StopReason.FINISHED
    error: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    children: tuple[Rollout, ...] = ()

    @field_validator("reward")
    @classmethod
    def _reward_is_a_number(cls, reward: float | None) -> float | None:
        return _finite_or_none(reward, "Rollout.reward")

    @model_validator(mode="after")
    def _one_ending(self) -> Rollout:
        if self.terminated and self.truncated:
            raise ValueError("Rollout.terminated and Rollout.truncated are both true; a rollout ends one way")
        return self

    @property
    def response(self) -> str:
        """All text the policy wrote, one assistant message after another."""
        return "\n".join(m.text for m in self.messages if m.role == "assistant")

    def with_reward(self, reward: float | None, **updates: Any) -> Rollout:
        """A copy with another reward, checked like a new rollout."""
        return self.model_copy(update={"reward": _finite_or_none(reward, "Rollout.reward"), **updates})


class Group(Noun):
    """The rollouts of one task."""

    id: str
    task: Task
    rollouts: tuple[Rollout, ...]

    @model_validator(mode="after")
    def _distinct_ids(self) -> Group:
        seen: set[str] = set()
        for rollout in self.rollouts:
            if rollout.id in seen:
                raise ValueError(f"Group {self.id!r} holds rollout id {rollout.id!r} twice; ids must be unique")
            seen.add(rollout.id)
        return self


class RewardStatus(StrEnum):
    """How the judging of one item ended. Only ``ok`` and ``gated`` carry a score."""

    OK = "ok"
    UNSCORED = "unscored"
    PARSE_ERROR = "parse_error"
    REFUSAL = "refusal"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    BUDGET_EXHAUSTED = "budget_exhausted"
    GATED = "gated"
    TRUNCATED_INPUT = "truncated_input"
    UNSUPPORTED = "unsupported"
    CANCELLED = "cancelled"
    INVALID_INPUT = "invalid_input"
    DEGENERATE = "degenerate"


class RewardResult(Noun):
    """What a judge says about one rollout, matched by id and never by position."""

    rollout_id: str
    status: RewardStatus
    reward: float | None = None
    scores: dict[str, float | None] = Field(default_factory=dict)
    feedback: tuple[Feedback, ...] = ()
    rank: float | None = None
    cluster: int | None = None
    error: str | None = None

    @field_validator("reward")
    @classmethod
    def _reward_is_a_number(cls, reward: float | None) -> float | None:
        return _finite_or_none(reward, "RewardResult.reward")

    @model_validator(mode="after")
    def _failure_is_not_a_score(self) -> RewardResult:
        scored = self.status in (RewardStatus.OK, RewardStatus.GATED, RewardStatus.DEGENERATE)
        if not scored and self.reward is not None:
            raise ValueError(f"RewardResult has status {self.status.value!r} and reward {self.reward}; it must be None")
        return self
