"""Simulated people: a pool of noisy preference judges that differ, for experiments without a network.

The structure is that of AlpacaFarm (arXiv 2305.14387): each example goes to one member of a pool, picked by a seeded
hash of the example; members differ in taste and in noise; and some labels are turned over. Here the members are
synthetic: a member likes a response by its true utility, plus its own taste for length, plus noise, chooses by a
logistic rule, and may prefer the slot shown first.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .ranking.types import Call, Outcome


@dataclass(frozen=True, slots=True)
class Annotator:
    """One member of a pool.

    Attributes:
        name: part of every random draw and of every cache key.
        length_taste: utility of one e-fold more characters.
        noise: standard deviation added to each utility, drawn afresh for every question.
        sharpness: slope of the logistic choice; infinity always takes the larger utility.
        first_bonus: utility of being shown first.
        p_flip: probability that the label is turned over, below one half.
    """

    name: str
    length_taste: float = 0.0
    noise: float = 0.0
    sharpness: float = 1.0
    first_bonus: float = 0.0
    p_flip: float = 0.25

    def __post_init__(self) -> None:
        _check_flip(self.p_flip)
        if self.noise < 0 or not self.sharpness > 0:
            raise ValueError(
                f"annotator {self.name!r}: noise={self.noise} must be >= 0, sharpness={self.sharpness} > 0"
            )

    def p_first(self, gap: float) -> float:
        """Probability of choosing the first slot when its utility is larger by ``gap``, before any flip."""
        if math.isinf(self.sharpness):
            return 0.5 if gap == 0 else float(gap > 0)
        return 1 / (1 + math.exp(-max(min(self.sharpness * gap, 60.0), -60.0)))


def default_pool(p_flip: float = 0.25, size: int = 13) -> list[Annotator]:
    """A pool of different members; ``p_flip=0`` gives the pool for evaluation."""
    return [
        Annotator(f"annotator-{k}", length_taste=0.3 * (k % 3), noise=0.2 * (k % 4), p_flip=p_flip) for k in range(size)
    ]


class AnnotatorPool:
    """Answers ranking calls, always in the same way for the same question and seed.

    Args:
        utility: true utility of each response, by id.
        lengths: characters of each response, by id; needed by members with a taste for length.
        members: the pool, default :func:`default_pool`.
        seed: another seed is another set of people.
    """

    def __init__(
        self,
        utility: Mapping[str, float],
        lengths: Mapping[str, int] | None = None,
        members: Sequence[Annotator] | None = None,
        seed: int = 0,
    ) -> None:
        self.utility, self.lengths, self.seed = utility, lengths, seed
        self.members = list(members) if members is not None else default_pool()
        if not self.members:
            raise ValueError("members is empty; give at least one annotator")

    def member_for(self, first: str, second: str) -> Annotator:
        """The member that gets this pair, whatever the order."""
        return self.members[self._hash("member", *sorted((first, second))) % len(self.members)]

    def compare(self, first: str, second: str, repeat: int = 0) -> Outcome:
        """The label for two responses in the order shown; ``repeat`` numbers independent repetitions."""
        member = self.member_for(first, second)
        rng = np.random.default_rng(self._hash("draw", member.name, first, second, str(repeat)))
        gap = self._liking(member, first, rng) - self._liking(member, second, rng) + member.first_bonus
        wins = rng.random() < member.p_first(gap)
        if rng.random() < member.p_flip:
            wins = not wins
        return Outcome(winner="first" if wins else "second")

    async def ask(self, call: Call) -> Outcome:
        """The judge of :func:`palaestra.judges.ranking.rank_groups`."""
        return self.compare(call.first, call.second, call.round)

    def _liking(self, member: Annotator, response: str, rng: np.random.Generator) -> float:
        taste = member.length_taste * math.log1p((self.lengths or {}).get(response, 0))
        return self.utility[response] + taste + member.noise * rng.standard_normal()

    def _hash(self, *parts: str) -> int:
        digest = hashlib.sha256()
        for part in (str(self.seed), *parts):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return int.from_bytes(digest.digest()[:8], "little")


def observed_preference(preference: float, p_flip: float) -> float:
    """Share of labels that prefer a response after flips: w (1 - p) + (1 - w) p.

    >>> round(observed_preference(0.7, 0.25), 6)
    0.6
    """
    _check_flip(p_flip)
    return preference * (1 - p_flip) + (1 - preference) * p_flip


def true_preference(observed: float, p_flip: float) -> float:
    """The inverse of :func:`observed_preference`; sampling noise can take it out of [0, 1]."""
    _check_flip(p_flip)
    return (observed - p_flip) / (1 - 2 * p_flip)


def agreement(accuracy_one: float, accuracy_two: float) -> float:
    """How often two independent annotators agree on a two-way choice."""
    return accuracy_one * accuracy_two + (1 - accuracy_one) * (1 - accuracy_two)


def _check_flip(p_flip: float) -> None:
    if not 0 <= p_flip < 0.5:
        raise ValueError(f"p_flip={p_flip} must lie in [0, 0.5); from one half on labels say the opposite")
