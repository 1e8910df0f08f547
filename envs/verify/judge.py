"""Compares two parsed answers: shapes first, then values; every rule of notation is one small method."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .cursor import number_of, numeric
from .identity import NeedsWorker, Undecided, Values, close, contains, symbols
from .intervals import NoRegion, Piece, Region, Regions, is_infinite
from .lex import Node
from .shapes import (
    as_matrix,
    bare_unit,
    base_value,
    collection,
    coordinates_of,
    degree_unit,
    exact_sides,
    expand,
    is_equation,
    is_membership,
    matched,
    members_of,
    named_point,
    names_and_values,
    names_in,
    nested_rows,
    one_letter,
    rows_of,
    substitute,
    sum_of_letters,
    surely_region,
    terminates,
    upwards,
    without_parameters,
    written_decimal,
)
from .verdict import Reason, Unreadable

MAX_ITEMS = 64


class Mismatch(Exception):
    """Raised where two answers are found to differ in shape, with the reason that feedback may name."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Judge:
    """Compares two parsed answers."""

    def __init__(self, values: Values, answer: str) -> None:
        self.values, self.answer = values, answer
        self.regions = Regions(values)

    # ---- shapes ---------------------------------------------------------------------------------------------------
    def same(self, gold: Node, pred: Node) -> bool:
        """Is ``pred`` the answer ``gold``? The two sides are not interchangeable: gold decides on conventions.

        Raises:
            Mismatch: they differ in a way that can be named.
            Undecided, Undefined, NeedsWorker: see `Values`.
        """
        if gold == pred and not contains(gold, "div", "pow", "fn", "opaque"):
            return True
        gold, pred = without_parameters(gold, pred)
        if gold[0] == "mod" or pred[0] == "mod":
            return self.residue(gold, pred)
        if gold[0] == "piecewise" or pred[0] == "piecewise":
            return self.pieces(gold, pred)
        gold, pred = expand(gold), expand(pred)
        if gold[0] == "matrix":
            pred = nested_rows(pred)
        coordinates = self.coordinates(gold, pred)
        if coordinates is not None:
            return coordinates
        found = self.as_regions(gold, pred)
        if found is not None:
            return found
        if not (is_membership(gold) and is_membership(pred)):
            gold, pred = (node[2][1] if is_membership(node) else node for node in (gold, pred))
        if gold[0] == "rel" or pred[0] == "rel":
            return self.relations(gold, pred)
        if collection(gold) or collection(pred):
            return self.collections(gold, pred)
        gold, pred = named_point(gold), named_point(pred)
        gold, pred = as_matrix(gold) or gold, as_matrix(pred) or pred
        if gold[0] in ("matrix", "tuple", "bracket_list") or pred[0] in ("matrix", "tuple", "bracket_list"):
            return self.ordered(gold, pred)
        for node in (gold, pred):
            if node[0] in ("interval", "union", "inter", "minus", "named_set", "builder", "group", "dots"):
                return self.structure(gold, pred)
        return self.value(gold, pred)

    def structure(self, gold: Node, pred: Node) -> bool:
        """Same kind, same marks, equal parts in order; for intervals with symbolic ends and the like."""
        if gold[0] != pred[0] or len(gold) != len(pred):
            raise Mismatch(Reason.WRONG_KIND)
        for a, b in zip(gold[1:], pred[1:], strict=True):
            if isinstance(a, tuple) and isinstance(b, tuple) and a and isinstance(a[0], str):
                if is_infinite(a) or is_infinite(b):
                    if a != b:
                        return False
                elif not self.same(a, b):
                    return False
            elif a != b:
                return False
        return True

    def coordinates(self, gold: Node, pred: Node) -> bool | None:
        """``x=1, y=2`` as a tuple in alphabetical order of the names."""
        gold_names, pred_names = coordinates_of(gold), coordinates_of(pred)
        if gold_names is None and pred_names is None:
            return None
        if gold_names is not None and pred_names is not None:
            if gold_names.keys() != pred_names.keys():
                return False
            return all(self.same(gold_names[name], pred_names[name]) for name in gold_names)
        names = gold_names or pred_names
        assert names is not None
        other = pred if gold_names is not None else gold
        if other[0] == "rel" and other[1] == ("=",) and other[2][0][0] == "tuple":
            other = other[2][1]
        if one_letter(names) and collection(other):
            items = ("set", tuple(names.values()))
            return self.collections(items, other) if gold_names is not None else self.collections(other, items)
        if other[0] not in ("tuple", "matrix"):
            raise Mismatch(Reason.WRONG_KIND)
        point = ("tuple", tuple(names[name] for name in sorted(names)))
        return self.ordered(point, other) if gold_names is not None else self.ordered(other, point)

    # ---- intervals and inequalities -------------------------------------------------------------------------------
    def as_regions(self, gold: Node, pred: Node) -> bool | None:
        """Compare as subsets of the line, if at least one of both can be nothing else."""
        if not (surely_region(gold) or surely_region(pred)):
            return None
        try:
            left, right = self.regions.region(gold), self.regions.region(pred)
        except NoRegion:
            return None
        if left.variable and right.variable and left.variable != right.variable:
            return False
        if not left.pieces and not right.pieces and "tuple" in (gold[0], pred[0]):
            return False  # (2,1) is a point, and no way to write the empty set
        return self.same_region(left, right)

    def same_region(self, left: Region, right: Region) -> bool:
        """Piece by piece."""
        if len(left.pieces) != len(right.pieces):
            return False
        return all(self.same_piece(a, b) for a, b in zip(left.pieces, right.pieces, strict=True))

    def same_piece(self, gold: Piece, pred: Piece) -> bool:
        """Same marks, and ends that agree as values."""
        if (gold.low_in, gold.high_in) != (pred.low_in, pred.high_in):
            return False
        for a, b in ((gold.low, pred.low), (gold.high, pred.high)):
            if self.regions.compare(a, b) == 0:
                continue
            if a.node is None or b.node is None or isinstance(a.value, float) or isinstance(b.value, float):
                return False
            if not self.value(a.node, b.node):
                return False
        return True

    # ---- equations ------------------------------------------------------------------------------------------------
    def relations(self, gold: Node, pred: Node) -> bool:
        """Equations and chains: ``x=5`` is 5, ``17=10+7`` is 17, other equations agree up to a factor."""
        if not (is_equation(gold) and is_equation(pred)):
            return self.inequality(gold, pred)
        if gold[0] == "rel" and pred[0] == "rel":
            (gold_names, gold_values), (pred_names, pred_values) = names_and_values(gold), names_and_values(pred)
            if (
                gold_names
                and gold_values
                and gold_names & pred_names
                and pred_values
                and self.chain(gold_values[0], pred_values)
            ):
                return True
            if (
                not symbols(gold_values[0] if gold_values else gold)
                and gold_names
                and not pred_names
                and not symbols(pred)
            ):
                return self.chain(gold_values[0], pred_values)
            return self.equations(gold, pred)
        if gold[0] == "rel":
            names, found = names_and_values(gold)
            if not names or not found:
                if not symbols(gold) and found:
                    return self.same(found[0], pred)
                raise Mismatch(Reason.WRONG_KIND)
            return self.same(found[0], pred)
        names, found = names_and_values(pred)
        if found and (names or not symbols(pred) or sum_of_letters(pred)):
            if sum_of_letters(pred):
                found = [side for side in found if not symbols(side)]
            return self.chain(gold, found)
        raise Mismatch(Reason.WRONG_KIND)

    def chain(self, gold: Node, sides: list[Node]) -> bool:
        """All sides of a chain have to be the gold value."""
        verdicts = []
        for side in sides:
            try:
                verdicts.append(self.same(gold, side))
            except Mismatch:
                if len(sides) == 1:
                    raise
                verdicts.append(False)
        if any(verdicts) and not all(verdicts):
            raise Mismatch(Reason.INCONSISTENT)
        return all(verdicts) and bool(verdicts)

    def equations(self, gold: Node, pred: Node) -> bool:
        """Equal up to a non-zero factor, or side by side."""
        gold_sides, pred_sides = exact_sides(gold), exact_sides(pred)
        if len(gold_sides) != 2 or len(pred_sides) != 2:
            if len(gold_sides) == len(pred_sides):
                return all(self.same(a, b) for a, b in zip(gold_sides, pred_sides, strict=True))
            return False
        if any(side[0] in ("tuple", "set", "list", "matrix", "interval") for side in (*gold_sides, *pred_sides)):
            return all(self.same(a, b) for a, b in zip(gold_sides, pred_sides, strict=True))
        left, right = (("add", a, ("neg", b)) for a, b in (gold_sides, pred_sides))
        return self.values.proportional(left, right)

    def inequality(self, gold: Node, pred: Node) -> bool:
        """Inequalities in several variables: the same up to a positive factor; otherwise side by side."""
        if gold[0] != "rel" or pred[0] != "rel":
            raise Mismatch(Reason.WRONG_KIND)
        if len(gold[1]) == len(pred[1]) == 1 and all(
            op in ("<", "<=", ">", ">=", "!=") for op in (gold[1][0], pred[1][0])
        ):
            (a, b), (c, d) = gold[2], pred[2]
            gold_op, pred_op = gold[1][0], pred[1][0]
            if gold_op in (">", ">="):
                a, b, gold_op = b, a, gold_op.replace(">", "<")
            if pred_op in (">", ">="):
                c, d, pred_op = d, c, pred_op.replace(">", "<")
            if gold_op != pred_op:
                return False
            left, right = ("add", b, ("neg", a)), ("add", d, ("neg", c))
            if not self.values.proportional(left, right):
                return False
            if gold_op == "!=":
                return True
            point = {name: number_of(Fraction(k + 3, 7)) for k, name in enumerate(sorted(symbols(left)))}
            one, two = self.values.fraction(substitute(left, point)), self.values.fraction(substitute(right, point))
            return one is not None and two is not None and one * two > 0
        (gold_ops, gold_sides), (pred_ops, pred_sides) = upwards(gold), upwards(pred)
        return gold_ops == pred_ops and all(self.same(a, b) for a, b in zip(gold_sides, pred_sides, strict=True))

    # ---- collections ----------------------------------------------------------------------------------------------
    def collections(self, gold: Node, pred: Node) -> bool:
        """Sets and lists, whatever their order."""
        if gold[0] == "empty" or pred[0] == "empty":
            return gold[0] == pred[0]
        if not collection(gold) or not collection(pred):
            other = pred if collection(gold) else gold
            if other[0] in ("tuple", "interval", "matrix", "bracket_list"):
                raise Mismatch(Reason.WRONG_KIND)
            raise Mismatch(Reason.COUNT)
        gold_names, pred_names = names_in(gold), names_in(pred)
        if gold_names and pred_names and not gold_names & pred_names:
            return False
        left, right = members_of(gold), members_of(pred)
        if contains(gold, "dots") or contains(pred, "dots"):
            return self.sequence(left, right)
        if len(left) > MAX_ITEMS or len(right) > MAX_ITEMS:
            raise Unreadable(Reason.TOO_LARGE, "too many items")
        left, right = self.distinct(left), self.distinct(right)
        if len(left) != len(right):
            raise Mismatch(Reason.COUNT)
        return self.matching(left, right)

    def distinct(self, items: list[Node]) -> list[Node]:
        """Items without repetitions."""
        kept: list[Node] = []
        for item in items:
            if not any(item == other or self.quietly(other, item) for other in kept):
                kept.append(item)
        return kept

    def quietly(self, gold: Node, pred: Node) -> bool:
        """Equality where a difference in shape is simply a difference."""
        try:
            return self.same(gold, pred)
        except (Mismatch, Undecided):
            return False

    def sequence(self, left: list[Node], right: list[Node]) -> bool:
        """Lists with dots in them, item by item."""
        return len(left) == len(right) and all(
            a == b or (a[0] != "dots" != b[0] and self.quietly(a, b)) for a, b in zip(left, right, strict=True)
        )

    def matching(self, left: list[Node], right: list[Node]) -> bool:
        """A perfect matching of equal items, whatever their order."""
        return matched(left, right, self.quietly)

    def ordered(self, gold: Node, pred: Node) -> bool:
        """Tuples and matrices, part by part; a column vector is a tuple."""
        left, right = rows_of(gold), rows_of(pred)
        if left is None or right is None:
            raise Mismatch(Reason.WRONG_KIND)
        if len(left) != len(right) or any(len(a) != len(b) for a, b in zip(left, right, strict=True)):
            raise Mismatch(Reason.COUNT if gold[0] == pred[0] else Reason.WRONG_KIND)
        return all(
            self.same(a, b) for row, other in zip(left, right, strict=True) for a, b in zip(row, other, strict=True)
        )

    # ---- residues and case distinctions ---------------------------------------------------------------------------
    def residue(self, gold: Node, pred: Node) -> bool:
        """Residues agree modulo the same number; one that is written without its modulus agrees as it stands."""
        if gold[0] != "mod" or pred[0] != "mod":
            gold, pred = (node[1] if node[0] == "mod" else node for node in (gold, pred))
            return not (gold[0] == pred[0] == "rel" or (symbols(gold) and gold[0] != "rel")) and self.same(gold, pred)
        modulus = self.values.fraction(gold[2])
        if not self.values.same(gold[2], pred[2]):
            return False
        left, right = (self.values.fraction(node) if not symbols(node) else None for node in (gold[1], pred[1]))
        if modulus and left is not None and right is not None:
            return ((left - right) / modulus).denominator == 1
        return self.same(gold[1], pred[1])

    def pieces(self, gold: Node, pred: Node) -> bool:
        """Case distinctions: the same values under the same conditions; "otherwise" is whatever is left."""
        if gold[0] != pred[0]:
            raise Mismatch(Reason.WRONG_KIND)
        if len(gold[1]) != len(pred[1]):
            raise Mismatch(Reason.COUNT)

        def alike(one: Node, two: Node) -> bool:
            otherwise = "otherwise" in (one[1][0], two[1][0])
            return (otherwise or self.quietly(one[1], two[1])) and self.quietly(one[0], two[0])

        return matched(list(gold[1]), list(pred[1]), alike)

    # ---- single values --------------------------------------------------------------------------------------------
    def value(self, gold: Node, pred: Node) -> bool:
        """Two single values with their percent signs, degree signs and units."""
        gold, pred = bare_unit(gold, pred), bare_unit(pred, gold)
        if gold[0] == "pct" or pred[0] == "pct":
            return self.percent(gold, pred)
        if gold[0] == "qty" or pred[0] == "qty":
            return self.quantity(gold, pred)
        if is_infinite(gold) or is_infinite(pred):
            return gold == pred
        if gold[0] == "dots" or pred[0] == "dots":
            return gold == pred
        if self.number(gold, pred):
            return True
        if contains(gold, "deg") and not contains(pred, "deg") and not symbols(gold) and not symbols(pred):
            return self.in_radians(gold, pred)
        return False

    def in_radians(self, gold: Node, pred: Node) -> bool:
        """A gold in degrees against an answer in radians."""
        if not self.values.heavy:
            raise NeedsWorker
        from mpmath import mp

        def pair(dps: int) -> tuple[Any, Any]:
            with mp.workdps(dps + 15):
                radian = mp.pi / 180
            return self.values.value(gold, dps, degrees=radian), self.values.value(pred, dps)

        return close(pair)

    def percent(self, gold: Node, pred: Node) -> bool:
        """Percent signs on one side or both."""
        hundred = number_of(Fraction(100))
        if gold[0] == "pct" and pred[0] == "pct":
            return self.value(gold[1], pred[1])
        if gold[0] == "pct":
            return self.value(gold[1], pred) or self.value(("div", gold[1], hundred), pred)
        size = self.values.fraction(gold)
        plain = size is None or abs(size) >= 1  # 50 may be meant in percent, 0.5 is not 0.5%
        return (plain and self.value(gold, pred[1])) or self.value(gold, ("div", pred[1], hundred))

    def quantity(self, gold: Node, pred: Node) -> bool:
        """Units on one side are ignored, on both they have to agree."""
        gold, pred = degree_unit(gold, pred), degree_unit(pred, gold)
        if gold[0] != "qty" or pred[0] != "qty":
            return self.value(gold[1] if gold[0] == "qty" else gold, pred[1] if pred[0] == "qty" else pred)
        one, two = gold[2], pred[2]
        if one == two:
            return self.value(gold[1], pred[1])
        if one.dims in ((("degree", 1),), (("radian", 1),)) and two.dims in ((("degree", 1),), (("radian", 1),)):
            turned = [
                ("mul", q[1], ("div", ("const", "pi"), number_of(Fraction(180))))
                if q[2].dims[0][0] == "degree"
                else q[1]
                for q in (gold, pred)
            ]
            return self.value(turned[0], turned[1])
        if one.dims != two.dims:
            raise Mismatch(Reason.UNITS)
        if self.value(base_value(gold), base_value(pred)):
            return True
        raise Mismatch(Reason.UNITS)

    def number(self, gold: Node, pred: Node) -> bool:
        """Exact against exact; a decimal prediction may stand for an irrational or non-terminating gold."""
        decimal = written_decimal(pred)
        if decimal is None:
            return self.values.same(gold, pred)
        value, decimals, significant = decimal
        exactly = self.values.fraction(gold)
        if exactly is not None and (exactly == value or terminates(exactly)):
            if exactly != value and not numeric(gold):
                raise Mismatch(Reason.WRONG)
            return exactly == value
        if symbols(gold):
            return self.values.same(gold, pred)
        if exactly is None and self.values.same(gold, pred):
            return True
        if contains(gold, "opaque", "tuple", "set", "text"):
            return False
        if significant >= 6 and self.rounds_to(gold, exactly, value, decimals):
            return True
        raise Mismatch(Reason.INEXACT)

    def rounds_to(self, gold: Node, exactly: Fraction | None, value: Fraction, decimals: int) -> bool:
        """Is the gold this decimal when rounded to as many decimals?"""
        half = Fraction(1, 2 * 10**decimals)
        if exactly is not None:
            return abs(exactly - value) <= half
        found = self.values.value(gold, 60)
        if getattr(found, "imag", 0):
            return False
        from mpmath import mp, mpf

        with mp.workdps(60):
            gap = abs(found.real - mpf(value.numerator) / value.denominator)
            return bool(gap <= mpf(half.numerator) / half.denominator) and found.real != 0
