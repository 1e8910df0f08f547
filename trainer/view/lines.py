"""Reading JSON lines that somebody else may still be writing."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

MAX_LINE_BYTES = 64 << 20
MAX_NOTES = 20
ENDS = 256

Place = tuple[int, int, dict[str, Any]]  # byte offset, byte length, object


def parse(line: bytes | str) -> Any:
    """JSON with NaN and infinities as None, so that it can be sent on.

    Raises:
        ValueError: not JSON.
    """
    try:
        return json.loads(line, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("nested too deeply") from None


@dataclass
class JsonLines:
    """A growing file of JSON lines, read from where the last read ended.

    Lines that are not JSON objects are skipped and noted; a last line without its newline is left for later. A file
    that was replaced, cut back or removed (a resumed run does that) is read anew.

    Attributes:
        path: the file.
        offset: bytes read.
        size: bytes of the file when it was last looked at.
        lines: lines read.
        generation: how often it began anew; what was read in an earlier generation is no longer there.
        notes: what was skipped.
    """

    path: Path
    offset: int = 0
    size: int = 0
    lines: int = 0
    generation: int = 0
    notes: list[str] = field(default_factory=list)
    _changed: int = 0
    _ends: bytes = b""

    def look(self) -> None:
        """See how large the file is, and whether it is still the one that was read."""
        try:
            stat = self.path.stat()
            size, changed = stat.st_size, stat.st_mtime_ns
            other = size < self.offset or (
                changed != self._changed and self.offset > 0 and self._read_ends() != self._ends
            )
        except OSError:
            size = changed = 0
            other = self.offset > 0
        if other:
            self.offset = self.lines = 0
            self.generation += 1
            self._note("was rewritten and read again" if size else "was removed")
        self.size, self._changed = size, changed

    def _read_ends(self) -> bytes:
        """The first and the last bytes of what was read, to know the file again."""
        with self.path.open("rb") as file:
            head = file.read(min(ENDS, self.offset))
            file.seek(max(0, self.offset - ENDS))
            return head + file.read(min(ENDS, self.offset))

    def new(self, deadline: float | None = None) -> Iterator[Place]:
        """Yield every complete line not read before, until `deadline` (of time.monotonic)."""
        self.look()
        if self.offset >= self.size:
            return
        try:
            file = self.path.open("rb")
        except OSError as error:
            self._note(f"cannot be read: {error.strerror}")
            return
        try:
            with file:
                yield from self._lines(file, deadline)
        finally:
            with contextlib.suppress(OSError):  # removed meanwhile: the next look says so
                self._ends = self._read_ends()

    def _lines(self, file: BinaryIO, deadline: float | None) -> Iterator[Place]:
        file.seek(self.offset)
        while line := file.readline(MAX_LINE_BYTES):
            start = self.offset
            if not line.endswith(b"\n"):
                if len(line) < MAX_LINE_BYTES or not _skip_line(file):
                    break  # still being written
                self.offset, self.lines = file.tell(), self.lines + 1
                self._note(f"line {self.lines} is longer than {MAX_LINE_BYTES >> 20} MB; skipped")
                continue
            self.offset, self.lines = start + len(line), self.lines + 1
            try:
                value = parse(line)
            except ValueError:
                self._note(f"line {self.lines} is not JSON; skipped")
                continue
            if isinstance(value, dict):
                yield start, len(line), value
            else:
                self._note(f"line {self.lines} is not an object; skipped")
            if deadline is not None and time.monotonic() > deadline:
                return

    def _note(self, what: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(f"{self.path.name} {what}")


def _skip_line(file: Any) -> bool:
    """Read on to the end of an endless line; whether it has one."""
    while chunk := file.readline(MAX_LINE_BYTES):
        if chunk.endswith(b"\n"):
            return True
    return False


class LinesFolder:
    """The *.jsonl files of a folder as one growing list of lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[JsonLines] = []
        self._known: set[Path] = set()

    @property
    def notes(self) -> list[str]:
        return [note for file in self.files for note in file.notes]

    @property
    def size(self) -> int:
        """Bytes of all files when last looked at."""
        return sum(file.size for file in self.files)

    @property
    def unread(self) -> int:
        """Bytes that are still to be read."""
        return sum(max(0, file.size - file.offset) for file in self.files)

    def look(self) -> list[int]:
        """Find new files and see what became of the known ones; numbers of files that began anew."""
        if self.folder.is_dir():
            for path in sorted(self.folder.glob("*.jsonl")):
                if path not in self._known:
                    self._known.add(path)
                    self.files.append(JsonLines(path))
        before = [file.generation for file in self.files]
        for file in self.files:
            file.look()
        return [i for i, file in enumerate(self.files) if file.generation != before[i]]

    def new(self, deadline: float | None = None) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
        """Yield (number of the file, offset, length, object) of lines not read before, until `deadline`."""
        for number, file in enumerate(self.files):
            if file.offset >= file.size:
                continue
            if deadline is not None and time.monotonic() > deadline:
                return
            for offset, length, value in file.new(deadline):
                yield number, offset, length, value

    def raw(self, file: int, offset: int, length: int) -> bytes:
        """The bytes of one line.

        Raises:
            OSError: the file is gone.
        """
        with self.files[file].path.open("rb") as opened:
            opened.seek(offset)
            return opened.read(length)

    def load(self, file: int, offset: int, length: int) -> dict[str, Any]:
        """One line again, by its place.

        Raises:
            OSError: the file is gone.
            ValueError: something else stands there now.
        """
        value = parse(self.raw(file, offset, length))
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return value
