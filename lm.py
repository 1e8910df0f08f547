"""Talking to a language model: one small protocol and one client for every OpenAI-compatible server.

There is exactly one retry layer, here, every call has a connect, a read and a total deadline, and whatever is not an
answer (refusal, filter, empty reply, broken body) is a typed error, never text.

Example:
    >>> from palaestra.judges.testing import FakeOpenAI
    >>> with FakeOpenAI(script=["Bonjour."]) as server:
    ...     model = OpenAIModel("tiny", base_url=server.url)
    ...     model.complete_sync([{"role": "user", "content": "Say hello in French."}]).text
    'Bonjour.'
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .lm_types import (
    Completion,
    LanguageModel,
    Limiter,
    LMAuthError,
    LMBadRequest,
    LMConnectionError,
    LMContentFiltered,
    LMContextLengthError,
    LMDeadlineExceeded,
    LMEmptyReply,
    LMError,
    LMProtocolError,
    LMRateLimited,
    LMRefusal,
    LMServerError,
    LMTimeout,
    Messages,
    Price,
    Sampling,
    Usage,
    parse_retry_after,
)
from .schema import Message, RewardStatus, clean_text

if TYPE_CHECKING:
    import httpx

__all__ = [
    "Completion",
    "FixedLimit",
    "LMAuthError",
    "LMBadRequest",
    "LMConnectionError",
    "LMContentFiltered",
    "LMContextLengthError",
    "LMDeadlineExceeded",
    "LMEmptyReply",
    "LMError",
    "LMProtocolError",
    "LMRateLimited",
    "LMRefusal",
    "LMServerError",
    "LMTimeout",
    "LanguageModel",
    "Limiter",
    "Messages",
    "OpenAIModel",
    "Price",
    "Sampling",
    "Usage",
    "estimate_tokens",
    "parse_retry_after",
    "read_completion",
    "run_sync",
]

T = TypeVar("T")


class FixedLimit:
    """At most ``limit`` requests at once."""

    def __init__(self, limit: int):
        if limit < 1:
            raise ValueError(f"concurrency is {limit}; it must be at least 1")
        self._slots = asyncio.Semaphore(limit)

    async def acquire(self, tokens: int) -> None:
        await self._slots.acquire()

    def release(self, outcome: str, estimated: int, used: int) -> None:
        self._slots.release()


# ------------------------------------------------------------------------------------------------- client
@dataclass
class _PerLoop:
    client: httpx.AsyncClient
    limiter: Limiter


@dataclass
class OpenAIModel:
    """An OpenAI-compatible chat endpoint (vLLM, SGLang, llama.cpp, hosted services).

    Args:
        name: model name as the server knows it.
        base_url: address up to and including ``/v1``; else ``OPENAI_BASE_URL``, else OpenAI itself.
        api_key: else the environment variable ``OPENAI_API_KEY``, else a placeholder for servers without keys.
        concurrency: most requests in flight per event loop; ignored when ``limiter`` is given.
        limiter: shared admission control, for instance the adaptive one of the judge server.
        max_attempts: requests at most per call; only errors that may pass are tried again.
        connect_s, read_s, deadline_s: seconds to connect, between two chunks of a reply, and in all.
        backoff_s, backoff_cap_s: first and longest pause between attempts (full jitter).
        price: dollars per million tokens, to fill ``usage.cost_usd``.
        max_tokens_field: ``max_completion_tokens`` for services that no longer take ``max_tokens``.
    """

    name: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 32
    limiter: Limiter | None = None
    max_attempts: int = 4
    connect_s: float = 5.0
    read_s: float = 120.0
    deadline_s: float = 300.0
    backoff_s: float = 0.5
    backoff_cap_s: float = 8.0
    price: Price | None = None
    max_tokens_field: str = "max_tokens"
    usage: Usage = field(default_factory=Usage, init=False)

    def __post_init__(self) -> None:
        for key in ("connect_s", "read_s", "deadline_s", "max_attempts", "concurrency"):
            value = getattr(self, key)
            if value is None or not value > 0:
                raise ValueError(f"OpenAIModel.{key} is {value}; give a positive number (no call may wait for ever)")
        # A client must not be shared between event loops (connections are bound to one), so each loop has its own.
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _PerLoop] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._jitter = random.Random()

    async def complete(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        deadline_s: float | None = None,
        allow_empty: bool = False,
        may_retry: Callable[[], bool] | None = None,
    ) -> Completion:
        """Answer a conversation; see `LanguageModel.complete`."""
        payload = self._payload(messages, sampling)
        budget = self.deadline_s if deadline_s is None else min(deadline_s, self.deadline_s)
        attempts = [0]
        started = time.monotonic()
        try:
            async with asyncio.timeout(max(budget, 0.0)):
                return await self._with_retries(payload, attempts, started, budget, allow_empty, may_retry)
        except TimeoutError:
            error = LMDeadlineExceeded(f"model {self.name!r}: no answer within the total deadline of {budget:g} s")
            error.attempts = attempts[0]
            raise error from None

    def complete_sync(self, messages: Messages, sampling: Sampling = Sampling(), **options: Any) -> Completion:
        """`complete` for code without an event loop."""
        return run_sync(self.complete(messages, sampling, **options))

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        per_loop = self._loops.pop(asyncio.get_running_loop(), None)
        if per_loop is not None:
            await per_loop.client.aclose()

    async def _with_retries(
        self,
        payload: dict[str, Any],
        attempts: list[int],
        started: float,
        budget: float,
        allow_empty: bool,
        may_retry: Callable[[], bool] | None,
    ) -> Completion:
        while True:
            attempts[0] += 1
            try:
                answer = await self._send(payload, allow_empty)
                return replace(answer, attempts=attempts[0], latency_s=time.monotonic() - started)
            except LMError as error:
                error.attempts = attempts[0]
                pause = error.retry_after if error.retry_after is not None else self._pause(attempts[0])
                # Waiting past the deadline would only turn a clear error into a vague one.
                too_late = time.monotonic() + pause >= started + budget
                if not error.retryable or attempts[0] >= self.max_attempts or too_late:
                    raise
                if may_retry is not None and not may_retry():
                    raise
            await asyncio.sleep(pause)

    def _pause(self, attempt: int) -> float:
        return self._jitter.uniform(0.5, 1.0) * min(self.backoff_cap_s, self.backoff_s * 2 ** (attempt - 1))

    def _payload(self, messages: Messages, sampling: Sampling) -> dict[str, Any]:
        rows = [m.to_dict() if isinstance(m, Message) else dict(m) for m in messages]
        for row in rows:
            if isinstance(row.get("content"), str):
                row["content"] = clean_text(row["content"])
        payload = sampling.to_dict()
        if "max_tokens" in payload:
            payload[self.max_tokens_field] = payload.pop("max_tokens")
        return {"model": self.name, "messages": rows, **payload}

    async def _send(self, payload: dict[str, Any], allow_empty: bool) -> Completion:
        """One request: admission, transport, reading. Whatever happens, the limiter hears of it."""
        from .lm_http import status_error, translate

        here = self._for_this_loop()
        estimated = used = estimate_tokens(payload)
        body = _encode(payload, self.name)
        await here.limiter.acquire(estimated)
        outcome: Literal["ok", "overload", "error"] = "error"
        try:
            try:
                reply = await here.client.post("chat/completions", content=body)
            except Exception as raised:
                raise translate(raised, self.name) from raised
            if not reply.is_success:
                outcome = "overload" if reply.status_code in (429, 503) else "error"
                raise status_error(reply, self.name)
            outcome = "ok"
            spent = Usage()
            try:
                answer = read_completion(reply.content, self.name, self.price)
                spent = answer.usage
            except LMError as unanswered:
                spent = unanswered.usage
                raise
            finally:
                used = spent.tokens or estimated
                with self._lock:
                    self.usage = self.usage + spent
        finally:
            here.limiter.release(outcome, estimated, used)
        self._check_answered(answer, allow_empty)
        return answer

    def _check_answered(self, answer: Completion, allow_empty: bool) -> None:
        error: LMError | None = None
        if answer.finish_reason == "content_filter":
            error = LMContentFiltered(f"model {self.name!r}: the server's content filter stopped the answer")
        elif not allow_empty and not answer.text.strip() and not answer.tool_calls:
            hint = " (max_tokens was used up before any answer)" if answer.finish_reason == "length" else ""
            error = LMEmptyReply(f"model {self.name!r}: the reply has no text{hint}")
            if hint:
                error.status = RewardStatus.PARSE_ERROR  # cut off is not the same as declined
        if error is not None:
            error.usage = answer.usage
            raise error

    def _for_this_loop(self) -> _PerLoop:
        loop = asyncio.get_running_loop()
        with self._lock:
            found = self._loops.get(loop)
            if found is None:
                import httpx

                from .lm_http import open_client

                timeout = httpx.Timeout(self.deadline_s, connect=self.connect_s, read=self.read_s)
                client = open_client(self.base_url, self.api_key, timeout)
                found = _PerLoop(client, self.limiter or FixedLimit(self.concurrency))
                self._loops[loop] = found
        return found


def _encode(payload: dict[str, Any], model: str) -> bytes:
    """The request body; ``extra_body`` is merged into it."""
    body = {name: value for name, value in payload.items() if name != "extra_body"}
    try:
        return json.dumps({**body, **(payload.get("extra_body") or {})}, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise LMBadRequest(f"model {model!r}: the request cannot be written as JSON ({error})") from error


# ------------------------------------------------------------------------------------------------- reading
def read_completion(body: bytes, model: str, price: Price | None = None) -> Completion:
    """Read a chat-completion body.

    Raises:
        LMProtocolError: the body is not JSON or holds no choice.
        LMRefusal: the message's ``refusal`` field is set.
    """
    try:
        data = json.loads(body)
        usage = data.get("usage") or {}
        choices = data.get("choices") or []
        prompt_tokens, completion_tokens = (
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
        )
    except (ValueError, AttributeError, TypeError) as error:
        raise LMProtocolError(f"model {model!r}: the reply is not a chat completion ({error})") from error
    if not choices or not isinstance(choices[0], dict):
        raise LMProtocolError(f"model {model!r}: the reply has no choices")
    choice = choices[0]
    message = choice.get("message") or {}
    cost = price.cost(prompt_tokens, completion_tokens) if price else None
    spent = Usage(1, prompt_tokens, completion_tokens, cost)
    if message.get("refusal"):
        refusal = LMRefusal(f"model {model!r} refused: {str(message['refusal'])[:200]}")
        refusal.usage = spent
        raise refusal
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    rows = ((choice.get("logprobs") or {}).get("content")) or None
    token_ids = choice.get("token_ids")
    logprobs = tuple(float(row["logprob"]) for row in rows) if rows else None
    if token_ids is not None and logprobs is not None and len(token_ids) != len(logprobs):
        raise LMProtocolError(f"model {model!r}: {len(token_ids)} token_ids but {len(logprobs)} logprobs")
    return Completion(
        text=clean_text(content or ""),
        usage=spent,
        finish_reason=str(choice.get("finish_reason") or "stop"),
        model=str(data.get("model") or model),
        tool_calls=tuple(message.get("tool_calls") or ()),
        reasoning=message.get("reasoning_content") or message.get("reasoning"),
        token_ids=tuple(token_ids) if token_ids is not None else None,
        prompt_token_ids=tuple(data["prompt_token_ids"]) if data.get("prompt_token_ids") else None,
        logprobs=logprobs,
        top_logprobs=_top_logprobs(rows),
        system_fingerprint=data.get("system_fingerprint"),
    )


def _top_logprobs(rows: list[dict[str, Any]] | None) -> tuple[dict[str, float], ...] | None:
    if not rows or not any(row.get("top_logprobs") for row in rows):
        return None
    return tuple({alt["token"]: float(alt["logprob"]) for alt in row.get("top_logprobs") or []} for row in rows)


def estimate_tokens(payload: Mapping[str, Any]) -> int:
    """About how many tokens a request will use: four characters each, and the completion's limit."""
    characters = sum(len(str(row.get("content") or "")) for row in payload.get("messages", ()))
    limit = payload.get("max_tokens") or payload.get("max_completion_tokens") or 256
    return characters // 4 + int(limit)


# ------------------------------------------------------------------------------------------------- sync
_background: tuple[int, asyncio.AbstractEventLoop] | None = None
_background_lock = threading.Lock()


def _background_loop() -> asyncio.AbstractEventLoop:
    global _background
    with _background_lock:
        # Threads do not survive a fork, so a child process starts its own loop.
        if _background is None or _background[0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="palaestra-sync", daemon=True).start()
            _background = (os.getpid(), loop)
        return _background[1]


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from ordinary code, also inside a notebook whose own loop is running.

    All such calls share one background loop, so clients keep their connections from call to call.

    Example:
        >>> async def double(x): return 2 * x
        >>> run_sync(double(21))
        42
    """
    loop = _background_loop()
    if threading.current_thread().name == "palaestra-sync":
        coroutine.close()
        raise RuntimeError("run_sync was called from its own event loop; await the coroutine instead")
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
