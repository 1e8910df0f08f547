"""An index over rollouts/*.jsonl: where each rollout lies and the few facts the list is filtered by.

A hundred thousand rollouts cost one pass and about 200 bytes each; their text stays on disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .lines import JsonLines, read_at

Scored = str  # "all", "scored" or "unscored"


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

    def row(self) -> dict[str, Any]:
        """What the list shows."""
        return {
            name: getattr(self, name)
            for name in ("key", "id", "task_id", "group_id", "step", "reward", "tokens", "stop_reason")
        }


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


class RolloutIndex:
    """All rollouts of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[JsonLines] = []
        self.entries: list[Entry] = []
        self.unscored = 0

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def notes(self) -> list[str]:
        return [note for file in self.files for note in file.notes]

    def refresh(self) -> None:
        """Index the lines written since the last call."""
        known = {file.path for file in self.files}
        if self.folder.is_dir():
            self.files += [JsonLines(path) for path in sorted(self.folder.glob("*.jsonl")) if path not in known]
        for number, file in enumerate(self.files):
            before = file.offset
            for offset, length, line in file.new():
                if offset < before:  # the file was cut back: forget what stood there
                    self.entries = [e for e in self.entries if e.file != number]
                    before = 0
                self._add(number, offset, length, line)
        self.unscored = sum(entry.reward is None for entry in self.entries)

    def _add(self, file: int, offset: int, length: int, line: dict[str, Any]) -> None:
        rollout = rollout_of(line)
        reward = rollout.get("reward")
        if isinstance(reward, bool) or not isinstance(reward, (int, float)) or not math.isfinite(reward):
            reward = None
        turns = rollout.get("turns")
        tokens = sum(len(t.get("completion_ids") or ()) for t in turns if isinstance(t, dict)) if turns else 0
        step = line.get("step")
        self.entries.append(
            Entry(
                len(self.entries),
                file,
                offset,
                length,
                str(rollout.get("id", "")),
                str(rollout.get("task_id", "")),
                str(rollout.get("group_id", "")),
                step if isinstance(step, int) else None,
                reward,
                tokens,
                str(rollout.get("stop_reason", "")),
            )
        )

    def load(self, entry: Entry) -> dict[str, Any]:
        """The whole line of an entry."""
        return read_at(self.files[entry.file].path, entry.offset, entry.length)

    def search(self, query: Query, newest_first: bool = True) -> Iterator[Entry]:
        """Entries that match, read from disk only as far as the caller goes."""
        needle = query.text.casefold()
        for entry in reversed(self.entries) if newest_first else self.entries:
            if query.admits(entry) and (not needle or needle in self._text(entry).casefold()):
                yield entry

    def _text(self, entry: Entry) -> str:
        rollout = rollout_of(self.load(entry))
        parts = [str(m.get("content", "")) for m in rollout.get("messages") or [] if isinstance(m, dict)]
        parts += [str(f.get("text", "")) for f in rollout.get("feedback") or [] if isinstance(f, dict)]
        return "\n".join([str(rollout.get("id", "")), *parts])


def rollout_of(line: dict[str, Any]) -> dict[str, Any]:
    """The rollout of a line: the line itself, or what stands under `rollout`."""
    inner = line.get("rollout")
    return inner if isinstance(inner, dict) else line
