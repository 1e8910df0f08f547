"""Prometheus metrics of a judge server. Labels are routes, judges and statuses, never text of users."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..limits import AdaptiveLimiter
from ..types import Reply

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One registry a server, so that several can live in one process. Also the judges' `Observer`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.requests = Counter("palaestra_judge_requests", "Requests", ["route", "status"], **own)
        self.latency = Histogram("palaestra_judge_request_seconds", "Latency", ["route"], buckets=_BUCKETS, **own)
        self.items = Counter("palaestra_judge_items", "Judged items", ["operation", "status"], **own)
        self.calls = Counter("palaestra_judge_calls", "Questions to judges by outcome", ["judge", "outcome"], **own)
        self.call_latency = Histogram("palaestra_judge_call_seconds", "Latency", ["judge"], buckets=_BUCKETS, **own)
        self.repairs = Counter("palaestra_judge_parse_repairs", "Repair turns", ["judge"], **own)
        self.canaries = Counter("palaestra_judge_canaries", "Probes by outcome", ["judge", "probe", "outcome"], **own)
        self.tokens = Counter("palaestra_judge_tokens", "Tokens", ["kind"], **own)
        self.cost = Counter("palaestra_judge_cost_usd", "Dollars", **own)
        self.quality = Gauge("palaestra_judge_quality", "Last value of a quality statistic", ["statistic"], **own)
        self.not_semantic = Counter("palaestra_judge_not_semantic", "Replies of judges without understanding", **own)
        self.limiter = Gauge("palaestra_judge_limiter", "State of the limiter", ["endpoint", "what"], **own)
        self.in_flight = Gauge("palaestra_judge_in_flight", "Requests being worked on", **own)

    def call(self, judge: str, outcome: str, seconds: float, repaired: bool) -> None:
        """Count one question to a judge."""
        self.calls.labels(judge, outcome).inc()
        self.call_latency.labels(judge).observe(seconds)
        if repaired:
            self.repairs.labels(judge).inc()

    def canary(self, judge: str, probe: str, passed: bool | None) -> None:
        """Count one canary probe."""
        outcome = "unscored" if passed is None else "passed" if passed else "failed"
        self.canaries.labels(judge, probe, outcome).inc()

    def reply(self, operation: str, reply: Reply) -> None:
        """Count the items and the cost of a reply."""
        rows: list[Any] = list(getattr(reply, "results", None) or [])
        for group in getattr(reply, "groups", None) or [reply]:
            rows += getattr(group, "ranking", None) or getattr(group, "items", None) or []
            self._quality(getattr(group, "stats", None) or {})
        for row in rows:
            self.items.labels(operation, row.status.value).inc()
        self.tokens.labels("prompt").inc(reply.usage.prompt_tokens)
        self.tokens.labels("completion").inc(reply.usage.completion_tokens)
        self.cost.inc(reply.usage.cost_usd or 0.0)
        if reply.judge is not None and reply.judge.not_semantic:
            self.not_semantic.inc()

    def _quality(self, stats: dict[str, Any]) -> None:
        for name in ("p_first", "tie_rate", "cyclic_triads", "length_correlation", "audit_drift", "position_bias"):
            if isinstance(stats.get(name), (int, float)):
                self.quality.labels(name).set(stats[name])

    def render(self, limiters: dict[str, AdaptiveLimiter]) -> bytes:
        """The exposition text."""
        for endpoint, limiter in limiters.items():
            self.limiter.labels(endpoint, "limit").set(limiter.limit)
            self.limiter.labels(endpoint, "in_flight").set(limiter.in_flight)
            self.limiter.labels(endpoint, "queued").set(limiter.queued)
        return generate_latest(self.registry)
