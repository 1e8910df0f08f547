"""Times as the policy writes them: a day from 1 and ``HH:MM``; inside, minutes since the midnight before day 1."""

from __future__ import annotations

import re

from .rows import DAY, WEEKDAYS

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def parse(text: str) -> int | None:
    """Minutes of the day of ``HH:MM``, or None.

    Example:
        >>> parse("09:30"), parse("9:30"), parse("24:00")
        (570, None, None)
    """
    match = _TIME.fullmatch(text)
    return 60 * int(match[1]) + int(match[2]) if match else None


def show(minute: int) -> str:
    """``HH:MM`` of a minute, whatever its day.

    Example:
        >>> show(1440 + 570)
        '09:30'
    """
    return f"{minute % DAY // 60:02d}:{minute % 60:02d}"


def day_of(minute: int) -> int:
    """The day, from 1, in which a minute lies."""
    return minute // DAY + 1


def at(day: int, minute: int) -> int:
    """The absolute minute of a minute of a day."""
    return (day - 1) * DAY + minute


def weekday(first: int, day: int) -> int:
    """The weekday (0 is Monday) of a day when day 1 has the weekday ``first``."""
    return (first + day - 1) % 7


def weekday_name(first: int, day: int) -> str:
    """The weekday of a day in words."""
    return WEEKDAYS[weekday(first, day)]


def money(cents: int) -> str:
    """Cents as an amount.

    Example:
        >>> money(124050)
        '1,240.50'
    """
    return f"{cents // 100:,}.{cents % 100:02d}"
