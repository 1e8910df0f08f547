"""What a task family is: a seeded generator of text chunks that returns the question and the gold answer."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

VERSION = 1  # part of every seed: a change of a generator's output raises its version
VERSIONS = {"multihop": 2, "needle": 2}  # families that changed since
MIN_CHARS = 1_000
MAX_CHARS = 100_000_000
_ATTEMPTS = 64

T = TypeVar("T")


class Rng(random.Random):
    """Random numbers that are equal on every machine and Python: only `random()` is drawn."""

    def below(self, n: int) -> int:
        """A uniform integer in [0, n)."""
        return int(self.random() * n)

    def between(self, low: int, high: int) -> int:
        """A uniform integer in [low, high]."""
        return low + self.below(high - low + 1)

    def pick(self, items: Sequence[T]) -> T:
        """A uniform item."""
        return items[int(self.random() * len(items))]

    def some(self, items: Sequence[T], n: int) -> list[T]:
        """`n` distinct positions' items, in random order."""
        pool = list(items)
        for i in range(n):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:n]


@dataclass(frozen=True)
class Spec:
    """What a family returns when its text is written.

    Attributes:
        question: shown to the model.
        gold: the right answer; stays on the host.
        kind: name of the scorer.
        meta: facts about the instance for the host: knobs, planted positions, baselines.
        documents: end offsets when the context is a list of texts; None for one text.
        paths: names of the documents when the context is a mapping.
    """

    question: str
    gold: Any = field(repr=False)
    kind: str = "exact"
    meta: dict[str, Any] = field(default_factory=dict, repr=False)
    documents: tuple[int, ...] | None = None
    paths: tuple[str, ...] | None = None


Stream = Generator[str, None, Spec | None]
"""Chunks of text; the return value is the `Spec`, or None when this draw has no valid question (another is tried)."""


@dataclass(frozen=True)
class LongTask:
    """A task with a long context. `gold`, `meta` and the seed stay on the host."""

    id: str
    family: str
    context: str | tuple[str, ...] | dict[str, str] = field(repr=False)
    question: str
    gold: Any = field(repr=False)
    kind: str
    meta: dict[str, Any] = field(default_factory=dict, repr=False)


FAMILIES: dict[str, Callable[..., Stream]] = {}


def family(function: Callable[..., Stream]) -> Callable[..., Stream]:
    """Register a family under the function's name. It takes ``(rng, length_chars, **knobs)``."""
    FAMILIES[function.__name__] = function
    return function


def seeded(secret: bytes, *parts: Any) -> Rng:
    """A generator seeded by a hash of the host secret and `parts`; equal across processes and PYTHONHASHSEED."""
    text = json.dumps(parts, sort_keys=True, default=str).encode()
    return Rng(int.from_bytes(hashlib.sha256(b"palaestra.rlm.tasks\0" + secret + b"\0" + text).digest()[:16], "big"))


def _checked(name: str, length_chars: int, knobs: dict[str, Any]) -> Callable[..., Stream]:
    if name not in FAMILIES:
        raise ValueError(f"family is {name!r}; choose one of {', '.join(sorted(FAMILIES))}")
    if not MIN_CHARS <= length_chars <= MAX_CHARS:
        raise ValueError(f"length_chars is {length_chars}; give {MIN_CHARS} to {MAX_CHARS}")
    known = list(inspect.signature(FAMILIES[name]).parameters)[2:]
    for knob in knobs:
        if knob not in known:
            raise ValueError(f"family {name!r} has no knob {knob!r}; it has {', '.join(known) or 'none'}")
    return FAMILIES[name]


def stream(
    name: str, seed: int, length_chars: int, *, secret: bytes = b"", attempt: int = 0, **knobs: Any
) -> Generator[str, None, Spec | None]:
    """The chunks of one draw; the generator's return value is its `Spec` (None: draw again with `attempt` + 1)."""
    make = _checked(name, length_chars, knobs)
    return make(
        seeded(secret, VERSIONS.get(name, VERSION), name, seed, length_chars, knobs, attempt), length_chars, **knobs
    )


def generate(name: str, seed: int, length_chars: int = 20_000, *, secret: bytes = b"", **knobs: Any) -> LongTask:
    """Make one task, a function of (its version, `secret`, `name`, `seed`, `length_chars`, `knobs`) and nothing else.

    Args:
        name: family.
        seed: which task.
        length_chars: the context ends within one record of this length.
        secret: mixed into the seed; whoever does not know it cannot make the task again.
        knobs: see the family.

    Raises:
        ValueError: unknown family or knob, or a knob value that leaves no valid task.
    """
    for attempt in range(_ATTEMPTS):
        buffer = io.StringIO()
        chunks = stream(name, seed, length_chars, secret=secret, attempt=attempt, **knobs)
        while True:
            try:
                buffer.write(next(chunks))
            except StopIteration as stop:
                spec = stop.value
                break
        if spec is not None:
            context = _context(buffer.getvalue(), spec)
            tag = hashlib.sha256(repr((seed, length_chars, sorted(knobs.items()))).encode() + secret).hexdigest()[:12]
            meta = {"length_chars": length_chars, "knobs": knobs, "attempt": attempt, **spec.meta}
            return LongTask(f"{name}-{tag}", name, context, spec.question, spec.gold, spec.kind, meta)
    raise ValueError(f"{name}: no valid task in {_ATTEMPTS} draws with length_chars={length_chars} and {knobs}")


def _context(text: str, spec: Spec) -> str | tuple[str, ...] | dict[str, str]:
    if spec.documents is None:
        return text
    starts = (0, *spec.documents[:-1])
    parts = tuple(text[a:b] for a, b in zip(starts, spec.documents, strict=True))
    return parts if spec.paths is None else dict(zip(spec.paths, parts, strict=True))
