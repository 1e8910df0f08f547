"""NeMo Gym's ``/seed_session``, ``/verify`` (task fields echoed) and ``/compare`` (the genrm_compare shape)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request

from ..problems import Problem
from ..types import RankRequest, Response, ResponseGroup
from .state import until_disconnect

if TYPE_CHECKING:
    from .dialects import Dialects

# Fields in which tasks of this dialect carry their known answer, in order of preference.
REFERENCES = ("expected_answer", "ground_truth", "reference_answer", "answer", "label")


def output_text(response: Any) -> str:
    """The text of a response object of the Responses API: its output messages, one after another.

    Raises:
        Problem: 422 when there is no such text.
    """
    if isinstance(response, str):
        return response
    if isinstance(response, dict):
        if isinstance(response.get("output_text"), str):
            return str(response["output_text"])
        parts = []
        for row in response.get("output") or []:
            content = row.get("content") if isinstance(row, dict) else None
            if isinstance(content, str):
                parts.append(content)
            elif isinstance(content, list):
                parts += [str(p.get("text", "")) for p in content if isinstance(p, dict) and p.get("text")]
        if isinstance(response.get("output"), list):
            return "\n".join(parts)
    raise Problem(422, "invalid_request", "response must be text or an object with 'output'")


def input_text(create_params: Any) -> str:
    """The conversation in ``responses_create_params.input`` as text."""
    rows = create_params.get("input") if isinstance(create_params, dict) else create_params
    if isinstance(rows, str):
        return rows
    return conversation(rows if isinstance(rows, list) else [])


def conversation(rows: list[Any]) -> str:
    """Messages with their roles, or the text of a single one."""
    texts = []
    for row in rows:
        if isinstance(row, dict):
            content = row.get("content")
            if isinstance(content, list):
                content = "".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
            texts.append((str(row.get("role", "user")), str(content or "")))
    return texts[0][1] if len(texts) == 1 else "\n\n".join(f"{role}: {text}" for role, text in texts)


def add_nemo(app: FastAPI, dialects: Dialects) -> None:
    """``POST /seed_session``, ``POST /verify`` and ``POST /compare``."""
    from .dialects import item

    @app.post("/seed_session")
    async def seed_session(request: Request) -> Any:
        await dialects.body(request)
        return {}  # a judge keeps nothing between calls; their clients ask before they verify

    @app.post("/verify")
    async def verify(request: Request) -> Any:
        body = await dialects.body(request)
        response = output_text(body.get("response"))
        reference = next((body[name] for name in REFERENCES if body.get(name) is not None), None)
        asked = item(input_text(body.get("responses_create_params")), response, reference)
        result = (await dialects.judge(request, [asked]))[0]
        extra: dict[str, Any] = {"reward": dialects.number(result), "judge_status": result.status.value}
        if result.reward is None:
            extra["_ng_failure_class"] = "judge_failed"
        return {**body, **extra}

    @app.post("/compare")
    async def compare(request: Request) -> Any:
        body = await dialects.body(request)
        objects = body.get("response_objs")
        if not isinstance(objects, list) or not 1 <= len(objects) <= 128:
            raise Problem(422, "invalid_request", "response_objs must be a list of 1 to 128 responses")
        history = body.get("conversation_history")
        prompt = conversation(history) if isinstance(history, list) else str(history or "")
        responses = [Response(id=str(i), response=output_text(obj)) for i, obj in enumerate(objects)]
        rubric: Any = dialects.settings.rubric
        if body.get("principle"):
            rubric = {"criteria": [{"name": "principle", "description": str(body["principle"])}]}
        group = ResponseGroup(prompt=prompt, responses=responses)
        asked = RankRequest.model_validate({"group": group, "rubric": rubric, "reward": "quantile"})
        with dialects.state.lifecycle.work():
            reply: Any = await until_disconnect(
                request, lambda: dialects.state.operate("rank", asked, dialects.context(asked))
            )
        rows = []
        for row in reply.ranking:
            if row.reward is None and dialects.settings.failure != "value":
                raise Problem(503, row.status.value, f"response {row.id} could not be ranked", retryable=True)
            rows.append(dialects.settings.fill if row.reward is None else row.reward)
        results = [_comparison(match) for match in reply.matches or [] if match.winner is not None]
        return {"rewards": rows, "comparison_results": results, "metrics": _numbers(reply.stats)}


def _comparison(match: Any) -> dict[str, Any]:
    """One match with ``ranking`` from 1 (the first much better) to 6 (the second much better)."""
    second = match.b if match.first == match.a else match.a
    by_id = {match.a: match.score_a, match.b: match.score_b}
    one, two = by_id[match.first], by_id[second]
    gap = (one - two) if one is not None and two is not None else 0.0
    won_first = match.winner == match.first if match.winner != "tie" else gap >= 0
    strength = 3 if abs(gap) >= 4 else 2 if abs(gap) >= 1.5 else 1
    ranking = 4 - strength if won_first else 3 + strength
    return {
        "response_i": int(match.first), "response_j": int(second), "judge_idx": 0, "score_1": one, "score_2": two,
        "ranking": ranking,
    }  # fmt: skip


def _numbers(stats: dict[str, Any]) -> dict[str, float]:
    return {k: float(v) for k, v in stats.items() if isinstance(v, (int, float))}
