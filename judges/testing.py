r"""For tests of every room: `judge_server`, a judge server on a free port, and `FakeOpenAI`, a scripted model server.

Both listen on real loopback sockets.

    with judge_server() as url: ...                           # programmatic judge; or judge_server(JudgeService([...]))

    with FakeOpenAI(script=["4"]) as server:                  # one list entry a request, the last one repeats
        OpenAIModel("any", base_url=server.url)               # server.url ends in /v1
    async with FakeOpenAI(script=lambda r: r.last[::-1]):     # a function of the request, plain or async
    FakeOpenAI(script={"capital of France": "Paris"})         # first key found in the last message
    FakeOpenAI(script=Oracle(quality={"good": 2.0, "bad": -1.0}, position_bias=0.5, noise=0.3, tie_band=0.1))
    FakeOpenAI(faults=Fault("rate_limit", retry_after=0.05, times=2))   # two 429s for each distinct request, then fine
    FakeOpenAI(faults=lambda r: Fault("server_error") if r.rng.random() < 0.1 else None, seed=7)

A script entry (or what a script function returns) is a ``str`` (the text), a ``dict`` (sent as JSON text; put a single
one into a list, for a bare dict is a table of keys), a `Reply`
(text with finish reason, tool calls, refusal, reasoning, token ids) or a `Fault`. Without a script the server is an
`Oracle` for our own judge prompts and otherwise answers ``reply-<hash>``.

Faults: ``rate_limit`` (429, ``retry_after`` seconds), ``server_error`` (500), ``unavailable`` (503), ``unauthorized``
(401), ``bad_request`` (400), ``context_length`` (400), ``hang``, ``reset`` (connection dropped mid-body),
``truncated_json``, ``refusal``, ``content_filter``, ``null_content``, ``empty_choices``, ``wrong_model``, ``prose``
(the answer inside fences and chatter), ``length`` (answer cut, ``finish_reason`` length).

Everything is a pure function of (seed, request body, how often this same body came before): the order in which
different requests arrive changes nothing, except for list scripts, which are consumed in order.

To look at afterwards: ``server.requests`` (every `FakeRequest`), ``server.hits`` (number of them),
``server.count(path)``, ``server.max_in_flight``. Also served, with and without ``/v1``: ``/models``, ``/embeddings``
and vLLM's ``/score``, ``/rerank``, ``/classify``. Streaming, ``logprobs`` and vLLM's ``return_token_ids`` work on chat
completions.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from ._fake_http import HttpReply, LoopbackServer, json_reply
from ._fake_oracle import Oracle, content_hash, default_quality

__all__ = ["FakeOpenAI", "FakeRequest", "Fault", "Oracle", "Reply", "content_hash", "default_quality", "judge_server"]

FaultKind = Literal[
    "rate_limit", "server_error", "unavailable", "unauthorized", "bad_request", "context_length", "hang", "reset",
    "truncated_json", "refusal", "content_filter", "null_content", "empty_choices", "wrong_model", "prose", "length",
]  # fmt: skip
_STATUS = {
    "rate_limit": 429, "server_error": 500, "unavailable": 503, "unauthorized": 401, "bad_request": 400,
    "context_length": 400,
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One way a server fails. ``times`` limits it to the first so many tries of each distinct request."""

    kind: FaultKind
    retry_after: float | None = None
    times: int | None = None


@dataclass(frozen=True)
class Reply:
    """A scripted answer with everything a server may put beside the text."""

    text: str | None = ""
    finish_reason: str = "stop"
    tool_calls: Sequence[Mapping[str, Any]] = ()
    refusal: str | None = None
    reasoning: str | None = None
    token_ids: Sequence[int] | None = None
    logprobs: Sequence[float] | None = None
    model: str | None = None
    delay_s: float = 0.0


@dataclass(frozen=True)
class FakeRequest:
    """A request as the server saw it.

    Attributes:
        path: without ``/v1``, such as ``/chat/completions``.
        body: the parsed JSON.
        key: sha256 of the canonical body.
        attempt: how often this same body came before (0 the first time).
        rng: generator seeded by (server seed, key).
    """

    path: str
    body: dict[str, Any]
    key: str
    attempt: int
    headers: dict[str, str] = field(repr=False, default_factory=dict)
    rng: random.Random = field(repr=False, default_factory=random.Random)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat messages."""
        return list(self.body.get("messages") or [])

    @property
    def last(self) -> str:
        """Text of the last message."""
        return str(self.messages[-1].get("content") or "") if self.messages else ""

    @property
    def text(self) -> str:
        """Text of all messages, one after another."""
        return "\n".join(str(m.get("content") or "") for m in self.messages)


Answer = str | dict[str, Any] | Reply | Fault
Script = Callable[[FakeRequest], Any] | Sequence[Answer] | Mapping[str, Answer] | Oracle | Answer | None


class FakeOpenAI:
    """The server; see the module's docstring. A context manager for ``with`` and ``async with``.

    Args:
        script: what to answer.
        faults: when to fail: a `Fault` or a function of the request.
        seed: changes every drawn number.
        latency_s: seconds before each answer, a number or a function of the request.
        models: names under ``/v1/models``; other names get 404 unless this is empty.
        capacity: answer 429 beyond so many requests at once (no limit when None).
    """

    def __init__(
        self,
        script: Script = None,
        *,
        faults: Fault | Callable[[FakeRequest], Fault | None] | None = None,
        seed: int = 0,
        latency_s: float | Callable[[FakeRequest], float] = 0.0,
        models: Sequence[str] = (),
        capacity: int | None = None,
    ):
        self.script = script
        self.faults = faults
        self.seed = seed
        self.latency_s = latency_s
        self.models = tuple(models)
        self.capacity = capacity
        self.oracle = script if isinstance(script, Oracle) else Oracle()
        self.requests: list[FakeRequest] = []
        self.max_in_flight = 0
        self._in_flight = 0
        self._seen: Counter[str] = Counter()
        self._turn = 0
        self._lock = threading.Lock()
        self._server = LoopbackServer(self._handle)

    # ---- life
    def start(self) -> FakeOpenAI:
        """Start serving; returns self."""
        self._server.start()
        return self

    def close(self) -> None:
        """Stop; safe to call twice."""
        self._server.close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> FakeOpenAI:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    @property
    def root(self) -> str:
        """Address without ``/v1``."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        """Base URL for OpenAI clients."""
        return f"{self.root}/v1"

    @property
    def hits(self) -> int:
        """Requests received so far."""
        return len(self.requests)

    def count(self, path: str) -> int:
        """Requests received on a path (without ``/v1``)."""
        return sum(request.path == path for request in self.requests)

    # ---- one request
    async def _handle(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> HttpReply:
        path = path.split("?")[0].removeprefix("/v1")
        if method == "GET":
            listed = [{"id": name, "object": "model"} for name in self.models or ("fake",)]
            return json_reply({"object": "list", "data": listed}) if path == "/models" else json_reply({"ok": True})
        try:
            body = json.loads(raw)
        except ValueError:
            return json_reply({"error": {"message": "the body is not JSON"}}, 400)
        request = self._register(path, body, headers)
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            return await self._respond(request)
        finally:
            self._in_flight -= 1

    def _register(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> FakeRequest:
        canonical = path + json.dumps(body, sort_keys=True)
        key = hashlib.sha256(canonical.encode()).hexdigest()
        request = FakeRequest(path, body, key, self._seen[key], headers, random.Random(f"{self.seed}:{key}"))
        self._seen[key] += 1
        self.requests.append(request)
        return request

    async def _respond(self, request: FakeRequest) -> HttpReply:
        latency = self.latency_s(request) if callable(self.latency_s) else self.latency_s
        if latency:
            await asyncio.sleep(latency)
        fault = self.faults(request) if callable(self.faults) else self.faults
        if fault is not None and fault.times is not None and request.attempt >= fault.times:
            fault = None
        if self.capacity is not None and self._in_flight > self.capacity:
            fault = Fault("rate_limit")
        if fault is not None and (failed := _transport_fault(fault)) is not None:
            return failed
        if self.models and request.body.get("model") not in self.models:
            return json_reply({"error": {"message": f"model {request.body.get('model')!r} not found"}}, 404)
        serve = {
            "/chat/completions": self._chat, "/embeddings": self._embeddings, "/score": self._score,
            "/rerank": self._rerank, "/classify": self._classify,
        }.get(request.path)  # fmt: skip
        if serve is None:
            return json_reply({"error": {"message": f"no such path {request.path}"}}, 404)
        return await serve(request, fault)

    # ---- chat
    async def _chat(self, request: FakeRequest, fault: Fault | None) -> HttpReply:
        answer = await self._answer(request)
        if isinstance(answer, Fault):
            fault = answer
            if (failed := _transport_fault(fault)) is not None:
                return failed
            answer = Reply(self.oracle.answer(request.text, request.rng) or "partial answer")
        if fault is not None:
            answer = _content_fault(fault, answer)
        payload = self._payload(request, answer)
        if fault is not None and fault.kind == "empty_choices":
            payload["choices"] = []
        data = json.dumps(payload).encode()
        if fault is not None and fault.kind == "truncated_json":
            return HttpReply(200, data[: len(data) // 2])
        if fault is not None and fault.kind == "reset":
            return HttpReply(200, data, reset_after=len(data) // 2)
        if request.body.get("stream"):
            return HttpReply(200, _stream(payload), delay_s=answer.delay_s)
        return HttpReply(200, data, delay_s=answer.delay_s)

    async def _answer(self, request: FakeRequest) -> Reply | Fault:
        script = self.script
        found: Any = None
        if callable(script):
            found = script(request)
            if inspect.isawaitable(found):
                found = await found
        elif isinstance(script, Mapping):
            found = next((value for key, value in script.items() if key in request.last), None)
        elif isinstance(script, (str, Reply, Fault)):
            found = script
        elif isinstance(script, Sequence) and script:
            with self._lock:
                found = script[min(self._turn, len(script) - 1)]
                self._turn += 1
        if found is None:
            found = self.oracle.answer(request.text, request.rng) or f"reply-{request.key[:8]}"
        if isinstance(found, (Reply, Fault)):
            return found
        return Reply(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))

    def _payload(self, request: FakeRequest, answer: Reply) -> dict[str, Any]:
        pieces = _pieces(answer.text or "")
        if answer.token_ids is not None:
            ids = list(answer.token_ids)
            pieces = pieces if len(pieces) == len(ids) else [f"<{i}>" for i in ids]
        else:
            ids = [_token_id(piece) for piece in pieces]
        logprobs = list(answer.logprobs or (-0.01 - request.rng.random() for _ in ids))
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.tool_calls:
            message["tool_calls"] = [dict(call) for call in answer.tool_calls]
        if answer.refusal:
            message |= {"refusal": answer.refusal, "content": None}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
        if request.body.get("logprobs"):
            choice["logprobs"] = {
                "content": [
                    {"token": p, "logprob": lp, "bytes": None, "top_logprobs": [{"token": p, "logprob": lp}]}
                    for p, lp in zip(pieces, logprobs, strict=True)
                ]
            }
        prompt_ids = [_token_id(piece) for piece in _pieces(request.text)]
        payload = {
            "id": f"chatcmpl-{request.key[:12]}",
            "object": "chat.completion",
            "created": 0,
            "model": answer.model or request.body.get("model", "fake"),
            "system_fingerprint": "fp_fake",
            "choices": [choice],
            "usage": {
                "prompt_tokens": len(prompt_ids),
                "completion_tokens": len(ids),
                "total_tokens": len(prompt_ids) + len(ids),
            },
        }
        if request.body.get("return_token_ids"):
            choice["token_ids"] = ids
            payload["prompt_token_ids"] = prompt_ids
        return payload

    # ---- other endpoints
    async def _embeddings(self, request: FakeRequest, fault: Fault | None) -> HttpReply:
        texts = _texts(request.body.get("input"))
        data = [{"object": "embedding", "index": i, "embedding": embed(text)} for i, text in enumerate(texts)]
        usage = {"prompt_tokens": sum(len(_pieces(t)) for t in texts), "total_tokens": 0}
        return json_reply({"object": "list", "model": request.body.get("model"), "data": data, "usage": usage})

    def _probability(self, text: str) -> float:
        return 1 / (1 + math.exp(-self.oracle.true_quality(text)))

    async def _score(self, request: FakeRequest, fault: Fault | None) -> HttpReply:
        documents = _texts(request.body.get("documents", request.body.get("text_2")))
        data = [{"index": i, "object": "score", "score": self._probability(d)} for i, d in enumerate(documents)]
        return json_reply({"id": "score-fake", "object": "list", "model": request.body.get("model"), "data": data})

    async def _rerank(self, request: FakeRequest, fault: Fault | None) -> HttpReply:
        documents = _texts(request.body.get("documents"))
        rows: list[dict[str, Any]] = [
            {"index": i, "document": {"text": d}, "relevance_score": self._probability(d)}
            for i, d in enumerate(documents)
        ]
        rows.sort(key=lambda row: -row["relevance_score"])
        return json_reply({"id": "rerank-fake", "model": request.body.get("model"), "results": rows})

    async def _classify(self, request: FakeRequest, fault: Fault | None) -> HttpReply:
        data = []
        for index, text in enumerate(_texts(request.body.get("input"))):
            same = self._pair_is_same(text)
            positive = self._probability(text) if same is None else (0.95 if same else 0.05)
            label = "LABEL_1" if positive > 0.5 else "LABEL_0"
            data.append({"index": index, "label": label, "probs": [1 - positive, positive], "num_classes": 2})
        return json_reply({"id": "classify-fake", "object": "list", "model": request.body.get("model"), "data": data})

    def _pair_is_same(self, text: str) -> bool | None:
        """For "CLS a SEP b SEP" inputs, whether a and b are in one true cluster."""
        parts = text.replace("[CLS]", "CLS").replace("[SEP]", "SEP").removeprefix("CLS").split("SEP")
        if len(parts) < 3 or not text.lstrip().startswith(("CLS", "[CLS]")):
            return None
        return self.oracle._key(parts[-3].strip()) == self.oracle._key(parts[-2].strip())


@contextmanager
def judge_server(service: Any = None, *, app: Any = None, **config: Any) -> Iterator[str]:
    """A judge server in a thread of this process; gives its address and stops it afterwards.

    Args:
        service: a `JudgeService`; one programmatic judge when None.
        app: an application of `create_app` instead.
        config: fields of `JudgeServerConfig`.
    """
    from .server import JudgeServerConfig, create_app

    with serving(app or create_app(JudgeServerConfig(**config), service=service)) as url:
        yield url


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Any ASGI application on a loopback port, in a thread of this process; gives its address, stops it afterwards."""
    import time

    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, name="palaestra-server", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def embed(text: str, size: int = 32) -> list[float]:
    """A unit vector of hashed character trigrams: texts that share trigrams are near each other."""
    vector = [0.0] * size
    padded = f"  {text.casefold()}  "
    for i in range(len(padded) - 2):
        digest = hashlib.sha256(padded[i : i + 3].encode("utf-8", "surrogatepass")).digest()
        vector[digest[0] % size] += 1.0 if digest[1] % 2 else -1.0
    norm = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / norm for x in vector]


def _transport_fault(fault: Fault) -> HttpReply | None:
    """Faults that replace the whole reply."""
    if fault.kind == "hang":
        return HttpReply(hang=True)
    status = _STATUS.get(fault.kind)
    if status is None:
        return None
    words = "This model's maximum context length is 10 tokens" if fault.kind == "context_length" else fault.kind
    headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
    return json_reply({"error": {"message": words, "code": fault.kind}}, status, headers=headers)


def _content_fault(fault: Fault, answer: Reply) -> Reply:
    """Faults inside an otherwise well-formed reply."""
    text = answer.text or ""
    changed = {
        "refusal": Reply(None, refusal="I cannot help with that."),
        "content_filter": Reply("", finish_reason="content_filter"),
        "null_content": Reply(None),
        "wrong_model": Reply(text, model="another-model"),
        "prose": Reply(f"Sure! Here is my verdict:\n```json\n{text}\n```\nLet me know if you need anything else."),
        "length": Reply(text[: len(text) // 2], finish_reason="length"),
    }
    return changed.get(fault.kind, answer)


def _stream(payload: dict[str, Any]) -> list[bytes]:
    choice = payload["choices"][0] if payload["choices"] else None
    base = {k: payload[k] for k in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    if choice:
        deltas += [{"content": piece} for piece in _pieces(choice["message"]["content"] or "")]
    rows = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if choice:
        rows.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    rows.append({**base, "choices": [], "usage": payload["usage"]})
    return [json.dumps(row).encode() for row in rows] + [b"[DONE]"]


def _pieces(text: str) -> list[str]:
    return [text[i : i + 4] for i in range(0, len(text), 4)]


def _token_id(piece: str) -> int:
    return int.from_bytes(hashlib.sha256(piece.encode("utf-8", "surrogatepass")).digest()[:2], "big")


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in value or []]
