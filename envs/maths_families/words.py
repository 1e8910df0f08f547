"""Word problems: prices, speeds, work, mixtures, ages."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from .base import Problem, family, latex, pick, whole

_NAMES = ("Ada", "Bo", "Chen", "Dara", "Emil", "Fatou", "Goran", "Hana", "Ines", "Jun")
_THINGS = ("pencils", "apples", "stamps", "cards", "books", "tickets", "marbles", "shells")


@family
def price_change(rng: np.random.Generator, level: int) -> Problem:
    """A price after several changes in percent."""
    price, text = 20 * whole(rng, 1, 20 + 10 * level), ""
    value = Fraction(price)
    for _ in range(1 + (level + 1) // 2):
        change, up = 5 * whole(rng, 1, 9), rng.integers(2)
        value *= 1 + Fraction(change if up else -change, 100)
        text += f", then {'raised' if up else 'lowered'} by {change}\\%"
    return f"A price of \\${price} is first{text[6:]}. What is it now, in dollars?", latex(value)


@family
def shopping(rng: np.random.Generator, level: int) -> Problem:
    """A bill of several items and the change."""
    count = 2 + level // 2
    items = [(whole(rng, 2, 9), whole(rng, 2, 8 + 4 * level)) for _ in range(count)]
    total = sum(n * price for n, price in items)
    paid = 10 * (total // 10 + whole(rng, 1, 5))
    things = [str(_THINGS[int(n)]) for n in rng.choice(len(_THINGS), count, replace=False)]
    bought = ", ".join(f"{n} {thing} at \\${price} each" for (n, price), thing in zip(items, things, strict=True))
    name = pick(rng, _NAMES)
    return f"{name} buys {bought}, and pays with \\${paid}. How many dollars does {name} get back?", str(paid - total)


@family
def travel_time(rng: np.random.Generator, level: int) -> Problem:
    """Two travellers that meet, or one that is overtaken."""
    a, b, gap = whole(rng, 20, 50 + 10 * level), whole(rng, 20, 50 + 10 * level), 5 * whole(rng, 4, 20 + 10 * level)
    if level < 3 or a == b:
        text = f"Two trains start {gap} km apart and drive towards each other at {a} km/h and {b} km/h."
        return f"{text} After how many hours do they meet?", latex(Fraction(gap, a + b))
    slow, fast = sorted((a, b))
    text = f"A car at {fast} km/h follows a bus at {slow} km/h that is {gap} km ahead."
    return f"{text} After how many hours does it catch up?", latex(Fraction(gap, fast - slow))


@family
def work_rate(rng: np.random.Generator, level: int) -> Problem:
    """Pipes that fill a tank together, one of them a drain from level 3 on."""
    times = [whole(rng, 2, 20 + 4 * level) for _ in range(2 if level < 4 else 3)]
    rate = sum((Fraction(1, t) for t in times), Fraction(0))
    listed = ", ".join(map(str, times[:-1])) + f" and {times[-1]}"
    text = f"Pipes fill a tank alone in {listed} hours."
    if level > 2:
        drain = max(times) + whole(rng, 1, 10)
        rate -= Fraction(1, drain)
        text += f" A drain empties the full tank in {drain} hours."
    return f"{text} How many hours does it take to fill the tank with all of them open?", latex(1 / rate)


@family
def mixture(rng: np.random.Generator, level: int) -> Problem:
    """The strength of a mixture, in percent."""
    parts = [(whole(rng, 1, 10 + 3 * level), whole(rng, 1, 95)) for _ in range(2 + level // 4)]
    total = sum(n for n, _ in parts)
    value = Fraction(sum(n * percent for n, percent in parts), total)
    listed = " and ".join(f"{n} litres of a {percent}\\% solution" for n, percent in parts)
    return f"{listed[0].upper()}{listed[1:]} are mixed. How many percent is the mixture?", f"{latex(value)}\\%"


@family
def ages(rng: np.random.Generator, level: int) -> Problem:
    """Two ages from their sum or difference and a ratio at another time."""
    younger, factor, years = whole(rng, 3, 8 + 4 * level), whole(rng, 2, 2 + level), whole(rng, 1, 5 + 3 * level)
    older = factor * (younger + years) - years
    one, two = (str(_NAMES[int(n)]) for n in rng.choice(len(_NAMES), 2, replace=False))
    text = f"{one} and {two} are together {older + younger} years old."
    return f"{text} In {years} years, {one} will be {factor} times as old as {two}. How old is {two} now?", str(younger)


@family
def ratio_shares(rng: np.random.Generator, level: int) -> Problem:
    """An amount divided in a ratio."""
    shares = [whole(rng, 1, 5 + level) for _ in range(2 + level // 3)]
    unit = whole(rng, 2, 10 + 10 * level)
    asked = int(rng.integers(len(shares)))
    names = [str(_NAMES[int(n)]) for n in rng.choice(len(_NAMES), len(shares), replace=False)]
    people = ", ".join(names[:-1]) + f" and {names[-1]}"
    text = f"{people} share \\${unit * sum(shares)} in the ratio {':'.join(map(str, shares))}."
    return f"{text} How many dollars does {names[asked]} get?", str(unit * shares[asked])
