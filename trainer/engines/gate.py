"""Pausing a sampler between two tokens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Gate:
    """Lets sampling steps through while open; whoever holds it has the model to itself."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open = threading.Event()
        self._open.set()
        self._abort = False

    @property
    def closed(self) -> bool:
        """Whether sampling is paused."""
        return not self._open.is_set()

    def wait(self) -> None:
        """Wait until it is open."""
        self._open.wait()

    @contextlib.contextmanager
    def step(self) -> Iterator[bool]:
        """One sampling step; yields whether to give up instead."""
        while True:
            if not self._abort:
                self._open.wait(0.1)
            with self._lock:
                if self._abort or self._open.is_set():
                    yield self._abort
                    return

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep sampling steps out."""
        with self._lock:
            yield

    def close(self, *, abort: bool, wait_for: threading.Lock | None) -> None:
        """Pause.

        Args:
            abort: steps are told to give up.
            wait_for: held by whoever samples; None = sampling stops where it is and goes on later.
        """
        if wait_for is None:
            self._open.clear()
            with self._lock:  # the step that runs now has ended
                return
        self._abort = abort
        with wait_for:  # no sampling runs and none can start until the gate is closed
            self._open.clear()
        self._abort = False

    def open(self) -> None:
        """Let sampling go on."""
        self._open.set()
