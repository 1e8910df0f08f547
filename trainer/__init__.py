"""The trainer: rollouts, objectives, optimisation, evaluation.

    from palaestra.trainer import evaluate, load_config, train, warm_start

    config = load_config("run.toml", ["train.steps=50"])
    result = train(config, callbacks=[print])          # RunResult: folder, checkpoint, before, after, evals, stopped
    start = warm_start(config, "runs/start")           # Hugging Face folder; several runs may begin from it
    report = evaluate(config, model=result.checkpoint) # EvalReport: pass@k with intervals, greedy, distinct answers

Nothing heavy is imported until one of these is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import ConfigError, RunConfig, load_config

_LAZY = {
    "EvalReport": ".evaluation",
    "Event": ".events",
    "RunResult": ".events",
    "StopTraining": ".events",
    "evaluate": ".api",
    "export": ".export",
    "train": ".api",
    "warm_start": ".api",
}

__all__ = [
    "ConfigError",
    "EvalReport",
    "Event",
    "RunConfig",
    "RunResult",
    "StopTraining",
    "evaluate",
    "export",
    "load_config",
    "train",
    "warm_start",
]

if TYPE_CHECKING:
    from .api import evaluate, train, warm_start
    from .evaluation import EvalReport
    from .events import Event, RunResult, StopTraining
    from .export import export


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name], __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
