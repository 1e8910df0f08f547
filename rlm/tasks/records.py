"""Dated user records with hidden labels: what the linear and the pair families count, and how records are planted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .base import Rng
from .labels import Labeller

_LINE = re.compile(r"^Date: (\d{4}-\d{2}-\d{2}) \|\| User: (\d+) \|\| Instance: (.*)$", re.MULTILINE)
RECORD_ROOM = 170  # no record is longer than this


@dataclass(frozen=True)
class Record:
    """One record: what is printed (date, user, text) and what is hidden (label)."""

    date: str
    user: int
    label: str
    text: str = ""

    @property
    def line(self) -> str:
        return f"Date: {self.date} || User: {self.user} || Instance: {self.text}\n"


@dataclass
class Tally:
    """Everything the questions ask about, in memory that does not grow with the number of records of a user."""

    total: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    user_labels: dict[int, Counter[str]] = field(default_factory=dict)
    month_labels: dict[str, Counter[str]] = field(default_factory=dict)
    user_month: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    first: dict[tuple[int, str], str] = field(default_factory=dict)

    def add(self, record: Record, label: str | None = None) -> None:
        """Count a record, under its hidden label or under a guessed one."""
        name = record.label if label is None else label
        month = record.date[:7]
        self.total += 1
        self.labels[name] += 1
        self.user_labels.setdefault(record.user, Counter())[name] += 1
        self.month_labels.setdefault(month, Counter())[name] += 1
        self.user_month[record.user, month, name] += 1
        key = (record.user, name)
        self.first[key] = min(self.first.get(key, record.date), record.date)


def parse_records(text: str, labeller: Labeller) -> Iterator[Record]:
    """Records of a context with their labels as the host reads them back from the text."""
    for match in _LINE.finditer(text):
        yield Record(match[1], int(match[2]), labeller.label_of(match[3]) or "", match[3])


def random_date(rng: Rng) -> str:
    """A day of 2023 or 2024 (day 1 to 28, so that every month has it)."""
    return f"{rng.between(2023, 2024)}-{rng.between(1, 12):02d}-{rng.between(1, 28):02d}"


def weighted(rng: Rng, weights: Mapping[str, float]) -> str:
    """A key drawn by weight."""
    point = rng.random() * sum(weights.values())
    for name, weight in weights.items():
        point -= weight
        if point < 0:
            return name
    return name


def write(
    rng: Rng,
    length_chars: int,
    source: Labeller,
    users: list[int],
    background: Mapping[str, float],
    planted: list[Record],
) -> Iterator[Record]:
    """Records up to `length_chars`: `planted` ones at random places, the rest drawn from `background` label weights.

    All planted records are written whatever the length; the caller keeps them well below it.
    """
    span = max(1, length_chars - RECORD_ROOM * (len(planted) + 1))
    queue = sorted(((rng.random() * span, i) for i in range(len(planted))), reverse=True)
    offset = plain = 0
    while True:
        tight = RECORD_ROOM * (len(queue) + 1) + offset > length_chars  # no room for more than what is planted
        due = bool(queue) and (tight or queue[-1][0] <= plain)
        bare = planted[queue.pop()[1]] if due else Record(random_date(rng), rng.pick(users), weighted(rng, background))
        record = Record(bare.date, bare.user, bare.label, source.text(rng, bare.label))
        size = len(record.line)
        if not due and tight and offset + size > length_chars:
            return
        offset += size
        plain += 0 if due else size
        yield record
