"""F7: does a family really need sub-calls? Three scripted agents play it, and their scores are the answer.

    code      reads everything with code: the printed label, or a keyword classifier learnt from 200 public records
    oracle    code that asks one sub-call a record; the sub-model labels rightly with probability `accuracy`
    window    no code at all: reads the first `window` characters with perfect understanding and answers from them

A family where `code` scores as well as `oracle` trains the use of a REPL, not recursion. Families outside ``linear``
and ``pairs`` have exact code solutions by construction, so they need no sub-calls and are not listed by `score_matrix`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ..score import score
from .base import LongTask, Rng, generate, seeded
from .labels import Labeller, keyword_baseline, labeller
from .linear import answer
from .pairs import joined_pairs
from .records import Tally, parse_records

AGENTS = ("code", "oracle", "window")


@dataclass(frozen=True)
class Row:
    """Mean scores of the three agents over `n` instances of one setting."""

    family: str
    knobs: dict[str, Any]
    n: int
    scores: dict[str, float]

    @property
    def margin(self) -> float:
        """How much sub-calls with perfect aggregation add to code alone."""
        return self.scores["oracle"] - self.scores["code"]

    def needs_subcalls(self, margin: float = 0.1) -> bool:
        """True when sub-calls are worth more than `margin`."""
        return self.margin > margin


def play(task: LongTask, agent: str, rng: Rng, accuracy: float = 1.0, window: int = 8_000) -> str:
    """The answer of a scripted agent.

    Args:
        task: a task of the ``linear`` or ``pairs`` family.
        agent: one of `AGENTS`.
        rng: for the oracle's mistakes.
        accuracy: share of right labels of the oracle.
        window: characters the window agent sees.
    """
    if task.family not in ("linear", "pairs"):
        raise ValueError(f"family {task.family!r} has no hidden labels; the check is for linear and pairs")
    source = labeller(*task.meta["label_args"])
    guess = keyword_baseline(*task.meta["label_args"])
    text = task.context if isinstance(task.context, str) else "".join(task.context)
    tally = Tally()
    for record in parse_records(text[:window] if agent == "window" else text, source):
        if agent == "code":
            label = record.label if task.meta["label_args"][0] == "T0" else guess.label(record.text)
        elif agent == "oracle":
            label = _mistaken(rng, source, record.label) if rng.random() >= accuracy else record.label
        elif agent == "window":
            label = record.label
        else:
            raise ValueError(f"agent is {agent!r}; choose one of {', '.join(AGENTS)}")
        tally.add(record, label)
    seen = tally.total / task.meta["records"]
    if task.family == "pairs":
        users = sorted(tally.user_labels)
        joined = joined_pairs(task.meta["ask"], *task.meta["ask_args"])
        return "\n".join(f"{x}, {y}" for x, y in combinations(users, 2) if joined(tally, x, y)) or "none"
    found = answer(task.meta["ask"], tally, *task.meta["ask_args"])
    if found is None:
        return ""
    return str(round(found / seen)) if isinstance(found, int) else str(found)


def score_matrix(
    settings: list[tuple[str, dict[str, Any]]],
    n: int = 20,
    length_chars: int = 30_000,
    accuracy: float = 1.0,
    secret: bytes = b"",
) -> list[Row]:
    """Mean score of each agent on each ``(family, knobs)`` over `n` seeds.

    Example:
        >>> row = score_matrix([("linear", {"tier": "T0"})], n=2, length_chars=4_000)[0]
        >>> row.scores["oracle"] == row.scores["code"] == 1.0, row.needs_subcalls()
        (True, False)
    """
    rows = []
    for name, knobs in settings:
        totals = dict.fromkeys(AGENTS, 0.0)
        for seed in range(n):
            task = generate(name, seed, length_chars, secret=secret, **knobs)
            for agent in AGENTS:
                rng = seeded(secret, "check", name, seed, agent)
                totals[agent] += score(task.kind, task.gold, play(task, agent, rng, accuracy)).value
        rows.append(Row(name, knobs, n, {agent: total / n for agent, total in totals.items()}))
    return rows


def _mistaken(rng: Rng, source: Labeller, label: str) -> str:
    return rng.pick([name for name in source.labels if name != label])
