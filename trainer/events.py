"""What a run tells the outside while it goes on, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .evaluation import EvalReport


@dataclass(frozen=True)
class Event:
    """Something happened.

    Attributes:
        kind: ``start``, ``warmup`` (a check of the warm start), ``step``, ``eval``, ``checkpoint`` or ``end``.
        step: training steps done.
        total: training steps wanted.
        metrics: numbers of it.
        report: the evaluation, for ``eval``.
        message: one line for people.
    """

    kind: Literal["start", "warmup", "step", "eval", "checkpoint", "end"]
    step: int
    total: int
    metrics: dict[str, Any] = field(default_factory=dict)
    report: EvalReport | None = None
    message: str = ""


class StopTraining(Exception):
    """Raised by a callback on a ``step``, ``eval`` or ``checkpoint`` event to end the run there.

    What is done is saved and the run returns with the message as `RunResult.stopped`; it can be resumed.
    """


Callback = Callable[[Event], None]
"""Told about every event in the training thread; may raise `StopTraining`."""


@dataclass(frozen=True)
class RunResult:
    """What a finished (or stopped) run leaves.

    Attributes:
        folder: the run folder.
        checkpoint: newest checkpoint, a Hugging Face folder.
        steps: training steps done.
        before: evaluation before the first step, if one was made.
        after: evaluation after the last step, if one was made.
        evals: all evaluations by step.
        warmup: checks of the warm start.
        metrics: the last step's metrics.
        stopped: None when all steps were done, else why not.
        interrupted: signal number when a signal stopped it.
    """

    folder: Path
    checkpoint: Path | None
    steps: int
    before: EvalReport | None = None
    after: EvalReport | None = None
    evals: dict[int, EvalReport] = field(default_factory=dict)
    warmup: tuple[dict[str, Any], ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None
    interrupted: int | None = None
