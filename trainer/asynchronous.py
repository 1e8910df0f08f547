"""The training loop with sampling beside it (`rollout.max_staleness` > 0): the same steps, fed by other hands."""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import replace
from typing import Any, Literal

from .batcher import Batcher
from .config import ConfigError, RolloutConfig
from .engines import make_engine
from .engines.base import UpdateReceipt
from .engines.decoder import why_unsupported
from .judging import Verdicts
from .loop import Trainer
from .objectives.corrections import correction
from .objectives.types import Objective
from .pipeline import Pipeline
from .policy import Policy
from .rollout import Play

TIS_CAP = 2.0


class AsyncTrainer(Trainer):
    """A run whose rollouts are played in another thread; see `Trainer` for the arguments."""

    pipeline: Pipeline | None = None
    _seconds = 0.0
    _stale = 0
    _waited = 0.0
    _position_at_start: dict[str, Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.objective.direct is not None:
            raise ConfigError(
                f"objective {self.objective.name!r} samples inside its loss, so nothing can be sampled beside it; set "
                "rollout.max_staleness = 0"
            )
        self.objective = with_correction(self.objective, self.config.objective.params)

    def open(self) -> None:
        """Load or restore, then begin to sample."""
        super().open()
        self.engine.update_weights(self.policy.model, self.step)
        rollout = self.config.rollout
        self.pipeline = Pipeline(
            self.worker,
            self.judging,
            lambda: Batcher(self.sampler, self._sampling(), eager=True),
            self._next_tasks,
            group_size=rollout.group_size,
            per_step=rollout.prompts_per_step,
            max_staleness=rollout.max_staleness,
            bounded=self.sampler is self.engine,
        )
        self.pipeline.start(self._position_at_start or {"cursor": self.cursor})

    def _engine_for(self, policy: Policy) -> Any:
        return engine_beside(self.config.rollout, policy)

    def _collect(self, cursor: int, again: int = 0) -> tuple[list[Play], Verdicts, int, float]:
        assert self.pipeline is not None
        start = time.perf_counter()
        found, stale = self.pipeline.take(self.config.rollout.prompts_per_step, self.step)
        self._waited = time.perf_counter() - start + (self._waited if again else 0.0)
        self._stale = stale + (self._stale if again else 0)
        verdicts = found[0].verdicts
        for one in found[1:]:
            verdicts = verdicts.joined(one.verdicts)
        seconds, self._seconds = self.pipeline.sampling_seconds - self._seconds, self.pipeline.sampling_seconds
        return [one.play for one in found], verdicts, cursor, seconds

    def _advance(self, cursor: int, memory: dict[str, Any]) -> None:
        assert self.pipeline is not None
        super()._advance(cursor, memory)
        self.pipeline.settle()

    def position(self) -> dict[str, Any]:
        if self.pipeline is not None:
            return self.pipeline.position()
        return self._position_at_start or super().position()

    def restore_position(self, state: dict[str, Any]) -> None:
        super().restore_position(state)
        self._position_at_start = {k: state[k] for k in ("cursor", "number", "pending") if k in state}

    def _feed_metrics(self) -> dict[str, float]:
        assert self.pipeline is not None
        return {"stale_groups": float(self._stale), "time/rollout": self._waited, **self.pipeline.counts()}

    def close(self) -> None:
        """End the sampling thread, then release what `Trainer` holds."""
        if self.pipeline is not None:
            self.pipeline.close()
        super().close()


def with_correction(objective: Objective, params: dict[str, Any]) -> Objective:
    """Truncated importance sampling, cap 2, for an objective whose run file does not choose a correction itself.

    The weight min(pi / mu, 2) compares the learner with the weights that sampled each token (their recorded
    log-probabilities), so it covers staleness as well as the gap between engine and learner.
    """
    if objective.correction is not None or "correction" in params or not objective.uses_rewards:
        return objective
    return replace(objective, correction=correction("token_truncate", 0.0, TIS_CAP))


def engine_beside(settings: RolloutConfig | str, policy: Policy) -> Any:
    """An engine that may sample in one thread while the policy is trained in another: it has weights of its own."""
    kind = settings if isinstance(settings, str) else settings.engine
    if kind == "native" and why_unsupported(policy.model) is None:
        from .engines.native import NativeEngine

        compiled = not isinstance(settings, str) and settings.compile
        return NativeEngine(policy.model, policy.tokenizer, own_copy=True, compiled=compiled)
    if kind in ("native", "hf"):
        twin = copy.deepcopy(policy.model).eval().requires_grad_(False)
        return TakingTurns(make_engine(kind, Policy(twin, policy.tokenizer, policy.end_ids)), copies=True)
    return TakingTurns(make_engine(settings, policy))


class TakingTurns:
    """An engine whose calls wait for each other; new weights come between two calls.

    Args:
        engine: any engine.
        copies: load a state dict into the engine's own module, and do not hand it the learner's.
    """

    def __init__(self, engine: Any, *, copies: bool = False) -> None:
        self.engine = engine
        self.copies = copies
        self._lock = threading.Lock()

    @property
    def version(self) -> int:
        """Version of the weights that are served."""
        return int(self.engine.version)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """See `Engine.sample`."""
        with self._lock:
            return self.engine.sample(*args, **kwargs)

    def score(self, *args: Any, **kwargs: Any) -> Any:
        """See `Engine.score`."""
        with self._lock:
            return self.engine.score(*args, **kwargs)

    def update_weights(self, source: Any = None, version: int = 0) -> UpdateReceipt:
        """See `Engine.update_weights`."""
        with self._lock:
            if self.copies and source is not None and not isinstance(source, dict):
                source = source.state_dict()
            receipt: UpdateReceipt = self.engine.update_weights(source, version)
            return receipt

    def pause(self, mode: Literal["keep", "wait", "abort"] = "wait") -> None:
        """See `Engine.pause`."""
        self.engine.pause(mode)

    def resume(self) -> None:
        """See `Engine.resume`."""
        self.engine.resume()

    def close(self) -> None:
        """See `Engine.close`."""
        with self._lock:
            self.engine.close()
