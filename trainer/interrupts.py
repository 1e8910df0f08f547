"""Ctrl-C and SIGTERM: a run ends between two steps, or at once while nothing has changed yet."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 2.0  # seconds in which a second signal counts as the first


class Interrupted(BaseException):
    """A signal asked the run to end; training state is that of the last finished step."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.number = number


class Interrupts:
    """Turns SIGINT and SIGTERM into `Interrupted` at safe places.

    The first signal is remembered; it is raised at once inside `safe` blocks, else at the next `check`. Another
    one, more than two seconds later, ends the process the usual way.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._first = 0.0
        self._safe = False
        self._old: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._old.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            if time.monotonic() - self._first < GRACE:
                return  # the same Ctrl-C, passed on by a parent process
            raise KeyboardInterrupt
        self.number, self._first = number, time.monotonic()
        if self._safe:
            self._safe = False
            raise Interrupted(number)

    @contextmanager
    def safe(self) -> Iterator[None]:
        """A stretch that may be broken off anywhere without leaving half-done state."""
        self.check()
        self._safe = True
        try:
            yield
        finally:
            self._safe = False

    def check(self) -> None:
        """Raise if a signal came."""
        if self.number is not None:
            raise Interrupted(self.number)
