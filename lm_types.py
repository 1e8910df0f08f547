"""What is said to and by a language model: errors, one a cause, and the values of `palaestra.lm`."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

from .schema import Message, RewardStatus


class LMError(Exception):
    """Base of everything a model call can fail with. One subclass per cause.

    Attributes:
        status: the status an item gets when this error kept it from being judged.
        retryable: whether the same request, sent again, may succeed.
        http_status: status code of the server's reply, when there was one.
        retry_after: seconds the server asked us to wait, when it did.
        attempts: requests really sent before giving up.
        usage: what the reply cost, when one came and was not an answer.
    """

    status: RewardStatus = RewardStatus.UPSTREAM_ERROR
    retryable: bool = False

    def __init__(self, message: str, *, http_status: int | None = None, retry_after: float | None = None):
        super().__init__(message)
        self.http_status = http_status
        self.retry_after = retry_after
        self.attempts = 1
        self.usage = Usage()

    @property
    def code(self) -> str:
        """Short machine-readable name of the cause, the same word as the item status."""
        return self.status.value


class LMConnectionError(LMError):
    """The server could not be reached, or hung up in the middle of a reply."""

    retryable = True


class LMServerError(LMError):
    """The server answered with a 5xx status."""

    retryable = True


class LMProtocolError(LMError):
    """The body was not a chat completion: broken JSON, or no choices in it."""

    retryable = True


class LMTimeout(LMError):
    """A connect or read deadline passed."""

    status = RewardStatus.TIMEOUT
    retryable = True


class LMDeadlineExceeded(LMTimeout):
    """The total deadline of the call passed, retries included."""

    retryable = False


class LMRateLimited(LMError):
    """The server said 429 and went on saying so."""

    status = RewardStatus.RATE_LIMITED
    retryable = True


class LMAuthError(LMError):
    """The key is missing, wrong or not allowed to use this model."""


class LMBadRequest(LMError):
    """The server refused the request as such (unknown model, bad parameter)."""

    status = RewardStatus.INVALID_INPUT


class LMContextLengthError(LMBadRequest):
    """The prompt does not fit into the model's context."""

    status = RewardStatus.TRUNCATED_INPUT


class LMRefusal(LMError):
    """The model declined to answer, or a filter or an empty message stands where the answer should be."""

    status = RewardStatus.REFUSAL


class LMContentFiltered(LMRefusal):
    """The server's content filter cut the answer."""


class LMEmptyReply(LMRefusal):
    """The reply has neither text nor tool calls."""


# ------------------------------------------------------------------------------------------------- values
@dataclass(frozen=True)
class Usage:
    """Tokens and money of one or many calls; add them up with ``+``. ``cost_usd`` is None when no price is known."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    def __add__(self, other: Usage) -> Usage:
        costs = [c for c in (self.cost_usd, other.cost_usd) if c is not None]
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            sum(costs) if costs else None,
        )

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars for that many tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True)
class Sampling:
    """How to sample. Fields left None are not sent, so the server's default holds.

    ``extra_body`` passes anything a particular server understands (``{"return_token_ids": True}`` for vLLM).
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    response_format: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: Any = None
    extra_body: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Only the fields that are set, ready for JSON (also part of cache keys)."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in chosen.items() if v is not None and v is not False
        }


@dataclass(frozen=True)
class Completion:
    """One answer. ``token_ids`` and ``logprobs`` are None unless the server gave them, and then equally long.

    Attributes:
        text: what the model wrote; empty only beside ``tool_calls`` or when the caller allowed it.
        finish_reason: ``stop``, ``length``, ``tool_calls`` or what else the server says.
        model: the name the server answers under, which may be a dated revision of the one asked for.
        reasoning: separate reasoning text of servers that split it off.
        top_logprobs: for each token, alternatives and their natural-log probabilities.
        attempts: requests it took.
    """

    text: str
    usage: Usage
    finish_reason: str
    model: str
    tool_calls: tuple[dict[str, Any], ...] = ()
    reasoning: str | None = None
    token_ids: tuple[int, ...] | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[dict[str, float], ...] | None = None
    system_fingerprint: str | None = None
    attempts: int = 1
    latency_s: float = 0.0


Messages = Sequence[Message | Mapping[str, Any]]


class LanguageModel(Protocol):
    """What every room needs of a model, remote or in this process."""

    name: str

    async def complete(
        self,
        messages: Messages,
        sampling: Sampling = ...,
        *,
        deadline_s: float | None = None,
        allow_empty: bool = False,
        may_retry: Callable[[], bool] | None = None,
    ) -> Completion:
        """Answer a conversation.

        Args:
            messages: chat messages, `Message` objects or plain dicts.
            sampling: how to sample.
            deadline_s: total seconds for this call, retries included; the model's own default when None.
            allow_empty: take an empty text for an answer (a policy may say nothing; a judge may not).
            may_retry: asked before each further attempt, so that a budget of requests holds for retries too.

        Raises:
            LMError: one subclass per cause; see `LMError.status` and `LMError.retryable`.
        """
        ...


class Limiter(Protocol):
    """Decides when a request may be sent and hears how it went."""

    async def acquire(self, tokens: int) -> None:
        """Wait for permission to send a request of about ``tokens`` tokens."""

    def release(self, outcome: Literal["ok", "overload", "error"], estimated: int, used: int) -> None:
        """Give the place back; ``overload`` means the server answered 429 or 503."""


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait from ``retry-after-ms`` or ``Retry-After`` (seconds or an HTTP date); None when absent or odd."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
