"""Pair classifiers as judges: a vLLM ``/classify`` server, or the small trained model of this package.

Both answer only "are these two the same?"; everything else is ``unsupported``. A threshold belongs to its model.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
import weakref
from pathlib import Path
from typing import Any

import httpx

from ..lm import Usage, parse_retry_after
from ..schema import RewardStatus
from .base import Judge, PairQuestion
from .cache import cache_key
from .context import Context, RawVerdict, failed
from .textprep import fit


class ClassifyJudge(Judge):
    """A cross-encoder behind vLLM's ``/classify``, asked about ``CLS a SEP b SEP``.

    Args:
        name: what clients call it.
        model: model name on that server.
        base_url: address, with or without ``/v1``.
        threshold: probability above which a pair is the same; it ships with the model.
        template: how a pair is written; ``{a}`` and ``{b}`` are replaced literally.
        positive: index of "same" among the probabilities; the last by default.
        char_budget: characters of each text, head and tail kept.
        max_attempts, connect_s, read_s: retries and deadlines of one call.
    """

    kind = "classifier"
    paid = True
    capabilities = ("same:semantic", "same:strategy", "same:answer")

    def __init__(
        self,
        name: str,
        model: str,
        *,
        base_url: str,
        threshold: float = 0.5,
        template: str = "CLS {a} SEP {b} SEP",
        positive: int = -1,
        char_budget: int = 6_000,
        max_attempts: int = 3,
        connect_s: float = 5.0,
        read_s: float = 60.0,
    ):
        super().__init__(name)
        self.model, self.threshold, self.template, self.positive = model, threshold, template, positive
        self.url = base_url.rstrip("/").removesuffix("/v1") + "/classify"
        self.char_budget: int = char_budget
        self.max_attempts = max_attempts
        self._timeout = httpx.Timeout(read_s, connect=connect_s)
        self._clients: weakref.WeakKeyDictionary[Any, httpx.AsyncClient] = weakref.WeakKeyDictionary()

    async def same(self, question: PairQuestion, scope: str, context: Context) -> RawVerdict:
        """One call; the probability as the server gives it."""
        a, b = (fit(text, self.char_budget).text for text in (question.first, question.second))
        text = self._join(a, b)
        body = {"model": self.model, "input": text}
        key = cache_key(self.name, self.model, body, {}, "classify")
        cache = self.runtime.cache
        stored = cache.get(key) if cache is not None and context.cache in ("use", "only") else None
        if stored is not None:
            context.usage.cache_hits += 1
            return RawVerdict(RewardStatus.OK, stored["values"], cached=True)
        if context.cache == "only":
            return failed(RewardStatus.UNSCORED, "not in the cache, and cache is 'only'", code="cache_miss")
        verdict = await self._ask(body, len(text) // 4, context)
        if verdict.ok and cache is not None and context.cache != "off":
            cache.put(key, {"values": verdict.values})
        return verdict

    def _join(self, a: str, b: str) -> str:
        before, rest = self.template.split("{a}", 1)
        between, after = rest.split("{b}", 1)
        return before + a + between + b + after

    async def _ask(self, body: dict[str, Any], tokens: int, context: Context) -> RawVerdict:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = httpx.AsyncClient(timeout=self._timeout, trust_env=False)
        problem = failed(RewardStatus.UPSTREAM_ERROR, "not asked")
        for attempt in range(1, self.max_attempts + 1):
            if not context.meter.reserve(tokens):
                return failed(RewardStatus.BUDGET_EXHAUSTED, "the budget of the request is used up")
            pause = 0.25 * 2**attempt * random.uniform(0.5, 1.0)
            started = time.monotonic()
            try:
                async with asyncio.timeout(context.remaining_s()):
                    reply = await client.post(self.url, json=body)
            except (TimeoutError, httpx.TimeoutException):
                if context.remaining_s() == 0:
                    context.timed_out = True
                    return failed(RewardStatus.TIMEOUT, "the deadline of the request passed")
                problem = failed(RewardStatus.TIMEOUT, f"{self.url}: no answer", retryable=True)
                continue
            except httpx.HTTPError as error:
                problem = failed(RewardStatus.UPSTREAM_ERROR, f"{self.url}: {error}", retryable=True)
            else:
                context.spend(Usage(calls=1))
                if self.runtime.observer is not None:
                    self.runtime.observer.call(self.name, str(reply.status_code), time.monotonic() - started, False)
                if reply.status_code == 200:
                    return self._read(reply)
                status = RewardStatus.RATE_LIMITED if reply.status_code == 429 else RewardStatus.UPSTREAM_ERROR
                problem = failed(status, f"{self.url}: HTTP {reply.status_code}", retryable=True)
                if reply.status_code < 500 and reply.status_code != 429:
                    return problem
                pause = parse_retry_after(reply.headers) or pause
            if attempt == self.max_attempts or pause >= context.remaining_s():
                break
            await asyncio.sleep(pause)
        return problem

    def _read(self, reply: httpx.Response) -> RawVerdict:
        try:
            p = float(reply.json()["data"][-1]["probs"][self.positive])
        except (ValueError, KeyError, IndexError, TypeError):
            return failed(RewardStatus.PARSE_ERROR, "the reply has no data[-1].probs")
        if not (math.isfinite(p) and 0 <= p <= 1):
            return failed(RewardStatus.PARSE_ERROR, f"the reply gives {p} as a probability")
        return RawVerdict(RewardStatus.OK, {"p_same": p}, used=Usage(calls=1))


class PairModelJudge(Judge):
    """The trained `PairClassifier` as a judge: no network, no cost, its own threshold.

    Args:
        name: what clients call it.
        path: file written by ``palaestra judges fit-partition``.
        scopes: what it was trained to tell.
    """

    kind = "classifier"

    def __init__(self, name: str, path: str | Path, scopes: tuple[str, ...] = ("semantic", "strategy")):
        from .partition.classifier import PairClassifier

        super().__init__(name)
        self.model = PairClassifier.load(path)
        self.threshold = self.model.threshold
        self.capabilities = tuple(f"same:{scope}" for scope in scopes)

    async def same(self, question: PairQuestion, scope: str, context: Context) -> RawVerdict:
        """The classifier's probability."""
        if f"same:{scope}" not in self.capabilities:
            return self._cannot(f"tell scope {scope!r}")
        p = await asyncio.to_thread(self.model.p_same, question.first, question.second)
        return RawVerdict(RewardStatus.OK, {"p_same": p})
