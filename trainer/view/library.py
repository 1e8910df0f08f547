"""The runs on show; new folders appear, old ones grow."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from .runs import Run, find_runs
from .tokens import TokenTexts

SLICE = 0.7  # seconds of indexing one request pays for; the page asks again until everything is read


class Library:
    """Run folders below some roots, by a name that is unique in the viewer.

    Args:
        roots: run folders, or folders that hold some.
    """

    def __init__(self, roots: list[Path]) -> None:
        self.roots = roots
        self.runs: dict[str, Run] = {}
        self._tokens: dict[str, TokenTexts] = {}
        self._lock = threading.Lock()

    def refresh(self, first: str | None = None) -> None:
        """Look for new runs and read on in all of them, in `first` before the others, for at most a moment."""
        with self._lock:
            known = {run.path for run in self.runs.values()}
            for path in find_runs(self.roots):
                if path not in known:
                    name, suffix = path.name, 2
                    while name in self.runs:
                        name, suffix = f"{path.name}~{suffix}", suffix + 1
                    self.runs[name] = Run(path)
            deadline = time.monotonic() + SLICE
            for run in sorted(self.runs.values(), key=lambda run: run is not self.runs.get(first or "")):
                run.refresh(deadline)

    def get(self, name: str) -> Run:
        """A run by name.

        Raises:
            KeyError: there is none; the message names those there are.
        """
        if name not in self.runs:
            self.refresh()
        if name not in self.runs:
            raise KeyError(f"no run {name!r}; there are {', '.join(sorted(self.runs)) or 'none'}")
        return self.runs[name]

    def token_texts(self, name: str) -> TokenTexts:
        """The texts of a run's tokens; its tokenizer is read once."""
        if name not in self._tokens or not self._tokens[name].ready:
            self._tokens[name] = TokenTexts.of_run(self.get(name).path)
        return self._tokens[name]
