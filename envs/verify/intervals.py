"""Subsets of the real line: intervals, unions, inequalities and set builders as one canonical list of pieces."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key
from itertools import pairwise
from typing import Any

from .cursor import number_of
from .exact import NotRational, Undefined, exact
from .identity import NeedsWorker, Values, symbols
from .lex import Node

INF: Node = ("const", "inf")
NEG_INF: Node = ("neg", INF)
MAX_DEGREE = 4
MAX_PIECES = 64
_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}


@dataclass(frozen=True)
class End:
    """An end of a piece: the node it was written as (None for a computed root) and its value for ordering."""

    node: Node | None
    value: Any  # Fraction, mpf, or float infinity


@dataclass(frozen=True)
class Piece:
    """An interval; ``low_in`` and ``high_in`` say whether the ends belong to it."""

    low: End
    low_in: bool
    high: End
    high_in: bool


@dataclass(frozen=True)
class Region:
    """A union of pieces in order, of the variable named, if one was."""

    pieces: tuple[Piece, ...]
    variable: str | None = None


class NoRegion(ValueError):
    """The node is no subset of the real line that can be put in order."""


LOW = End(NEG_INF, float("-inf"))
HIGH = End(INF, float("inf"))
ALL = (Piece(LOW, False, HIGH, False),)


def is_infinite(node: Node) -> bool:
    """Is the node plus or minus infinity?"""
    return node == INF or (node[0] == "neg" and node[1] == INF)


class Regions:
    """Turns nodes into regions within the budget of ``values``."""

    def __init__(self, values: Values) -> None:
        self.values = values

    # ---- ends -----------------------------------------------------------------------------------------------------
    def end(self, node: Node) -> End:
        """The end of an interval with its value. Raises NoRegion where it has none."""
        if node == INF:
            return HIGH
        if node == NEG_INF:
            return LOW
        if node[0] in ("qty", "deg"):
            node = node[1]
        if symbols(node):
            raise NoRegion("an end that is not a number")
        exactly = self.values.fraction(node)
        if exactly is not None:
            return End(node, exactly)
        try:
            value = self.values.value(node, 50)
        except (Undefined, NotRational):
            raise NoRegion("an end without a value") from None
        if not hasattr(value, "real") or getattr(value, "imag", None):
            raise NoRegion("a complex end")
        return End(node, value)

    @staticmethod
    def compare(a: End, b: End) -> int:
        """Order of two ends; values that agree to 40 digits are one."""
        if a is b or (a.node is not None and a.node == b.node):
            return 0
        x, y = a.value, b.value
        if isinstance(x, float) or isinstance(y, float) or (isinstance(x, Fraction) and isinstance(y, Fraction)):
            if isinstance(x, float) and not isinstance(y, float):
                return -1 if x < 0 else 1
            if isinstance(y, float) and not isinstance(x, float):
                return 1 if y < 0 else -1
            return (x > y) - (x < y)
        from mpmath import mp, mpf

        with mp.workdps(60):
            x, y = (mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v for v in (x, y))
            gap = x - y
            if abs(gap) <= mpf(10) ** -30 * max(1, abs(x), abs(y)):
                return 0
            return 1 if gap > 0 else -1

    # ---- algebra --------------------------------------------------------------------------------------------------
    def merge(self, pieces: list[Piece]) -> tuple[Piece, ...]:
        """Pieces in order, overlapping and touching ones joined, empty ones dropped."""
        kept = []
        for piece in pieces:
            order = self.compare(piece.low, piece.high)
            if order < 0 or (order == 0 and piece.low_in and piece.high_in):
                kept.append(piece)
        if len(kept) > MAX_PIECES:
            raise NoRegion("too many pieces")

        def by_low(a: Piece, b: Piece) -> int:
            return self.compare(a.low, b.low) or (b.low_in - a.low_in)

        kept.sort(key=cmp_to_key(by_low))
        merged: list[Piece] = []
        for piece in kept:
            if merged:
                last = merged[-1]
                order = self.compare(piece.low, last.high)
                if order < 0 or (order == 0 and (piece.low_in or last.high_in)):
                    longer = self.compare(piece.high, last.high)
                    high, high_in = (piece.high, piece.high_in) if longer > 0 else (last.high, last.high_in)
                    if longer == 0:
                        high_in = piece.high_in or last.high_in
                    merged[-1] = Piece(last.low, last.low_in, high, high_in)
                    continue
            merged.append(piece)
        return tuple(merged)

    def intersect(self, left: tuple[Piece, ...], right: tuple[Piece, ...]) -> tuple[Piece, ...]:
        """Points in both."""
        found = []
        for a in left:
            for b in right:
                low = self.compare(a.low, b.low)
                high = self.compare(a.high, b.high)
                found.append(
                    Piece(
                        a.low if low >= 0 else b.low,
                        (a.low_in and b.low_in) if low == 0 else (a.low_in if low > 0 else b.low_in),
                        a.high if high <= 0 else b.high,
                        (a.high_in and b.high_in) if high == 0 else (a.high_in if high < 0 else b.high_in),
                    )
                )
        return self.merge(found)

    def complement(self, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
        """Points in none of the pieces."""
        found, low, low_in = [], LOW, False
        for piece in self.merge(list(pieces)):
            found.append(Piece(low, low_in, piece.low, not piece.low_in))
            low, low_in = piece.high, not piece.high_in
        found.append(Piece(low, low_in, HIGH, False))
        return self.merge([p for p in found if not (p.low is LOW and p.high is LOW) and p.low is not HIGH])

    # ---- nodes ----------------------------------------------------------------------------------------------------
    def region(self, node: Node) -> Region:
        """The subset of the line a node describes.

        Raises:
            NoRegion: it describes none, or one with symbolic ends.
        """
        kind = node[0]
        if kind == "group":
            return self.region(node[1])
        if kind == "interval":
            low, high = self.end(node[2]), self.end(node[3])
            return Region(self.merge([Piece(low, node[1] == "[", high, node[4] == "]")]))
        if kind == "tuple" and len(node[1]) == 2:
            return Region(self.merge([Piece(self.end(node[1][0]), False, self.end(node[1][1]), False)]))
        if kind == "set":
            ends = [self.end(item) for item in node[1]]
            return Region(self.merge([Piece(end, True, end, True) for end in ends]))
        if kind == "empty":
            return Region(())
        if kind == "named_set" and node[1] == "Reals":
            return Region(ALL)
        if kind == "union":
            return Region(self.merge([*self.region(node[1]).pieces, *self.region(node[2]).pieces]))
        if kind == "inter":
            return Region(self.intersect(self.region(node[1]).pieces, self.region(node[2]).pieces))
        if kind == "minus":
            return Region(self.intersect(self.region(node[1]).pieces, self.complement(self.region(node[2]).pieces)))
        if kind == "rel":
            return self.relation(node)
        if kind == "list":
            if not any(item[0] in ("rel", "interval", "union", "tuple") for item in node[1]):
                return self.region(("set", node[1]))
            return self.joined(node)
        if kind == "builder":
            condition = self.region(node[2])
            head = node[1]
            name = condition.variable
            if head[0] == "rel" and head[1] == ("in",):
                condition = Region(self.intersect(self.region(head).pieces, condition.pieces), name)
                head = head[2][0]
            if head != ("sym", name):
                raise NoRegion("a builder of something else")
            return condition
        raise NoRegion(kind)

    def joined(self, node: Node) -> Region:
        """Conditions joined by "or" (union), "and" (intersection) or commas (the one that is not empty)."""
        items, seps = node[1], node[2]
        conditions = all(item[0] == "rel" and any(op != "=" for op in item[1]) for item in items)
        alternatives = "or" in seps and all(item[0] in ("interval", "union", "rel") for item in items)
        if not conditions and not alternatives:
            raise NoRegion("a list of values")
        parts = [self.relation(item, True) if item[0] == "rel" else self.region(item) for item in items]
        names = {part.variable for part in parts if part.variable}
        if len(names) > 1:
            raise NoRegion("several variables")
        both = parts[0].pieces
        for part in parts[1:]:
            both = self.intersect(both, part.pieces)
        if "or" in seps or ("and" not in seps and not both):
            both = self.merge([piece for part in parts for piece in part.pieces])
        return Region(both, names.pop() if names else None)

    def relation(self, node: Node, equations: bool = False) -> Region:
        """The solutions of a relation in one variable; those of an equation only if they are asked for."""
        ops, sides = node[1], node[2]
        if len(ops) == 1 and ops[0] in ("in", "notin"):
            if sides[0][0] != "sym":
                raise NoRegion("membership of an expression")
            pieces = self.region(sides[1]).pieces
            return Region(pieces if ops[0] == "in" else self.complement(pieces), sides[0][1])
        if not all(op in _FLIP for op in ops) or (not equations and all(op == "=" for op in ops)):
            raise NoRegion("no inequality")
        names = symbols(node)
        if len(names) != 1:
            raise NoRegion("not one variable")
        (name,) = names
        pieces = ALL
        for op, left, right in zip(ops, sides, sides[1:], strict=False):
            pieces = self.intersect(pieces, self.solve(op, left, right, name))
        return Region(pieces, name)

    def solve(self, op: str, left: Node, right: Node, name: str) -> tuple[Piece, ...]:
        """The solutions of one inequality in one variable."""
        variable = ("sym", name)
        if right == variable and not symbols(left):
            op, left, right = _FLIP[op], right, left
        if left == variable and not symbols(right):
            return self.half(op, self.end(right))
        if left[:2] == ("fn", "abs") and not symbols(right):
            inside, negative = left[2], ("neg", right)
            if op in ("<", "<="):
                return self.intersect(
                    self.solve(op, inside, right, name), self.solve(_FLIP[op], inside, negative, name)
                )
            if op in (">", ">="):
                return self.merge(
                    [*self.solve(op, inside, right, name), *self.solve(_FLIP[op], inside, negative, name)]
                )
        if right[:2] == ("fn", "abs") and not symbols(left):
            return self.solve(_FLIP[op], right, left, name)
        if not symbols(left) and not symbols(right):
            a, b = self.end(left), self.end(right)
            order = self.compare(a, b)
            true = {
                "<": order < 0,
                ">": order > 0,
                "<=": order <= 0,
                ">=": order >= 0,
                "!=": order != 0,
                "=": order == 0,
            }
            return ALL if true[op] else ()
        coefficients = self.polynomial(("add", left, ("neg", right)), name)
        while coefficients and coefficients[-1] == 0:
            coefficients.pop()
        if len(coefficients) < 2:
            constant = coefficients[0] if coefficients else Fraction(0)
            true = {
                "<": constant < 0,
                ">": constant > 0,
                "<=": constant <= 0,
                ">=": constant >= 0,
                "!=": constant != 0,
                "=": constant == 0,
            }
            return ALL if true[op] else ()
        if len(coefficients) == 2:
            root = -coefficients[0] / coefficients[1]
            return self.half(op if coefficients[1] > 0 else _FLIP[op], End(number_of(root), root))
        return self.sign_chart(op, coefficients)

    @staticmethod
    def half(op: str, end: End) -> tuple[Piece, ...]:
        """Solutions of ``x op end``."""
        if op in ("<", "<="):
            return (Piece(LOW, False, end, op == "<=" and end is not HIGH),)
        if op in (">", ">="):
            return (Piece(end, op == ">=" and end is not LOW, HIGH, False),)
        if op == "=":
            return (Piece(end, True, end, True),)
        return (Piece(LOW, False, end, False), Piece(end, False, HIGH, False))

    def polynomial(self, node: Node, name: str) -> list[Fraction]:
        """Coefficients of a polynomial with exact coefficients, lowest first."""
        kind = node[0]
        if node == ("sym", name):
            return [Fraction(0), Fraction(1)]
        if not symbols(node):
            try:
                return [exact(node, self.values.budget)]
            except (NotRational, Undefined):
                raise NoRegion("a coefficient that is no fraction") from None
        if kind == "neg":
            return [-c for c in self.polynomial(node[1], name)]
        if kind == "add":
            a, b = self.polynomial(node[1], name), self.polynomial(node[2], name)
            size = max(len(a), len(b))
            return [
                x + y
                for x, y in zip(a + [Fraction(0)] * (size - len(a)), b + [Fraction(0)] * (size - len(b)), strict=True)
            ]
        if kind == "mul":
            return self.product(self.polynomial(node[1], name), self.polynomial(node[2], name))
        if kind == "div" and not symbols(node[2]):
            below = self.polynomial(node[2], name)[0]
            if below == 0:
                raise NoRegion("division by zero")
            return [c / below for c in self.polynomial(node[1], name)]
        if kind == "pow":
            exponent = self.values.fraction(node[2])
            if exponent is not None and exponent.denominator == 1 and 0 <= exponent <= MAX_DEGREE:
                result = [Fraction(1)]
                base = self.polynomial(node[1], name)
                for _ in range(int(exponent)):
                    result = self.product(result, base)
                return result
        raise NoRegion("no polynomial")

    def product(self, a: list[Fraction], b: list[Fraction]) -> list[Fraction]:
        """The product of two polynomials. Raises NoRegion above degree 4."""
        result = [Fraction(0)] * (len(a) + len(b) - 1)
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                result[i + j] += x * y
        while len(result) > 1 and result[-1] == 0:
            result.pop()
        if len(result) > MAX_DEGREE + 1:
            raise NoRegion("degree above 4")
        self.values.budget.spend(len(a) * len(b))
        return result

    def sign_chart(self, op: str, coefficients: list[Fraction]) -> tuple[Piece, ...]:
        """Solutions of a polynomial inequality from the signs between its real roots."""
        ends = self.real_roots(coefficients)
        pieces: list[Piece] = []
        bounds = [LOW, *ends, HIGH]
        strict = {"<": -1, "<=": -1, ">": 1, ">=": 1}
        for low, high in pairwise(bounds):
            sign = self.sign_between(coefficients, low, high)
            if op == "!=" or sign == strict.get(op):
                pieces.append(Piece(low, False, high, False))
        if op in ("<=", ">=", "="):
            pieces += [Piece(end, True, end, True) for end in ends]
        return self.merge(pieces)

    def real_roots(self, coefficients: list[Fraction]) -> list[End]:
        """Real roots in order: exact for quadratics, numeric above."""
        if len(coefficients) == 3:
            c, b, a = coefficients
            square = b * b - 4 * a * c
            if square < 0:
                return []
            root: Node = ("root", number_of(Fraction(2)), number_of(square))
            nodes = [("div", ("add", number_of(-b), sign), number_of(2 * a)) for sign in (("neg", root), root)]
            ends = [self.end(node) for node in (nodes if a > 0 else nodes[::-1])]
            return ends[:1] if square == 0 else ends
        if not self.values.heavy:
            raise NeedsWorker
        from mpmath import mp, mpf, polyroots

        self.values.budget.spend(5000)
        with mp.workdps(50):
            scaled = [mpf(c.numerator) / c.denominator for c in reversed(coefficients)]
            try:
                roots = polyroots(scaled, maxsteps=200, extraprec=400)
            except mp.NoConvergence:
                raise NoRegion("roots") from None
            real = sorted(r.real for r in roots if abs(r.imag) <= mpf(10) ** -18 * max(1, abs(r)))
            distinct: list[Any] = []
            for value in real:
                if not distinct or value - distinct[-1] > mpf(10) ** -15 * max(1, abs(value)):
                    distinct.append(value)
        return [End(None, value) for value in distinct]

    @staticmethod
    def sign_between(coefficients: list[Fraction], low: End, high: End) -> int:
        """Sign of a polynomial between two neighbouring roots."""
        from mpmath import mp, mpf

        with mp.workdps(60):
            a, b = (
                None if isinstance(v, float) else mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v
                for v in (low.value, high.value)
            )
            if a is None:
                at = mpf(0) if b is None else b - 1 - abs(b)
            else:
                at = a + 1 + abs(a) if b is None else (a + b) / 2
            total = mpf(0)
            for c in reversed(coefficients):
                total = total * at + mpf(c.numerator) / c.denominator
            return int(mp.sign(total))
