import asyncio
import time

import pytest

from palaestra.judges.testing import FakeOpenAI, Fault, Reply
from palaestra.lm import (
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
    OpenAIModel,
    Price,
    Sampling,
    Usage,
    parse_retry_after,
    run_sync,
)
from palaestra.schema import Message, RewardStatus

HELLO = [{"role": "user", "content": "hello"}]


def model(server, **options):
    return OpenAIModel("any", base_url=server.url, **{"backoff_s": 0.01, "deadline_s": 10, **options})


def test_text_usage_and_price_are_counted():
    with FakeOpenAI(script=["four"]) as server:
        lm = model(server, price=Price(prompt=1.0, completion=2.0))
        answer = lm.complete_sync([Message(role="user", content="2 + 2?")])
        assert (answer.text, answer.finish_reason, answer.attempts) == ("four", "stop", 1)
        assert answer.usage == Usage(1, 2, 1, pytest.approx(4e-6))
        lm.complete_sync(HELLO)
    assert lm.usage.calls == 2
    assert lm.usage.prompt_tokens == 4


def test_token_ids_and_logprobs_come_through_equally_long():
    script = Reply("abcdefgh", token_ids=[5, 6], logprobs=[-0.5, -0.25])
    with FakeOpenAI(script=script) as server:
        plain = model(server).complete_sync(HELLO)
        full = model(server).complete_sync(HELLO, Sampling(logprobs=True, extra_body={"return_token_ids": True}))
    assert plain.token_ids is None and plain.logprobs is None
    assert full.token_ids == (5, 6) and full.logprobs == (-0.5, -0.25)
    assert full.prompt_token_ids


def test_parameters_pass_through():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    sampling = Sampling(
        temperature=0.0, seed=3, max_tokens=9, stop=("END",), tools=[tool], response_format={"type": "json_object"}
    )
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with FakeOpenAI(script=Reply(None, finish_reason="tool_calls", tool_calls=[call])) as server:
        answer = model(server, max_tokens_field="max_completion_tokens").complete_sync(HELLO, sampling)
        body = server.requests[0].body
    assert answer.tool_calls == (call,) and answer.text == ""
    assert body["temperature"] == 0.0 and body["seed"] == 3 and body["stop"] == ["END"]
    assert body["max_completion_tokens"] == 9 and "max_tokens" not in body
    assert body["tools"] == [tool] and body["response_format"] == {"type": "json_object"}
    assert "top_p" not in body


@pytest.mark.parametrize(
    ("kind", "error", "status", "hits"),
    [
        ("rate_limit", LMRateLimited, RewardStatus.RATE_LIMITED, 3),
        ("server_error", LMServerError, RewardStatus.UPSTREAM_ERROR, 3),
        ("unavailable", LMServerError, RewardStatus.UPSTREAM_ERROR, 3),
        ("reset", LMConnectionError, RewardStatus.UPSTREAM_ERROR, 3),
        ("truncated_json", LMProtocolError, RewardStatus.UPSTREAM_ERROR, 3),
        ("empty_choices", LMProtocolError, RewardStatus.UPSTREAM_ERROR, 3),
        ("unauthorized", LMAuthError, RewardStatus.UPSTREAM_ERROR, 1),
        ("bad_request", LMBadRequest, RewardStatus.INVALID_INPUT, 1),
        ("context_length", LMContextLengthError, RewardStatus.TRUNCATED_INPUT, 1),
        ("refusal", LMRefusal, RewardStatus.REFUSAL, 1),
        ("content_filter", LMContentFiltered, RewardStatus.REFUSAL, 1),
        ("null_content", LMEmptyReply, RewardStatus.REFUSAL, 1),
    ],
)
def test_each_cause_has_its_error_and_only_passing_ones_are_retried(kind, error, status, hits):
    with FakeOpenAI("hello world", faults=Fault(kind)) as server:
        with pytest.raises(error) as caught:
            model(server, max_attempts=3).complete_sync(HELLO)
        assert server.hits == hits
    assert type(caught.value) is error
    assert caught.value.status is status and caught.value.code == status.value
    assert caught.value.attempts == hits
    assert caught.value.retryable is (hits > 1)


def test_one_retry_layer_and_retry_after_is_waited_for():
    with FakeOpenAI("fine", faults=Fault("rate_limit", retry_after=0.3, times=2)) as server:
        started = time.monotonic()
        answer = model(server).complete_sync(HELLO)
        waited = time.monotonic() - started
        assert server.hits == 3
    assert answer.text == "fine" and answer.attempts == 3
    assert waited >= 0.6


def test_retry_after_beyond_the_deadline_fails_at_once_with_the_real_cause():
    with FakeOpenAI(faults=Fault("rate_limit", retry_after=60)) as server:
        started = time.monotonic()
        with pytest.raises(LMRateLimited) as caught:
            model(server, deadline_s=5).complete_sync(HELLO)
        assert server.hits == 1 and time.monotonic() - started < 4
    assert caught.value.retry_after == 60


def test_a_hanging_server_meets_read_and_total_deadlines():
    with FakeOpenAI(faults=Fault("hang")) as server:
        with pytest.raises(LMTimeout):
            model(server, read_s=0.1, max_attempts=2).complete_sync(HELLO)
        assert server.hits == 2
        with pytest.raises(LMDeadlineExceeded) as caught:
            model(server, deadline_s=0.2).complete_sync(HELLO)
    assert caught.value.status is RewardStatus.TIMEOUT and not caught.value.retryable


def test_no_server_is_a_connection_error():
    with FakeOpenAI() as server:
        url = server.url
    with pytest.raises(LMConnectionError, match="running"):
        OpenAIModel("any", base_url=url, backoff_s=0.01, max_attempts=2).complete_sync(HELLO)


def test_an_empty_answer_is_an_answer_only_when_allowed():
    with FakeOpenAI("") as server:
        assert model(server).complete_sync(HELLO, allow_empty=True).text == ""
        lm = model(server)
        with pytest.raises(LMEmptyReply) as caught:
            lm.complete_sync(HELLO)
    assert caught.value.usage.prompt_tokens > 0 and lm.usage.prompt_tokens > 0


def test_concurrency_is_limited_and_every_loop_has_its_own_client():
    async def many(lm):
        await asyncio.gather(*(lm.complete([{"role": "user", "content": str(i)}]) for i in range(12)))
        await lm.aclose()

    with FakeOpenAI(latency_s=0.02) as server:
        lm = model(server, concurrency=3)
        for _ in range(2):
            asyncio.run(many(lm))
        assert server.hits == 24
        assert server.max_in_flight == 3


def test_lone_surrogates_and_nul_are_sent_without_crashing():
    with FakeOpenAI(script=lambda request: request.last) as server:
        assert model(server).complete_sync([{"role": "user", "content": "a\ud800b\x00"}]).text.startswith("a\ufffd")


def test_fake_server_is_deterministic_whatever_the_order():
    def ask(order):
        with FakeOpenAI(script=lambda r: f"{r.last}:{r.rng.random()}", seed=5) as server:
            lm = model(server)
            return {text: lm.complete_sync([{"role": "user", "content": text}]).text for text in order}

    assert ask("abcd") == ask("dcba")


def test_streaming_reply_of_the_fake_server_is_read_by_the_sdk():
    import openai

    with FakeOpenAI("one two three") as server:
        client = openai.OpenAI(base_url=server.url, api_key="x", max_retries=0)
        stream = client.chat.completions.create(model="any", messages=HELLO, stream=True)
        text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert text == "one two three"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_forms(headers, seconds):
    assert parse_retry_after(headers) == seconds


@pytest.mark.parametrize("options", [{"deadline_s": None}, {"read_s": 0}, {"max_attempts": 0}, {"connect_s": -1}])
def test_a_call_without_deadline_cannot_be_configured(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        OpenAIModel("any", **options)


def test_run_sync_works_inside_a_running_loop_and_passes_errors_on():
    async def inner():
        await asyncio.sleep(0)
        return 7

    async def fails():
        raise LMError("no")

    async def outer():
        return run_sync(inner())

    assert asyncio.run(outer()) == 7
    with pytest.raises(LMError, match="no"):
        run_sync(fails())
    with pytest.raises(RuntimeError, match="await"):
        run_sync(_nested())


async def _nested():
    async def inner():
        return 1

    return run_sync(inner())
