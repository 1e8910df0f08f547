"""Other trainers' wire formats on the same judges: OpenRLHF, slime, NeMo Gym, vLLM.

These routes accept fields they do not know. What could not be judged follows one configured policy: ``error`` answers
503, so that the trainer's own retry works; ``value`` sends a configured number. Nothing else ever becomes a number.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ...schema import RewardStatus
from ..base import PairQuestion
from ..cohort import CohortBuffer
from ..problems import Problem
from ..types import (
    BadItem,
    Envelope,
    Item,
    ItemResult,
    RankRequest,
    Response,
    ResponseGroup,
    ScoreRequest,
)
from .body import read_json
from .nemo import add_nemo
from .state import ServerState, until_disconnect

STATUS_CODES = {status: number for number, status in enumerate(RewardStatus)}
"""Numbers of statuses in OpenRLHF's ``extra_logs``, whose values must be numeric."""


@dataclass
class Dialects:
    """What all dialects need: judging plain (prompt, response, reference) triples under the failure policy."""

    state: ServerState

    def __post_init__(self) -> None:
        settings = self.state.config.dialects
        self.settings = settings
        self.cohorts: CohortBuffer[Item, ItemResult] = CohortBuffer(
            self._ranked, size=settings.cohort_size, wait_s=settings.cohort_wait_s, fallback=settings.cohort_fallback,
            alone=self._alone, unscored=lambda item: ItemResult(id=item.id, status=RewardStatus.UNSCORED),
        )  # fmt: skip

    async def body(self, request: Request) -> dict[str, Any]:
        """The checked body, an object.

        Raises:
            Problem: 401, 403, or what `read_json` refuses.
        """
        if not self.settings.open:
            self.state.tokens.require(request.headers.get("authorization"), "score")
        body = await read_json(request, self.state.config.max_body_bytes, strict_type=False)
        if not isinstance(body, dict):
            raise Problem(422, "invalid_request", "the body must be an object")
        self.state.admit()
        return body

    async def judge(
        self, request: Request, items: Sequence[Item | BadItem], *, cohorts: bool = True
    ) -> list[ItemResult]:
        """Score items, or gather them into cohorts and rank those, as configured (and where it makes sense)."""
        if not items:
            return []
        with self.state.lifecycle.work():
            if self.settings.mode == "rank" and cohorts:
                return await until_disconnect(request, lambda: self._cohort(items))
            return await until_disconnect(request, lambda: self.score(items))

    async def score(self, items: Sequence[Item | BadItem]) -> list[ItemResult]:
        """Score items, each on its own."""
        asked = ScoreRequest(items=list(items), rubric=self.settings.rubric)
        reply = await self.state.operate("score", asked, self.context(asked))
        return list(reply.results)  # type: ignore[attr-defined]

    async def _alone(self, item: Item) -> ItemResult:
        return (await self.score([item]))[0]

    async def _cohort(self, items: Sequence[Item | BadItem]) -> list[ItemResult]:
        async def one(item: Item | BadItem) -> ItemResult:
            if isinstance(item, BadItem):
                return (await self.score([item]))[0]
            key = json.dumps([item.model_dump(mode="json")["prompt"], str(item.reference)])
            return await self.cohorts.submit(key, item)

        return list(await asyncio.gather(*(one(item) for item in items)))

    async def _ranked(self, items: Sequence[Item]) -> list[ItemResult]:
        group = ResponseGroup(
            prompt=items[0].prompt, reference=items[0].reference,
            responses=[Response(id=item.id, response=item.response) for item in items],
        )  # fmt: skip
        asked = RankRequest(group=group, rubric=self.settings.rubric)
        reply = await self.state.operate("rank", asked, self.context(asked))
        rows = {row.id: row for row in reply.ranking}  # type: ignore[attr-defined]
        return [
            ItemResult(
                id=item.id, status=rows[item.id].status, score=rows[item.id].theta, reward=rows[item.id].reward,
                error=rows[item.id].error,
            )
            for item in items
        ]  # fmt: skip

    def context(self, asked: Envelope) -> Any:
        """A context for a request of a dialect."""
        return self.state.service.context(asked)

    def number(self, result: ItemResult) -> float:
        """The reward, or what the failure policy says.

        Raises:
            Problem: 503 under the policy ``error``; 422 for what sending again cannot change.
        """
        if result.reward is not None:
            return result.reward
        if self.settings.failure == "value" and self.settings.fill is not None:
            return self.settings.fill
        message = result.error.message if result.error else result.status.value
        if result.status is RewardStatus.INVALID_INPUT:
            raise Problem(422, "invalid_input", message)
        raise Problem(503, result.status.value, f"not judged: {message}", retryable=True, retry_after=1.0)


def item(prompt: Any, response: Any, reference: Any = None) -> Item | BadItem:
    """An item of a dialect; text or message lists, anything else is this item's own error."""
    key = f"item-{uuid.uuid4().hex[:12]}"
    try:
        return Item(id=key, prompt=prompt if prompt is not None else "", response=response, reference=reference)
    except ValueError:
        return BadItem(id=key, message="prompt and response must be text or lists of messages")


def add_dialects(app: FastAPI, state: ServerState) -> None:
    """All routes of other trainers."""
    dialects = Dialects(state)
    add_openrlhf(app, dialects)
    add_slime(app, dialects)
    add_vllm(app, dialects)
    add_nemo(app, dialects)


def add_openrlhf(app: FastAPI, dialects: Dialects) -> None:
    """``POST /get_reward`` with query, prompts, labels."""

    @app.post("/get_reward")
    async def get_reward(request: Request) -> Any:
        body = await dialects.body(request)
        queries = _strings(body, "query")
        prompts = _strings(body, "prompts", len(queries))
        labels = _listed(body, "labels", len(queries))
        items = [item(p, _after_prompt(q, p), ref) for q, p, ref in zip(queries, prompts, labels, strict=True)]
        results = await dialects.judge(request, items)
        rewards = [dialects.number(result) for result in results]
        logs = {
            "status_code": [float(STATUS_CODES[r.status]) for r in results],
            "cached": [float(r.cached) for r in results],
            "calls": [float(r.calls) for r in results],
        }
        return {"rewards": rewards, "scores": rewards, "extra_logs": logs}


def _strings(body: dict[str, Any], name: str, length: int | None = None) -> list[str]:
    rows = _listed(body, name, length)
    wrong = next((i for i, row in enumerate(rows) if row is not None and not isinstance(row, str)), None)
    if wrong is not None:
        raise Problem(422, "invalid_request", f"{name}[{wrong}] is {type(rows[wrong]).__name__}, not text")
    return [row or "" for row in rows]


def _listed(body: dict[str, Any], name: str, length: int | None = None) -> list[Any]:
    rows = body.get(name)
    if rows is None:
        return [None] * (length or 0)
    if not isinstance(rows, list):
        raise Problem(422, "invalid_request", f"{name} must be a list")
    if length is not None and len(rows) != length:
        raise Problem(422, "length_mismatch", f"{name} has {len(rows)} entries, query has {length}")
    return rows


def _after_prompt(query: str, prompt: str) -> str:
    """The response in a query that repeats the prompt; the whole query when it does not."""
    return query[len(prompt) :] if prompt and query.startswith(prompt) else query


def add_slime(app: FastAPI, dialects: Dialects) -> None:
    """``POST /slime``: the reply is the reward itself, or an object with ``?format=dict``."""

    @app.post("/slime")
    async def slime(request: Request, format: str = "number") -> Any:
        if format not in ("number", "dict"):
            raise Problem(422, "invalid_request", f"format is {format[:20]!r}; use number or dict")
        body = await dialects.body(request)
        result = (await dialects.judge(request, [item(body.get("prompt"), body.get("response"), body.get("label"))]))[0]
        score = dialects.number(result)
        if format == "number":
            return JSONResponse(score)
        return {"score": score, "status": result.status.value, "cached": result.cached, "flags": result.flags}


def add_vllm(app: FastAPI, dialects: Dialects) -> None:
    """``/score``, ``/rerank`` (also under ``/v1`` and ``/v2``) and ``/classify`` with vLLM's field names.

    Their requests are complete in themselves, so they are scored even where single requests are gathered into cohorts.
    """

    @app.post("/score")
    async def score(request: Request) -> Any:
        body = await dialects.body(request)
        queries = _texts(body, "queries" if "queries" in body else "text_1")
        documents = _texts(body, "documents" if "documents" in body else "text_2")
        if len(queries) == 1:
            queries = queries * len(documents)
        if len(queries) != len(documents):
            raise Problem(422, "length_mismatch", f"{len(queries)} queries for {len(documents)} documents")
        items = [item(q, d) for q, d in zip(queries, documents, strict=True)]
        results = await dialects.judge(request, items, cohorts=False)
        data = [{"index": i, "object": "score", "score": dialects.number(r)} for i, r in enumerate(results)]
        return _vllm("score", body, data=data, object="list")

    async def rerank(request: Request) -> Any:
        body = await dialects.body(request)
        query, documents = body.get("query"), _texts(body, "documents")
        if not isinstance(query, str):
            raise Problem(422, "invalid_request", "query must be text")
        results = await dialects.judge(request, [item(query, d) for d in documents], cohorts=False)
        rows = [
            {"index": i, "document": {"text": d}, "relevance_score": dialects.number(r)}
            for i, (d, r) in enumerate(zip(documents, results, strict=True))
        ]
        rows.sort(key=lambda row: (-float(row["relevance_score"]), row["index"]))  # type: ignore[arg-type]
        top = body.get("top_n")
        return _vllm("rerank", body, results=rows[: top if isinstance(top, int) and top > 0 else None])

    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        app.post(path)(rerank)

    @app.post("/classify")
    async def classify(request: Request) -> Any:
        body = await dialects.body(request)

        async def one(text: str) -> float:
            pair = split_pair(text)
            if pair is not None:
                return await _same(dialects, *pair)
            return dialects.number((await dialects.score([item("", text)]))[0])

        async def everything() -> list[float]:
            return list(await asyncio.gather(*(one(text) for text in _texts(body, "input"))))

        with dialects.state.lifecycle.work():
            found = await until_disconnect(request, everything)
        data = [
            {"index": i, "label": "LABEL_1" if p > 0.5 else "LABEL_0", "probs": [1 - p, p], "num_classes": 2}
            for i, p in enumerate(found)
        ]
        return _vllm("classify", body, data=data, object="list")


def split_pair(text: str) -> tuple[str, str] | None:
    """The two texts of ``CLS a SEP b SEP`` (with or without brackets), or None for any other input."""
    for opening, between in (("[CLS]", "[SEP]"), ("CLS", "SEP")):
        if text.lstrip().startswith(opening):
            parts = text.lstrip()[len(opening) :].split(between)
            if len(parts) == 3 and not parts[2].strip():
                return parts[0].strip(), parts[1].strip()
    return None


async def _same(dialects: Dialects, first: str, second: str) -> float:
    """Probability that two texts say the same, by the default judge, in the widest scope it knows."""
    judge = dialects.state.service.judges[dialects.state.service.default]
    scope = "semantic" if "same:semantic" in judge.capabilities else "answer"
    asked = Envelope()
    question = PairQuestion(prompt="", first=first, second=second, tag={"op": "classify"})
    found = await judge.same(question, scope, dialects.context(asked))
    if found.ok and found.values is not None and found.values["p_same"] is not None:
        return float(found.values["p_same"])
    status = found.status if not found.ok else RewardStatus.UNSCORED
    return dialects.number(ItemResult(id="pair", status=status, error=found.error))


def _texts(body: dict[str, Any], name: str) -> list[str]:
    rows = body.get(name)
    rows = rows if isinstance(rows, list) else [rows]
    texts = [row.get("text") if isinstance(row, dict) else row for row in rows]
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise Problem(422, "invalid_request", f"{name}[{wrong}] must be text")
    return [str(text) for text in texts]


def _vllm(kind: str, body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return {"id": f"{kind}-{uuid.uuid4().hex}", "model": str(body.get("model", "palaestra")), "usage": usage, **fields}
