"""How many processes and threads the kernel counts for this user, which it compares with RLIMIT_NPROC.

Looking through /proc for them takes longer than a run, and misses those in other PID namespaces. The kernel knows: it
refuses one more exactly when the limit is reached.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable

from . import kernel

MOST = 1 << 22


class Census:
    """Counts by asking for a process under one limit after another, beginning with the last count."""

    def __init__(self) -> None:
        self._make, self._last = kernel.stillborn(), 1

    def count(self) -> int:
        """The processes and threads that are counted now, those that nobody has waited for included."""
        before = resource.getrlimit(resource.RLIMIT_NPROC)
        hard = before[1]

        def fits(limit: int) -> bool:
            resource.setrlimit(resource.RLIMIT_NPROC, (limit, hard))
            try:
                os.waitpid(self._make(), 0)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                return False
            return True

        try:
            self._last = least(fits, self._last, hard if hard != resource.RLIM_INFINITY else MOST)
        finally:
            resource.setrlimit(resource.RLIMIT_NPROC, before)
        return self._last - 1


def least(fits: Callable[[int], bool], guess: int, most: int) -> int:
    """The smallest number that fits, where every larger one fits, too; ``most`` when none below it does.

    Args:
        fits: whether a number fits.
        guess: where to look first; a right guess is confirmed by asking twice.
        most: the largest number in question.

    Example:
        >>> least(lambda number: number >= 40, guess=38, most=1000)
        40
    """
    step = 1
    if fits(guess):
        low, high = guess - 1, guess
        while low > 0 and fits(low):
            low, high, step = max(0, low - step), low, 2 * step
    else:
        low, high = guess, min(most, guess + 1)
        while high < most and not fits(high):
            low, high, step = high, min(most, high + 2 * step), 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle
    return high
