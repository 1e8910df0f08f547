"""Reading JSON lines that somebody else may still be writing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_LINE_BYTES = 64 << 20


@dataclass
class JsonLines:
    """A growing file of JSON lines, read from where the last read ended.

    Lines that are not JSON objects are skipped and noted; a last line without its newline is left for later.
    """

    path: Path
    offset: int = 0
    lines: int = 0
    notes: list[str] = field(default_factory=list)

    def new(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Yield (byte offset, byte length, object) of every complete line not read before."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return
        if size < self.offset:  # the file was cut back by a resumed run: read it again
            self.offset = self.lines = 0
            self.notes.append(f"{self.path.name} became shorter and was read again")
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while line := file.readline(MAX_LINE_BYTES):
                if not line.endswith(b"\n"):
                    break  # still being written
                start, self.offset = self.offset, self.offset + len(line)
                self.lines += 1
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    self._note("is not JSON")
                    continue
                if not isinstance(value, dict):
                    self._note("is not an object")
                    continue
                yield start, len(line), value

    def _note(self, what: str) -> None:
        if len(self.notes) < 20:
            self.notes.append(f"{self.path.name} line {self.lines} {what}; skipped")


def read_at(path: Path, offset: int, length: int) -> dict[str, Any]:
    """One line again, by its place."""
    with path.open("rb") as file:
        file.seek(offset)
        return json.loads(file.read(length))
