"""What the server counts, in Prometheus' format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """One registry a server, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of = self.registry
        self.sessions_open = Gauge("palaestra_env_sessions_open", "Running episodes.", registry=of)
        self.sessions = Counter("palaestra_env_sessions", "Episodes started.", ["env_id"], registry=of)
        self.closed = Counter("palaestra_env_sessions_closed", "Episodes ended, by cause.", ["why"], registry=of)
        self.steps = Counter("palaestra_env_steps", "Steps, scored or not.", ["env_id", "outcome"], registry=of)
        self.seconds = Histogram(
            "palaestra_env_seconds", "Time of one reset or step, queueing included.", ["what"], registry=of
        )

    def text(self) -> bytes:
        """The current values."""
        return generate_latest(self.registry)
