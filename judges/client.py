"""`JudgeClient`: the judge server over HTTP, with deadlines, bounded retries and results matched by id."""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, overload

import httpx
from pydantic import BaseModel, ValidationError

from ..lm import parse_retry_after, run_sync
from ..schema import Group, RewardResult, RewardStatus
from .account import Account
from .errors import (
    JudgeAuthError,
    JudgeError,
    JudgeProtocolError,
    JudgeRequestError,
    JudgeTimeout,
    JudgeUnavailable,
)
from .results import Partition, as_list, by_id, group_body, item_bodies, partitioned, plain, ranked, scored
from .rubric import Rubric
from .types import (
    Budget,
    CompareReply,
    DiversityReply,
    Item,
    JudgeInfo,
    Pair,
    PairResult,
    PartitionReply,
    PlanReply,
    RankReply,
    Reply,
    ResponseGroup,
    ScoreReply,
    VerifyReply,
    VerifyResult,
)

R = TypeVar("R", bound=BaseModel)
GroupLike = Group | ResponseGroup | Mapping[str, Any]
ItemLike = Item | Mapping[str, Any]
RubricLike = str | Rubric | Mapping[str, Any] | None


class JudgeClient:
    """Talks to a judge server. Safe to use from several event loops and, through the ``_sync`` twins, from none.

    Args:
        url: address of the server, without ``/v1``.
        token: bearer token.
        judge: judge to ask unless a call names another; the server's default when None.
        run_id: run the requests belong to; the server serves runs in turn.
        connect_s, read_s, deadline_s: seconds to connect, between two reads, and in all with retries.
        max_attempts: tries of one request while the server is down, busy or paused.

    Every method also takes ``judge``, ``budget`` (`Budget` or dict), ``cache`` (use, refresh, off, only), ``seed``,
    ``deadline_s`` and ``on_reply``, which is called with the name of the operation and the server's whole reply.
    ``account`` adds up what the replies cost and how the judges behaved (`Account.metrics`).
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8400",
        *,
        token: str | None = None,
        judge: str | None = None,
        run_id: str | None = None,
        connect_s: float = 5.0,
        read_s: float = 120.0,
        deadline_s: float = 300.0,
        max_attempts: int = 3,
    ):
        for name, value in (("connect_s", connect_s), ("read_s", read_s), ("deadline_s", deadline_s)):
            if value is None or not value > 0:
                raise ValueError(f"JudgeClient.{name} is {value}; give a positive number (no call may wait for ever)")
        if max_attempts < 1:
            raise ValueError(f"JudgeClient.max_attempts is {max_attempts}; it must be at least 1")
        self.url = url.rstrip("/").removesuffix("/v1")
        self.judge, self.run_id = judge, run_id
        self.connect_s, self.read_s, self.deadline_s = connect_s, read_s, deadline_s
        self.max_attempts = max_attempts
        self.account = Account()
        self._token = token
        self._clients: weakref.WeakKeyDictionary[Any, httpx.AsyncClient] = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"JudgeClient({self.url!r}, judge={self.judge!r})"

    async def __aenter__(self) -> JudgeClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    # ---- operations
    async def score(
        self,
        items: Group | Sequence[Group] | Sequence[ItemLike],
        rubric: RubricLike = None,
        *,
        n_samples: int = 1,
        aggregate: str = "mean",
        **options: Any,
    ) -> list[RewardResult]:
        """Score rollouts or items on a rubric.

        Args:
            items: a group, several groups, or items (`Item` or dicts with id, prompt, response, reference).
            rubric: name of a rubric of the server, or a rubric.
            n_samples: verdicts per item, combined by ``aggregate`` (mean, median, min).

        Returns:
            One result per rollout or item in input order. ``reward`` is None unless it was judged.

        Raises:
            JudgeError: the whole request failed.
        """
        rows = item_bodies(items)
        if not rows:
            return []
        body = {"items": rows, "rubric": plain(rubric), "n_samples": n_samples, "aggregate": aggregate}
        reply = await self._post("score", body, ScoreReply, options)
        found = by_id(reply.results)
        return [scored(row["id"], found.get(row["id"])) for row in rows]

    async def rank(
        self,
        group: GroupLike | Sequence[GroupLike],
        *,
        rubric: RubricLike = None,
        method: str = "auto",
        estimator: str = "auto",
        order_policy: str | None = None,
        reward: str = "quantile_z",
        degree: int | None = None,
        rounds: int | None = None,
        anchor_id: str | None = None,
        **options: Any,
    ) -> list[RewardResult]:
        """Rank the responses of one or several groups against each other.

        Returns:
            One result per rollout in input order, with ``rank`` (1 is best, ties share) and ``reward``.
        """
        groups = [group_body(g) for g in as_list(group)]
        if not groups:
            return []
        reply = await self.ranking(
            groups, rubric=rubric, method=method, estimator=estimator, order_policy=order_policy, reward=reward,
            degree=degree, rounds=rounds, anchor_id=anchor_id, **options,
        )  # fmt: skip
        found = {g.id: by_id(g.ranking) for g in reply.groups or []}
        return [ranked(row["id"], found.get(g["id"], {}).get(row["id"])) for g in groups for row in g["responses"]]

    async def ranking(
        self, group: GroupLike | Sequence[GroupLike], *, rubric: RubricLike = None, method: str = "auto",
        estimator: str = "auto", order_policy: str | None = None, reward: str = "quantile_z", degree: int | None = None,
        rounds: int | None = None, anchor_id: str | None = None, **options: Any,
    ) -> RankReply:  # fmt: skip
        """The server's whole reply to a ranking, one `GroupRanking` a group in ``groups``.

        Each has ``results()`` (what `rank` returns for it), ``matches``, ``byes``, ``stats``, ``usage`` and ``judge``,
        and ``model_dump(mode="json")`` of it is what a viewer needs to draw the bracket or the comparison graph.
        """
        body = {
            "groups": [group_body(g) for g in as_list(group)], "rubric": plain(rubric), "method": method,
            "estimator": estimator,
            "order_policy": order_policy, "reward": reward, "degree": degree, "rounds": rounds, "anchor_id": anchor_id,
        }  # fmt: skip
        return await self._post("rank", body, RankReply, options)

    @overload
    async def partition(self, group: GroupLike, scope: str = ..., **options: Any) -> Partition: ...
    @overload
    async def partition(self, group: Sequence[GroupLike], scope: str = ..., **options: Any) -> list[Partition]: ...

    async def partition(
        self,
        group: GroupLike | Sequence[GroupLike],
        scope: str = "answer",
        *,
        method: str = "auto",
        threshold: float | None = None,
        correct: Mapping[str, bool] | None = None,
        max_repair_calls: int = 0,
        alpha: float | None = None,
        **options: Any,
    ) -> Partition | list[Partition]:
        """Cluster the responses of one group (or of each of several).

        Args:
            scope: ``answer`` (same final result), ``semantic`` (same meaning) or ``strategy`` (same approach).
            correct: rollout id to whether it is right, for scope ``strategy``.
            alpha: exponent of the uniqueness weight.
        """
        many = isinstance(group, Sequence)
        groups = [group_body(g) for g in as_list(group)]
        if not groups:
            return []
        body: dict[str, Any] = {
            "scope": scope, "method": method, "threshold": threshold, "max_repair_calls": max_repair_calls,
            "alpha": alpha,
        }  # fmt: skip
        if correct is not None:
            for row in (row for g in groups for row in g["responses"]):
                row["correct"] = correct.get(row["id"])
        body["groups"] = groups
        reply = await self._post("partition", body, PartitionReply, options)
        found = {g.id: g for g in reply.groups or []}
        partitions = [partitioned(g, found.get(g["id"]), reply.usage) for g in groups]
        return partitions if many else partitions[0]

    async def compare(
        self, pairs: Sequence[Pair | Mapping[str, Any]], *, rubric: RubricLike = None, order_policy: str = "both",
        allow_tie: bool = True, **options: Any,
    ) -> list[PairResult]:  # fmt: skip
        """Say of each pair (id, prompt, a, b) which response is better."""
        rows = [plain(pair) for pair in pairs]
        body = {"pairs": rows, "rubric": plain(rubric), "order_policy": order_policy, "allow_tie": allow_tie}
        reply = await self._post("compare", body, CompareReply, options)
        found = by_id(reply.results)
        return [found.get(row["id"]) or PairResult(id=row["id"], status=RewardStatus.UNSCORED) for row in rows]

    async def diversity(
        self, texts: GroupLike | Sequence[str], *, metrics: Sequence[str] = (), scope: str = "semantic", **options: Any
    ) -> DiversityReply:
        """Measure how different texts are."""
        many = isinstance(texts, Sequence) and not isinstance(texts, str)
        body: dict[str, Any] = {"texts": list(texts)} if many else {"group": group_body(texts)}  # type: ignore[arg-type]
        return await self._post(
            "diversity", {**body, "metrics": list(metrics), "scope": scope}, DiversityReply, options
        )

    async def verify(
        self, items: Sequence[ItemLike], verifier: Mapping[str, Any], **options: Any
    ) -> list[VerifyResult]:
        """Grade items with a grader object (``string_check``, ``label_model``, ``multi``, ...)."""
        rows = item_bodies(items)
        reply = await self._post("verify", {"items": rows, "verifier": dict(verifier)}, VerifyReply, options)
        found = by_id(reply.results)
        return [found.get(row["id"]) or VerifyResult(id=row["id"], status=RewardStatus.UNSCORED) for row in rows]

    async def plan(self, operation: str, request: Mapping[str, Any]) -> PlanReply:
        """Calls, rounds, tokens and cost of a request, without sending it to a judge."""
        body = {"operation": operation, "request": {**self._envelope({}), **request}}
        return _read(await self._request("POST", "/v1/plan", body, self.deadline_s), PlanReply)

    async def judges(self) -> list[JudgeInfo]:
        """Judges the server offers."""
        reply = await self._request("GET", "/v1/judges", None, self.deadline_s)
        return [JudgeInfo.model_validate(row) for row in reply.get("judges", [])]

    async def rubrics(self) -> list[Rubric]:
        """Rubrics the server knows by name."""
        reply = await self._request("GET", "/v1/rubrics", None, self.deadline_s)
        return [Rubric.model_validate(row) for row in reply.get("rubrics", [])]

    async def health(self) -> bool:
        """Whether the server is up and takes work. Never raises."""
        try:
            return (await self._http().get(f"{self.url}/readyz", timeout=self.connect_s)).status_code == 200
        except httpx.HTTPError:
            return False

    # ---- blocking twins
    def close(self) -> None:
        """Close the connections that the blocking twins use."""
        run_sync(self.aclose())

    def score_sync(self, items: Any, rubric: RubricLike = None, **options: Any) -> list[RewardResult]:
        """`score` for code without an event loop."""
        return run_sync(self.score(items, rubric, **options))

    def rank_sync(self, group: Any, **options: Any) -> list[RewardResult]:
        """`rank` for code without an event loop."""
        return run_sync(self.rank(group, **options))

    def ranking_sync(self, group: Any, **options: Any) -> RankReply:
        """`ranking` for code without an event loop."""
        return run_sync(self.ranking(group, **options))

    def partition_sync(self, group: Any, scope: str = "answer", **options: Any) -> Any:
        """`partition` for code without an event loop."""
        return run_sync(self.partition(group, scope, **options))

    def compare_sync(self, pairs: Any, **options: Any) -> list[PairResult]:
        """`compare` for code without an event loop."""
        return run_sync(self.compare(pairs, **options))

    def diversity_sync(self, texts: Any, **options: Any) -> DiversityReply:
        """`diversity` for code without an event loop."""
        return run_sync(self.diversity(texts, **options))

    def verify_sync(self, items: Any, verifier: Mapping[str, Any], **options: Any) -> list[VerifyResult]:
        """`verify` for code without an event loop."""
        return run_sync(self.verify(items, verifier, **options))

    def plan_sync(self, operation: str, request: Mapping[str, Any]) -> PlanReply:
        """`plan` for code without an event loop."""
        return run_sync(self.plan(operation, request))

    def judges_sync(self) -> list[JudgeInfo]:
        """`judges` for code without an event loop."""
        return run_sync(self.judges())

    def rubrics_sync(self) -> list[Rubric]:
        """`rubrics` for code without an event loop."""
        return run_sync(self.rubrics())

    def health_sync(self) -> bool:
        """`health` for code without an event loop."""
        return run_sync(self.health())

    # ---- transport
    def _envelope(self, options: dict[str, Any]) -> dict[str, Any]:
        known = {"judge", "budget", "cache", "seed", "deadline_s", "request_id", "metadata", "on_reply"}
        if set(options) - known:
            raise TypeError(f"unknown options {sorted(set(options) - known)}; known: {sorted(known)}")
        budget = options.get("budget")
        row = {
            "run_id": self.run_id, "judge": options.get("judge") or self.judge, "cache": options.get("cache"),
            "budget": budget.model_dump() if isinstance(budget, Budget) else budget, "seed": options.get("seed"),
            "request_id": options.get("request_id"), "metadata": options.get("metadata"),
        }  # fmt: skip
        return {k: v for k, v in row.items() if v is not None}

    async def _post(self, operation: str, body: dict[str, Any], model: type[R], options: dict[str, Any]) -> R:
        deadline = min(options.get("deadline_s") or self.deadline_s, self.deadline_s)
        full = {**{k: v for k, v in body.items() if v is not None}, **self._envelope(options)}
        reply = _read(await self._request("POST", f"/v1/{operation}", full, deadline), model)
        if isinstance(reply, Reply):
            self.account.add(reply)
        if (hear := options.get("on_reply")) is not None:
            hear(operation, reply)
        return reply

    async def _request(self, method: str, path: str, body: Any, deadline_s: float) -> Any:
        """One request with retries of what may pass, within the deadline."""
        end = time.monotonic() + deadline_s
        attempt = 0
        while True:
            attempt += 1
            left = end - time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0.001)):
                    return await self._once(method, path, body, left)
            except TimeoutError:
                raise JudgeTimeout(f"judge server {self.url}: no answer within {deadline_s:g} s") from None
            except JudgeUnavailable as error:
                pause = error.details.get("retry_after") if isinstance(error.details, dict) else None
                pause = pause if pause is not None else 0.25 * 2**attempt * random.uniform(0.5, 1.0)
                if attempt >= self.max_attempts or time.monotonic() + pause >= end:
                    raise
            await asyncio.sleep(pause)

    async def _once(self, method: str, path: str, body: Any, left_s: float) -> Any:
        # The server's deadline is the shorter one, so that it still has time to send what it has got.
        theirs = left_s - min(5.0, 0.2 * left_s)
        headers = {"prefer": "partial", "x-deadline-ms": str(max(1, int(theirs * 1000)))}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            reply = await self._http().request(method, f"{self.url}{path}", json=body, headers=headers)
        except httpx.TimeoutException as error:
            kind = JudgeUnavailable if isinstance(error, httpx.ConnectTimeout) else JudgeTimeout
            raise kind(f"judge server {self.url}: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise JudgeUnavailable(
                f"judge server {self.url} cannot be reached ({error or type(error).__name__}); start it with "
                "'palaestra serve judges' or correct the url"
            ) from error
        try:
            data = reply.json()
        except ValueError as error:
            if reply.status_code >= 500:
                raise JudgeUnavailable(f"judge server {self.url}: HTTP {reply.status_code}") from error
            raise JudgeProtocolError(
                f"{self.url} answers {reply.status_code} without JSON; is it a judge server?"
            ) from error
        partial = reply.status_code == 504 and isinstance(data, dict) and data.get("partial")
        if reply.status_code == 200 or partial:
            return data
        raise _error_of(self.url, reply, data)

    def _http(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            timeout = httpx.Timeout(self.read_s, connect=self.connect_s)
            client = self._clients[loop] = httpx.AsyncClient(timeout=timeout, trust_env=False)
        return client


def _error_of(url: str, reply: httpx.Response, data: Any) -> JudgeError:
    info = data.get("error") if isinstance(data, dict) else None
    info = info if isinstance(info, dict) else {}
    code, text = info.get("code"), info.get("message") or str(data)[:200]
    message = f"judge server {url}: HTTP {reply.status_code}: {text}"
    if reply.status_code in (401, 403):
        return JudgeAuthError(message, code=code, details=info.get("details"))
    if reply.status_code == 504:
        return JudgeTimeout(message, code=code)
    if reply.status_code == 429 or reply.status_code >= 500:
        return JudgeUnavailable(message, code=code, details={"retry_after": parse_retry_after(reply.headers)})
    return JudgeRequestError(message, code=code, details=info.get("details"))


def _read(data: Any, model: type[R]) -> R:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(p) for p in first["loc"])
        raise JudgeProtocolError(f"the reply is no {model.__name__}: {where}: {first['msg']}") from error
