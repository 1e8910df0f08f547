"""The replay log: every judge call as one JSON line, each carrying its own hash and that of the line before it.

A changed, missing or reordered line breaks the chain. Verdicts can be parsed again with today's parser, and groups
ranked again with another estimator, without a single call.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import ParseError, Shape, Slot

GENESIS = "0" * 64
SEGMENT_BYTES = 64 * 2**20


class ReplayLog:
    """Appends records to ``log-NNNNN.jsonl`` segments in a folder.

    Args:
        folder: created when missing; a chain that ends there is continued.
        bodies: also write the rendered prompts (they may hold private data, so the default is their hash alone).
        secrets: strings that are replaced by ``[redacted]`` wherever they occur.
    """

    def __init__(self, folder: str | Path, *, bodies: bool = False, secrets: Sequence[str] = ()):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bodies = bodies
        self._secrets = [s for s in secrets if s]
        self._lock = threading.Lock()
        segments = segments_of(self.folder)
        self._number = len(segments) or 1
        self._previous = GENESIS
        torn = False
        for segment in reversed(segments):  # the last one may be empty: it was opened and never written
            content = segment.read_bytes()
            if content:
                self._previous = hashlib.sha256(content.splitlines()[-1]).hexdigest()
                torn = not content.endswith(b"\n")
                break
        self._file = self._path().open("ab")
        if torn:  # the process died in the middle of a line; the next record gets one of its own
            self._file.write(b"\n")

    def _path(self) -> Path:
        return self.folder / f"log-{self._number:05d}.jsonl"

    def append(self, record: dict[str, Any]) -> None:
        """Write one record and flush it."""
        with self._lock:
            if self._file.closed:
                return
            full = {"time": round(time.time(), 3), **record, "previous": self._previous}
            text = json.dumps(full, ensure_ascii=True, sort_keys=True)
            for secret in self._secrets:
                text = text.replace(json.dumps(secret)[1:-1], "[redacted]")
            line = sealed(text.encode())
            self._file.write(line + b"\n")
            self._file.flush()
            self._previous = hashlib.sha256(line).hexdigest()
            if self._file.tell() > SEGMENT_BYTES:
                self._file.close()
                self._number += 1
                self._file = self._path().open("ab")

    def close(self) -> None:
        """Close the segment; safe to call twice."""
        with self._lock:
            self._file.close()


_SEAL = re.compile(rb', "sha": "([0-9a-f]{64})"\}$')


def sealed(line: bytes) -> bytes:
    """A JSON object with its own hash as last field."""
    return line[:-1] + b', "sha": "' + hashlib.sha256(line).hexdigest().encode() + b'"}'


def _is_sealed(line: bytes) -> bool:
    seal = _SEAL.search(line)
    return seal is not None and hashlib.sha256(line[: seal.start()] + b"}").hexdigest().encode() == seal[1]


def segments_of(path: str | Path) -> list[Path]:
    """The segments of a log folder in order, or the one file given."""
    path = Path(path)
    return sorted(path.glob("log-*.jsonl")) if path.is_dir() else [path]


def read_log(path: str | Path) -> Iterator[dict[str, Any]]:
    """All records of a log, oldest first.

    Raises:
        ValueError: naming file and line when a line is not JSON.
    """
    for segment in segments_of(path):
        for number, line in enumerate(segment.read_bytes().splitlines(), 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{segment}:{number}: not a JSON record ({error})") from error


@dataclass
class CheckReport:
    """Outcome of `check_log`."""

    records: int = 0
    head: str = GENESIS
    """Hash of the last line. Kept elsewhere, it shows later whether lines were cut off, or all of them rewritten."""
    broken_chain: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Chain whole and every verdict the same today."""
        return not self.broken_chain and not self.different


def check_log(path: str | Path) -> CheckReport:
    """Verify the hash chain and read every raw judge output again with today's parser."""
    report = CheckReport()
    previous = GENESIS
    for segment in segments_of(path):
        for number, line in enumerate(segment.read_bytes().splitlines(), 1):
            where = f"{segment.name}:{number}"
            try:
                record = json.loads(line)
            except ValueError:
                report.broken_chain.append(f"{where}: not JSON")
                previous = hashlib.sha256(line).hexdigest()
                continue
            report.records += 1
            if not isinstance(record, dict):
                report.broken_chain.append(f"{where}: not a record")
                continue
            if not _is_sealed(line):
                report.broken_chain.append(f"{where}: is not what was written")
            if record.get("previous") != previous:
                report.broken_chain.append(f"{where}: does not follow the record before it")
            previous = report.head = hashlib.sha256(line).hexdigest()
            problem = _reparse(record)
            if problem:
                report.different.append(f"{where}: {problem}")
    return report


def _reparse(record: dict[str, Any]) -> str | None:
    if record.get("status") != "ok" or not record.get("shape"):
        return None
    try:
        today = shape_from(record["shape"]).read(record["output"])
    except ParseError as error:
        return f"was a verdict, now unreadable: {error}"
    return None if today == record["verdict"] else f"verdict was {record['verdict']}, now {today}"


def shape_record(shape: Shape) -> dict[str, Any]:
    """A shape as plain data."""
    rows = {k: [vars(s) | {"menu": list(s.menu)} for s in getattr(shape, k)] for k in ("slots", "scores")}
    return {"name": shape.name, "labels": list(shape.labels), **rows}


def shape_from(record: dict[str, Any]) -> Shape:
    """The shape written by `shape_record`."""

    def slots(rows: list[dict[str, Any]]) -> tuple[Slot, ...]:
        return tuple(Slot(**{**row, "menu": tuple(row["menu"])}) for row in rows)

    return Shape(record["name"], slots(record["slots"]), slots(record["scores"]), tuple(record["labels"]))
