"""Are two values the same? Exact, then modulo primes, then to many digits; at points that no answer can foresee."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from .exact import PRIMES, Budget, NotRational, Undefined, exact, modular
from .lex import Node
from .opaque import Atoms

MIN_POINTS = 3
ENOUGH_POINTS = 10
MIN_TRIED = 16
_COMPLEX_PARTS = ("conj", "Re", "Im", "arg")
_STEPS = ("floor", "ceil")
_COUNTING = frozenset("ijklmnpqNMK")
_SCALES = (Fraction(1, 3), Fraction(3, 2), Fraction(5, 2), Fraction(6), Fraction(13), Fraction(90))


class NeedsWorker(Exception):
    """The cheap tests do not decide; the rest belongs into a process that can be killed."""


class Undecided(Exception):
    """Too few points where both sides have a value."""


def symbols(node: Any, found: set[str] | None = None) -> set[str]:
    """Names of all variables in a node."""
    found = set() if found is None else found
    if isinstance(node, tuple):
        if len(node) == 2 and node[0] == "sym":
            found.add(node[1])
        else:
            for child in node:
                if isinstance(child, tuple):
                    symbols(child, found)
    return found


def contains(node: Any, *kinds: str) -> bool:
    """Does a node of one of these kinds occur in the tree?"""
    return (
        isinstance(node, tuple)
        and bool(node)
        and (node[0] in kinds or any(contains(c, *kinds) for c in node if isinstance(c, tuple)))
    )


def has_function(node: Any, name: str) -> bool:
    """Does a function of this name occur in the tree?"""
    return (
        isinstance(node, tuple)
        and bool(node)
        and (node[:2] == ("fn", name) or any(has_function(c, name) for c in node if isinstance(c, tuple)))
    )


class Values:
    """Compares values within one budget.

    Args:
        budget: steps for everything this comparison does.
        seed: what the test points are drawn from; the texts of both answers, so that no answer can be made to
            agree with the gold at known points only.
        heavy: whether many-digit arithmetic may run here; if not, `NeedsWorker` is raised instead.
    """

    def __init__(self, budget: Budget, seed: str, heavy: bool) -> None:
        self.budget, self.heavy = budget, heavy
        self.seed = int.from_bytes(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()[:8], "big")

    # ---- exact ---------------------------------------------------------------------------------------------------
    def fraction(self, node: Node) -> Fraction | None:
        """The exact value, or None where there is none to be had cheaply."""
        try:
            return exact(node, self.budget)
        except NotRational:
            return None

    def same(self, left: Node, right: Node) -> bool:
        """Is ``left`` equal to ``right`` as a value?

        Raises:
            Undefined: one of them is a constant without a value.
            Undecided: there are too few common points.
            NeedsWorker: many digits are needed and not allowed here.
        """
        if left == right and not contains(left, "div", "pow", "fn"):
            return True
        if contains(left, "opaque") and contains(right, "opaque"):
            atoms = Atoms(self.same)
            left, right = atoms.replace(left), atoms.replace(right)
        a, b = self.fraction(left), self.fraction(right)
        if a is not None and b is not None:
            return a == b
        names = sorted(symbols(left) | symbols(right))
        verdict = self.modular_same(left, right, names)
        if verdict is not None:
            return verdict
        return self.digits_same(left, right, names)

    def _field_point(self, rng: random.Random, names: list[str], prime: int) -> dict[str, int]:
        point = {name: rng.randrange(2, prime) for name in [*names, " pi", " e"]}
        point[" nonresidue"] = nonresidue(prime)
        return point

    def modular_same(self, left: Node, right: Node, names: list[str]) -> bool | None:
        """Equality of rational functions modulo two primes; None if they are none."""
        rng = random.Random(self.seed)
        agreed = 0
        for prime in PRIMES:
            for _ in range(3):
                point = self._field_point(rng, names, prime)
                try:
                    if modular(left, point, prime, self.budget) != modular(right, point, prime, self.budget):
                        return False
                    agreed += 1
                    break
                except NotRational:
                    return None
                except Undefined:
                    continue
        if agreed < len(PRIMES):
            raise Undefined("no value anywhere") if not names else Undecided
        return True

    def proportional(self, left: Node, right: Node) -> bool:
        """Is ``left`` a non-zero constant times ``right``, as functions of their variables?"""
        names = sorted(symbols(left) | symbols(right))
        rng = random.Random(self.seed)
        try:
            for prime in PRIMES:
                pairs: list[tuple[int, int, int, int]] = []
                for _ in range(8):
                    point = self._field_point(rng, names, prime)
                    pi, e = pairs[0][2:] if pairs else (point[" pi"], point[" e"])
                    point[" pi"], point[" e"] = pi, e
                    try:
                        pairs.append(
                            (modular(left, point, prime, self.budget), modular(right, point, prime, self.budget), pi, e)
                        )
                    except Undefined:
                        continue
                if len(pairs) < MIN_POINTS:
                    raise Undecided
                a, b = pairs[0][0], pairs[0][1]
                if not a or not b or any((x * b - y * a) % prime for x, y, _, _ in pairs):
                    return False
            return True
        except NotRational:
            pass
        if not self.heavy:
            raise NeedsWorker
        from mpmath import mp

        with mp.workdps(60):
            ratio, common = None, 0
            for values in self._values([left, right], self.points(names)):
                a, b = values
                if abs(a) < 1e-30 or abs(b) < 1e-30:
                    return False
                if ratio is not None and abs(a / b - ratio) > abs(ratio) * mp.mpf(10) ** -30:
                    return False
                ratio, common = a / b, common + 1
        if common < MIN_POINTS:
            raise Undecided
        return True

    # ---- many digits ---------------------------------------------------------------------------------------------
    def digits_same(self, left: Node, right: Node, names: list[str]) -> bool:
        """Equality by many-digit arithmetic; a plain ``log`` may be natural or decimal."""
        if not self.heavy:
            raise NeedsWorker
        logs = (0, 10) if has_function(left, "log") or has_function(right, "log") else (0,)
        undecided = False
        for log in logs:
            try:
                if self._identical(left, right, names, log) if names else self._constants(left, right, log):
                    return True
            except Undecided:
                undecided = True
        if undecided:
            raise Undecided
        return False

    def value(self, node: Node, dps: int, degrees: Any = 1, log: int = 0) -> Any:
        """A constant to ``dps`` digits."""
        if not self.heavy:
            raise NeedsWorker
        from mpmath import mp

        from .numeric import Evaluator

        with mp.workdps(dps + 15):
            result = Evaluator({}, self.budget, degrees, log)(node)
            return +result

    def _constants(self, left: Node, right: Node, log: int = 0) -> bool:
        """Constants agree if their difference is rounding noise: nothing, or gone when the digits are tripled."""
        return close(lambda dps: (self.value(left, dps, log=log), self.value(right, dps, log=log)))

    def _identical(self, left: Node, right: Node, names: list[str], log: int) -> bool:
        """Real values at real points; where both sides share too few, principal values; then complex points."""
        from mpmath import mp

        with mp.workdps(60):
            steps = any(has_function(node, name) for node in (left, right) for name in _STEPS)
            sources = [(self.whole_points if steps else self.points, False), (self.points, True)]
            if any(has_function(node, name) for node in (left, right) for name in _COMPLEX_PARTS):
                sources = []  # a letter under a bar is no real variable
            for points, principal in (*sources, (self.complex_points, True)):
                common = 0
                for a, b in self._values([left, right], points(names), log, principal, steps):
                    common += 1
                    scale = max(abs(a), abs(b))
                    if abs(a - b) > scale * mp.mpf(10) ** -25 and abs(a - b) > mp.mpf(10) ** -45:
                        return False
                if common >= MIN_POINTS:
                    return True
        raise Undecided

    def _values(
        self,
        nodes: list[Node],
        points: Iterator[dict[str, Any]],
        log: int = 0,
        principal: bool = False,
        every: bool = False,
    ) -> Iterator[list[Any]]:
        """Values of all nodes at the points where they all have one; at every point, or until there are enough."""
        from .numeric import Evaluator, value_of

        found = 0
        for tried, point in enumerate(points):
            if (
                not every
                and found >= ENOUGH_POINTS
                and tried >= MIN_TRIED
                and isinstance(next(iter(point.values()), None), Fraction)
            ):
                continue
            evaluate = Evaluator(
                {name: value_of(value) for name, value in point.items()}, self.budget, 1, log, principal
            )
            try:
                values = [evaluate(node) for node in nodes]
            except (Undefined, ZeroDivisionError, OverflowError):
                continue
            found += 1
            yield values
            if not every and tried > 32 and found >= ENOUGH_POINTS + 2:
                return

    def whole_points(self, names: list[str]) -> Iterator[dict[str, Any]]:
        """Whole numbers, and real points in front of them unless all letters are ones that count.

        A floor agrees with a ceiling less one nearly everywhere but at whole numbers, and counts are whole.
        """
        if not all(name[0] in _COUNTING for name in names):
            yield from self.points(names)
        rng = random.Random(self.seed)
        start = rng.randrange(1, 6)
        for n in range(24):
            yield {name: start + n if len(names) == 1 else rng.randrange(1, 13) for name in names}

    def complex_points(self, names: list[str]) -> Iterator[dict[str, Any]]:
        """Points in all quadrants of the complex plane, as pairs of fractions."""
        rng = random.Random(self.seed)

        def part() -> Fraction:
            return rng.choice((-1, 1)) * rng.choice(_SCALES) * Fraction(rng.randrange(100, 1000), 700)

        for _ in range(ENOUGH_POINTS):
            yield {name: (part(), part()) for name in names}

    def points(self, names: list[str]) -> Iterator[dict[str, Any]]:
        """Real points of all signs at several scales, then whole numbers."""
        rng = random.Random(self.seed)
        for n in range(32):
            # With up to three variables every pattern of signs comes up in turn.
            signs = n if len(names) <= 3 else rng.randrange(2 ** len(names)) if n % 2 else 0
            point = {}
            for place, name in enumerate(names):
                scale = rng.choice(_SCALES)
                size = scale * Fraction(rng.randrange(100, 1000), 700)
                point[name] = -size if signs >> place & 1 else size
            yield point
        for n in range(8):
            yield {name: rng.randrange(1, 4 + 2 * n) for name in names}


def close(pair: Callable[[int], tuple[Any, Any]]) -> bool:
    """Are two constants equal, given a function that returns both to a number of digits?

    A difference that matters stays when the digits are tripled; rounding noise shrinks with them.
    """
    from mpmath import mp, mpf

    a, b = pair(50)
    with mp.workdps(70):
        scale = max(abs(a), abs(b))
        if abs(a - b) > mpf(10) ** -20 * max(scale, 1):
            return False
    a, b = pair(200)
    with mp.workdps(230):
        low = abs(a - b)
        if low > mpf(10) ** -100 * max(abs(a), abs(b), 1):
            return False
    a, b = pair(450)
    with mp.workdps(480):
        high, scale = abs(a - b), max(abs(a), abs(b))
        # 15 more digits are carried than asked for; ten of them may be lost to rounding, more only if the noise of the
        # shorter computation was larger by as much.
        return high <= mpf(10) ** -455 * scale or (low > 0 and high < low * mpf(10) ** -200)


_NONRESIDUES: dict[int, int] = {}


def nonresidue(prime: int) -> int:
    """The smallest number that is no square modulo a prime."""
    if prime not in _NONRESIDUES:
        _NONRESIDUES[prime] = next(n for n in range(2, 1000) if pow(n, (prime - 1) // 2, prime) == prime - 1)
    return _NONRESIDUES[prime]
