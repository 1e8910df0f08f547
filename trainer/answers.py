"""What the rollouts of a task answered, in a form that can be voted on."""

from __future__ import annotations

from collections.abc import Hashable
from fractions import Fraction

from .rollout import Play

RIGHT = ("right",)


def canonical(text: str) -> Hashable:
    """An answer without accidents of writing: numbers by value, other texts without case and surplus blanks.

    Example:
        >>> canonical("0.50") == canonical(" 1/2")
        True
    """
    plain = " ".join(text.split()).casefold()
    try:
        return Fraction(plain) if len(plain) < 40 else plain
    except (ValueError, ZeroDivisionError):
        return plain


def ballots(play: Play, success: float = 1.0) -> tuple[list[Hashable | None], set[Hashable]]:
    """The vote of every scored rollout, and which answers are right.

    A rollout votes for its solution where the environment names solutions. Otherwise right replies vote alike, for they
    all equal the one right answer, and wrong ones by what was read as their answer. None: nothing could be read.
    """
    votes: list[Hashable | None] = []
    right: set[Hashable] = set()
    for rollout in play.group.rollouts:
        if rollout.reward is None:
            continue
        good = rollout.reward >= success
        if rollout.id in play.keys:
            vote: Hashable | None = ("solution", play.keys[rollout.id])
        elif good:
            vote = RIGHT
        else:
            vote = canonical(play.answers[rollout.id]) if rollout.id in play.answers else None
        votes.append(vote)
        if good:
            right.add(vote)
    return votes, right
