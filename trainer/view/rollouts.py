"""An index over rollouts/*.jsonl: where each rollout lies and the few facts the lists are filtered and sorted by.

A hundred thousand rollouts cost one pass over the files and some tens of megabytes; their text stays on disk.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .lines import LinesFolder

Scored = str  # "all", "scored" or "unscored"
ORDERS = ("newest", "oldest", "best", "worst", "longest", "shortest")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a rollout file."""

    key: int
    file: int
    offset: int
    length: int
    id: str
    task_id: str
    group_id: str
    step: int | None
    reward: float | None
    tokens: int
    stop_reason: str
    cluster: int | None
    children: int

    def row(self) -> dict[str, Any]:
        """What the list shows."""
        shown = ("key", "id", "task_id", "group_id", "step", "reward", "tokens", "stop_reason", "cluster", "children")
        return {name: getattr(self, name) for name in shown}


@dataclass(frozen=True)
class Query:
    """A filter over the list; None leaves a bound open."""

    text: str = ""
    task: str = ""
    group: str = ""
    scored: Scored = "all"
    reward_from: float | None = None
    reward_to: float | None = None
    tokens_from: int | None = None
    tokens_to: int | None = None
    step: int | None = None
    order: str = "newest"

    def admits(self, entry: Entry) -> bool:
        """Everything but the text search, which needs the file."""
        if self.scored != "all" and (entry.reward is None) != (self.scored == "unscored"):
            return False
        if (self.reward_from is not None or self.reward_to is not None) and entry.reward is None:
            return False
        return (
            self.task in entry.task_id
            and (not self.group or entry.group_id == self.group)
            and (self.step is None or entry.step == self.step)
            and _within(entry.reward, self.reward_from, self.reward_to)
            and _within(entry.tokens, self.tokens_from, self.tokens_to)
        )


def _within(value: float | None, low: float | None, high: float | None) -> bool:
    return value is None or ((low is None or value >= low) and (high is None or value <= high))


@dataclass(frozen=True)
class Page:
    """Some of the entries that match: `next` is where the following page begins, None at the end."""

    entries: list[Entry]
    next: int | None
    looked_at: int


class RolloutIndex:
    """All rollouts of one run. Keys are positions in the order of reading and are never given twice."""

    def __init__(self, folder: Path) -> None:
        self.files = LinesFolder(folder)
        self.entries: list[Entry | None] = []  # None: its file was rewritten
        self.unscored = 0
        self._count = 0
        self._names: dict[str, str] = {}  # equal strings are kept once

    def __len__(self) -> int:
        return self._count

    @property
    def notes(self) -> list[str]:
        return self.files.notes

    def refresh(self, deadline: float | None = None) -> None:
        """Index lines written since the last call, until `deadline` (of time.monotonic)."""
        for number in self.files.look():
            for key, entry in enumerate(self.entries):
                if entry is not None and entry.file == number:
                    self.entries[key] = None
                    self._count -= 1
                    self.unscored -= entry.reward is None
        for number, offset, length, line in self.files.new(deadline):
            entry = self._entry(len(self.entries), number, offset, length, line)
            self.entries.append(entry)
            self._count += 1
            self.unscored += entry.reward is None

    def _entry(self, key: int, file: int, offset: int, length: int, line: dict[str, Any]) -> Entry:
        rollout = rollout_of(line)
        turns, children = rollout.get("turns"), rollout.get("children")
        ids = (
            [turn.get("completion_ids") for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
        )
        step, cluster = line.get("step"), line.get("cluster")
        return Entry(
            key,
            file,
            offset,
            length,
            _short(rollout.get("id", "")),
            self._name(rollout.get("task_id", "")),
            self._name(rollout.get("group_id", "")),
            step if isinstance(step, int) else None,
            number_of(rollout.get("reward")),
            sum(len(one) for one in ids if isinstance(one, list)),
            self._name(rollout.get("stop_reason", "")),
            cluster if isinstance(cluster, int) else None,
            len(children) if isinstance(children, list) else 0,
        )

    def _name(self, value: Any) -> str:
        text = _short(value)
        return self._names.setdefault(text, text)

    def get(self, key: int) -> Entry | None:
        """The entry of a key, or None."""
        return self.entries[key] if 0 <= key < len(self.entries) else None

    def load(self, entry: Entry) -> dict[str, Any]:
        """The whole line of an entry; see `LinesFolder.load`."""
        return self.files.load(entry.file, entry.offset, entry.length)

    def known(self) -> Iterator[Entry]:
        """Entries in the order of reading."""
        return (entry for entry in self.entries if entry is not None)

    def page(self, query: Query, start: int = 0, limit: int = 100, seconds: float = 2.0) -> Page:
        """Entries that match, from `start` (0, or the `next` of the page before) on.

        A text search reads files only as far as it must, and pauses after `seconds`; `next` then says where to go on,
        although fewer than `limit` entries were found.
        """
        deadline = time.monotonic() + seconds
        found: list[Entry] = []
        looked_at = 0
        with _Texts(self.files) as texts:
            for place, entry in self._ordered(query.order, start):
                looked_at += 1
                if entry is None or not query.admits(entry):
                    continue
                if query.text and time.monotonic() > deadline:
                    return Page(found, place, looked_at)
                if query.text and not texts.contain(entry, query.text):
                    continue
                if len(found) == limit:
                    return Page(found, place, looked_at)
                found.append(entry)
        return Page(found, None, looked_at)

    def _ordered(self, order: str, start: int) -> Iterator[tuple[int, Entry | None]]:
        """(where to go on, entry) from a place on. New rollouts do not move the places of the order by age."""
        if order == "newest":
            top = min(start or len(self.entries), len(self.entries))
            yield from ((key + 1, self.entries[key]) for key in range(top - 1, -1, -1))
            return
        ordered: list[Entry | None] | list[Entry] = self.entries
        if order in ("best", "worst"):
            scored = [entry for entry in self.known() if entry.reward is not None]
            ordered = sorted(scored, key=lambda e: (e.reward or 0.0, e.key), reverse=order == "best")
        elif order in ("longest", "shortest"):
            ordered = sorted(self.known(), key=lambda e: (e.tokens, e.key), reverse=order == "longest")
        yield from ((place, ordered[place]) for place in range(start, len(ordered)))

    def beside(self, key: int, query: Query, seconds: float = 1.0) -> dict[str, int | None]:
        """Keys of the nearest newer and older rollouts that the query admits."""
        deadline = time.monotonic() + seconds
        found: dict[str, int | None] = {"newer": None, "older": None}
        with _Texts(self.files) as texts:
            for name, keys in (("newer", range(key + 1, len(self.entries))), ("older", range(key - 1, -1, -1))):
                for other in keys:
                    entry = self.entries[other]
                    if entry is None or not query.admits(entry):
                        continue
                    if not query.text or texts.contain(entry, query.text):
                        found[name] = other
                        break
                    if time.monotonic() > deadline:
                        break
        return found


class _Texts:
    """Text search over lines, with the last file kept open."""

    def __init__(self, files: LinesFolder) -> None:
        self.files = files
        self.number = -1
        self.opened: BinaryIO | None = None

    def __enter__(self) -> _Texts:
        return self

    def __exit__(self, *_: object) -> None:
        if self.opened is not None:
            self.opened.close()

    def contain(self, entry: Entry, text: str) -> bool:
        """Whether what was said, the feedback or the error of a rollout contains a text, whatever its case."""
        try:
            if entry.file != self.number:
                self.__exit__()
                self.opened, self.number = self.files.files[entry.file].path.open("rb"), entry.file
            assert self.opened is not None
            self.opened.seek(entry.offset)
            raw = self.opened.read(entry.length)
        except OSError:
            return False
        needle = text.casefold()
        shown = raw.decode("utf-8", "replace").casefold()
        written = json.dumps(needle, ensure_ascii=False)[1:-1]  # as it stands in the file
        escaped = json.dumps(needle)[1:-1]
        if not any(form in shown for form in (needle, written, escaped)):
            return False
        try:  # the needle may have been found among the numbers
            return needle in "\n".join(_texts(rollout_of(json.loads(raw)))).casefold()
        except (ValueError, RecursionError, AttributeError):
            return False


def _texts(rollout: dict[str, Any], depth: int = 8) -> Iterable[str]:
    yield str(rollout.get("id", ""))
    yield str(rollout.get("error") or "")
    for name, key in (("messages", "content"), ("feedback", "text")):
        for part in _list(rollout.get(name)):
            if isinstance(part, dict):
                yield str(part.get(key, ""))
                if part.get("tool_calls"):
                    yield json.dumps(part["tool_calls"], ensure_ascii=False)
    for child in _list(rollout.get("children")) if depth else []:
        if isinstance(child, dict):
            yield from _texts(child, depth - 1)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def rollout_of(line: dict[str, Any]) -> dict[str, Any]:
    """The rollout of a line: the line itself, or what stands under `rollout`."""
    inner = line.get("rollout")
    return inner if isinstance(inner, dict) else line


def number_of(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
