"""Is an answer the gold answer? Shapes first, then values; every rule of notation lives in one small method."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from .exact import Budget, NotRational, Undefined
from .identity import NeedsWorker, Undecided, Values, close, contains, has_function, symbols
from .intervals import NoRegion, Piece, Region, Regions, is_infinite
from .lex import Node, lex
from .parse import OPAQUE, Parser, Unreadable, number_of, numeric
from .text import normalise
from .textual import (
    bare_numeral,
    chosen_options,
    formula_for,
    gold_options,
    is_wordy,
    numeral,
    ratio,
    without_lead,
    words,
)
from .units import Unit, lookup
from .verdict import Reason

LIGHT_STEPS = 20_000
HEAVY_STEPS = 400_000
MAX_ITEMS = 64

_KINDS = {
    "tuple": "tuple", "set": "set", "list": "list", "bracket_list": "tuple", "interval": "interval", "union": "interval",
    "inter": "interval", "minus": "interval", "matrix": "matrix", "named_set": "set", "empty": "set", "builder": "set",
    "text": "text", "qty": "quantity", "pct": "percent", "opaque": "expression", "dots": "list", "group": "expression",
}  # fmt: skip
_DECIMAL_COMMA = re.compile(r"[^\d,.]*\d+,\d+[^\d,.]*")
_REGION_KINDS = frozenset(("interval", "union", "inter", "minus", "builder"))


@dataclass(frozen=True)
class Result:
    """The outcome of a comparison of two answer texts."""

    ok: bool
    reason: Reason
    gold_kind: str = ""
    pred_kind: str = ""


class Mismatch(Exception):
    """Raised where two answers are found to differ in shape, with the reason that feedback may name."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def kind_of(node: Node | None) -> str:
    """The shape of an answer in one word."""
    if node is None:
        return "text"
    if node[0] == "rel":
        return "equation" if all(op in ("=", "~") for op in node[1]) else "inequality"
    if node[0] in _KINDS:
        return _KINDS[node[0]]
    return "expression" if symbols(node) else "number"


@lru_cache(maxsize=4096)
def readings(text: str) -> tuple[Node, ...] | Reason:
    """All ways to read an answer: with commas as thousands marks and as separators. Or why there is none."""
    found: list[Node] = []
    reason = Reason.MALFORMED
    try:
        modes = (True, False) if "," in text else (True,)
        for thousands in modes:
            try:
                node = Parser(lex(text, thousands)).answer()
            except Unreadable as error:
                reason = error.reason
                continue
            if node not in found:
                found.append(node)
    except RecursionError:
        return Reason.TOO_LARGE
    return tuple(found) or reason


@lru_cache(maxsize=4096)
def spelling(text: str) -> tuple[tuple[str, str], ...] | None:
    """Tokens of an answer for comparing two texts; None if it cannot be read."""
    try:
        return tuple((token.kind if token.kind in ("num", "text") else "", token.value.strip()) for token in lex(text))
    except Unreadable:
        return None


def restates(text: str) -> frozenset[str]:
    """Operators whose evaluation is the task itself: sums, products, integrals, limits, derivatives."""
    tokens = spelling(text) or ()
    values = [value for _, value in tokens]
    found = {value for kind, value in tokens if value in OPAQUE and kind != "text"}
    joined = "".join(values)
    for mark in ("frac{d}{d", "frac{\\partial}{", "frac{partial}{partial", "frac{d^", "frac{partial^", "d/dx"):
        if mark in joined:
            found.add("derivative")
    return frozenset("int" if name in ("iint", "iiint", "oint") else name for name in found)


def compare_texts(gold: str, answer: str, heavy: bool = True) -> Result:
    """Decide whether two answer texts mean the same.

    Args:
        gold: the gold answer.
        answer: the extracted answer.
        heavy: whether expensive arithmetic may run in this process.

    Returns:
        The outcome. Never raises for anything an answer can contain.

    Raises:
        NeedsWorker: only with ``heavy=False``: the cheap tests do not decide.
    """
    try:
        gold, answer = normalise(gold), normalise(answer)
    except Unreadable as error:
        return Result(False, error.reason)
    try:
        return _compare(gold, answer, heavy)
    except Unreadable as error:
        if not heavy and error.reason is Reason.TOO_LARGE:
            raise NeedsWorker from None
        return Result(False, error.reason)
    except RecursionError:
        return Result(False, Reason.TOO_LARGE)


def _compare(gold: str, answer: str, heavy: bool) -> Result:
    if gold.strip() == answer.strip() and gold.strip():
        return Result(True, Reason.EQUAL_TEXT)
    if not answer.strip():
        return Result(False, Reason.EMPTY_ANSWER)
    if len(answer) > 2000:
        return Result(False, Reason.TOO_LARGE)
    special = _special(gold, answer)
    if special is not None:
        return special
    if formula := formula_for(gold):
        gold = formula
    if formula := formula_for(answer):
        answer = formula
    golds, answers = readings(gold), readings(without_lead(answer))
    if isinstance(golds, Reason) or not golds:
        return Result(False, Reason.WRONG, "text", "")
    if "," in answer and any(_decimal(node) for node in golds) and _DECIMAL_COMMA.fullmatch(answer):
        with_point = readings(answer.replace(",", "."))
        if not isinstance(with_point, Reason):
            answers = with_point if isinstance(answers, Reason) else answers + with_point
    if isinstance(answers, Reason):
        return Result(False, answers, kind_of(golds[0]), "text")
    if restates(answer) - restates(gold):
        return Result(False, Reason.RESTATED, kind_of(golds[0]), kind_of(answers[0]))
    budget = Budget(HEAVY_STEPS if heavy else LIGHT_STEPS)
    values = Values(budget, gold + "\0" + answer, heavy)
    reason = Reason.WRONG
    for left in golds:
        for right in answers:
            judge = Judge(values, answer)
            try:
                if judge.same(left, right):
                    return Result(True, Reason.EQUAL, kind_of(left), kind_of(right))
            except Mismatch as error:
                reason = error.reason if reason is Reason.WRONG else reason
            except Undecided:
                reason = Reason.UNDECIDED
            except (Undefined, NotRational, ZeroDivisionError, OverflowError):
                reason = Reason.MALFORMED if reason is Reason.WRONG else reason
    return Result(False, reason, kind_of(golds[0]), kind_of(answers[0]))


def _special(gold: str, answer: str) -> Result | None:
    """Equal spelling, words, options, bases, times and ratios; None where the answers have to be read as formulas."""
    spelled = spelling(gold)
    if spelled is not None and spelled and spelled == spelling(answer):
        return Result(True, Reason.EQUAL_TEXT)
    options = gold_options(gold)
    if options is not None:
        chosen = chosen_options(answer, len(options) > 1)
        if chosen is not None:
            same = chosen == options
            return Result(same, Reason.EQUAL if same else Reason.WRONG, "choice", "choice")
        if len(gold.strip()) > 1 and not gold.strip().isalpha():
            return Result(False, Reason.WRONG_KIND, "choice", "")
    based, other = numeral(gold), numeral(answer)
    if based is not None or other is not None:
        left, right = based or bare_numeral(gold), other or bare_numeral(answer)
        if left is not None and right is not None:
            if based is None:
                same = left.digits == right.digits and right.base == 10
            else:
                same = left.digits == right.digits and right.base in (None, left.base)
            return Result(same, Reason.EQUAL if same else Reason.WRONG, "base", "base")
        if based is not None:
            return Result(False, Reason.WRONG_KIND, "base", "")
    parts = ratio(gold)
    if parts is not None:
        given = ratio(answer)
        same = (
            given is not None and parts[:-1] == given[:-1] and (parts[-1] == given[-1] or not (parts[-1] and given[-1]))
        )
        return Result(same, Reason.EQUAL if same else Reason.WRONG, "ratio", "ratio" if given else "")
    if is_wordy(gold) or is_wordy(answer):
        left_words, right_words = words(gold), words(answer)
        if left_words and left_words == right_words:
            return Result(True, Reason.EQUAL_TEXT, "text", "text")
        if is_wordy(gold) and left_words.isalpha() and len(left_words) > 4 and formula_for(gold) is None:
            return Result(False, Reason.WRONG, "text", "text")
    return None


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
        gold, pred = _without_parameters(gold, pred)
        gold, pred = _expand(gold), _expand(pred)
        coordinates = self.coordinates(gold, pred)
        if coordinates is not None:
            return coordinates
        found = self.as_regions(gold, pred)
        if found is not None:
            return found
        if gold[0] == "rel" or pred[0] == "rel":
            return self.relations(gold, pred)
        if _collection(gold) or _collection(pred):
            return self.collections(gold, pred)
        gold, pred = _matrix(gold) or gold, _matrix(pred) or pred
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
        gold_names, pred_names = _coordinates(gold), _coordinates(pred)
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
        if _one_letter(names) and _collection(other):
            items = ("set", tuple(names.values()))
            return self.collections(items, other) if gold_names is not None else self.collections(other, items)
        if other[0] not in ("tuple", "matrix"):
            raise Mismatch(Reason.WRONG_KIND)
        point = ("tuple", tuple(names[name] for name in sorted(names)))
        return self.ordered(point, other) if gold_names is not None else self.ordered(other, point)

    # ---- intervals and inequalities -------------------------------------------------------------------------------
    def as_regions(self, gold: Node, pred: Node) -> bool | None:
        """Compare as subsets of the line, if at least one of both can be nothing else."""
        if not (_surely_region(gold) or _surely_region(pred)):
            return None
        try:
            left, right = self.regions.region(gold), self.regions.region(pred)
        except NoRegion:
            return None
        if left.variable and right.variable and left.variable != right.variable:
            return False
        if pred[0] == "set" and gold[0] not in ("set", "builder") and not left.pieces:
            return False
        return self.same_region(left, right)

    def same_region(self, left: Region, right: Region) -> bool:
        if len(left.pieces) != len(right.pieces):
            return False
        return all(self.same_piece(a, b) for a, b in zip(left.pieces, right.pieces, strict=True))

    def same_piece(self, gold: Piece, pred: Piece) -> bool:
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
        if not (_is_equation(gold) and _is_equation(pred)):
            return self.inequality(gold, pred)
        if gold[0] == "rel" and pred[0] == "rel":
            (gold_names, gold_values), (pred_names, pred_values) = _view(gold), _view(pred)
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
            names, found = _view(gold)
            if not names or not found:
                if not symbols(gold) and found:
                    return self.same(found[0], pred)
                raise Mismatch(Reason.WRONG_KIND)
            return self.same(found[0], pred)
        names, found = _view(pred)
        if found and (names or not symbols(pred) or _sum_of_letters(pred)):
            if _sum_of_letters(pred):
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
        gold_sides, pred_sides = _sides(gold), _sides(pred)
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
            one, two = self.values.fraction(_substitute(left, point)), self.values.fraction(_substitute(right, point))
            return one is not None and two is not None and one * two > 0
        if gold[1] == pred[1]:
            return all(self.same(a, b) for a, b in zip(gold[2], pred[2], strict=True))
        return False

    # ---- collections ----------------------------------------------------------------------------------------------
    def collections(self, gold: Node, pred: Node) -> bool:
        if gold[0] == "empty" or pred[0] == "empty":
            return gold[0] == pred[0]
        if not _collection(gold) or not _collection(pred):
            other = pred if _collection(gold) else gold
            if other[0] in ("tuple", "interval", "matrix", "bracket_list"):
                raise Mismatch(Reason.WRONG_KIND)
            raise Mismatch(Reason.COUNT)
        left, right = _members(gold), _members(pred)
        if contains(gold, "dots") or contains(pred, "dots"):
            return self.sequence(left, right)
        if len(left) > MAX_ITEMS or len(right) > MAX_ITEMS:
            raise Unreadable(Reason.TOO_LARGE, "too many items")
        left, right = self.distinct(left), self.distinct(right)
        if len(left) != len(right):
            raise Mismatch(Reason.COUNT)
        return self.matching(left, right)

    def distinct(self, items: list[Node]) -> list[Node]:
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
        return len(left) == len(right) and all(
            a == b or (a[0] != "dots" != b[0] and self.quietly(a, b)) for a, b in zip(left, right, strict=True)
        )

    def matching(self, left: list[Node], right: list[Node]) -> bool:
        """A perfect matching of equal items, whatever their order."""
        edges = [
            [j for j, b in enumerate(right) if a == b] or [j for j, b in enumerate(right) if self.quietly(a, b)]
            for a in left
        ]
        owner: dict[int, int] = {}

        def place(i: int, seen: set[int]) -> bool:
            for j in edges[i]:
                if j not in seen:
                    seen.add(j)
                    if j not in owner or place(owner[j], seen):
                        owner[j] = i
                        return True
            return False

        return all(place(i, set()) for i in range(len(left)))

    def ordered(self, gold: Node, pred: Node) -> bool:
        """Tuples and matrices, part by part; a column vector is a tuple."""
        left, right = _rows(gold), _rows(pred)
        if left is None or right is None:
            raise Mismatch(Reason.WRONG_KIND)
        if len(left) != len(right) or any(len(a) != len(b) for a, b in zip(left, right, strict=True)):
            raise Mismatch(Reason.COUNT if gold[0] == pred[0] else Reason.WRONG_KIND)
        return all(
            self.same(a, b) for row, other in zip(left, right, strict=True) for a, b in zip(row, other, strict=True)
        )

    # ---- single values --------------------------------------------------------------------------------------------
    def value(self, gold: Node, pred: Node) -> bool:
        """Two single values with their percent signs, degree signs and units."""
        gold, pred = _bare_unit(gold, pred), _bare_unit(pred, gold)
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
        if not self.values.heavy:
            raise NeedsWorker
        from mpmath import mp

        def pair(dps: int) -> tuple[Any, Any]:
            with mp.workdps(dps + 15):
                radian = mp.pi / 180
            return self.values.value(gold, dps, degrees=radian), self.values.value(pred, dps)

        return close(pair)

    def percent(self, gold: Node, pred: Node) -> bool:
        hundred = number_of(Fraction(100))
        if gold[0] == "pct" and pred[0] == "pct":
            return self.value(gold[1], pred[1])
        if gold[0] == "pct":
            return self.value(gold[1], pred) or self.value(("div", gold[1], hundred), pred)
        return self.value(gold, pred[1]) or self.value(gold, ("div", pred[1], hundred))

    def quantity(self, gold: Node, pred: Node) -> bool:
        gold, pred = _degree_unit(gold, pred), _degree_unit(pred, gold)
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
        if self.value(_base_value(gold), _base_value(pred)):
            return True
        raise Mismatch(Reason.UNITS)

    def number(self, gold: Node, pred: Node) -> bool:
        """Exact against exact; a decimal prediction may stand for an irrational or non-terminating gold."""
        decimal = _decimal(pred)
        if decimal is None:
            return self.values.same(gold, pred)
        value, decimals, significant = decimal
        exactly = self.values.fraction(gold)
        if exactly is not None and (exactly == value or _terminates(exactly)):
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


# ---- pieces that need no state --------------------------------------------------------------------------------------
def _decimal(node: Node) -> tuple[Fraction, int, int] | None:
    """Value, number of decimals and of significant digits of a number written with a point."""
    if node[0] == "neg":
        inner = _decimal(node[1])
        return (-inner[0], inner[1], inner[2]) if inner else None
    if node[0] == "num" and node[2] >= 0:
        return node[1], node[2], node[3]
    return None


def _terminates(value: Fraction) -> bool:
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def _collection(node: Node) -> bool:
    return node[0] in ("set", "list", "empty", "pm_pair")


def _members(node: Node) -> list[Node]:
    """Items of a collection; the items of a plus-minus pair inside a list stand beside the others."""
    items: list[Node] = []
    for item in node[1]:
        item = _expand(item)
        if (item[0] == "set" and node[0] == "list") or item[0] == "pm_pair":
            items.extend(item[1])
        elif item[0] == "rel" and item[1] == ("=",):
            names, found = _view(item)
            inner = _expand(found[-1]) if names and found else item
            items.extend(inner[1] if inner[0] == "pm_pair" else (inner,))
        else:
            items.append(item)
    return items


def _rows(node: Node) -> list[tuple[Node, ...]] | None:
    if node[0] == "matrix":
        return list(node[1])
    if node[0] in ("tuple", "bracket_list"):
        return [(item,) for item in node[1]]
    return None


def _matrix(node: Node) -> Node | None:
    """A matrix that is multiplied, divided or negated by a number, written out; None if the node is no matrix."""
    kind = node[0]
    if kind == "matrix":
        return node
    if kind == "tuple":
        return None

    def mapped(matrix: Node, change: Callable[[Node], Node]) -> Node:
        return ("matrix", tuple(tuple(change(cell) for cell in row) for row in matrix[1]))

    if kind == "neg" and (inner := _matrix(node[1])) is not None:
        return mapped(inner, lambda cell: ("neg", cell))
    if kind == "mul":
        for factor, matrix in ((node[1], node[2]), (node[2], node[1])):
            if (inner := _matrix(matrix) or _column(matrix)) is not None and not contains(factor, "matrix", "tuple"):
                return mapped(inner, lambda cell, factor=factor: ("mul", factor, cell))  # type: ignore[misc]
    if kind == "div" and (inner := _matrix(node[1])) is not None and not contains(node[2], "matrix"):
        return mapped(inner, lambda cell: ("div", cell, node[2]))
    if kind == "add" and (a := _matrix(node[1])) is not None and (b := _matrix(node[2])) is not None:
        if [len(r) for r in a[1]] == [len(r) for r in b[1]]:
            return (
                "matrix",
                tuple(tuple(("add", x, y) for x, y in zip(r, s, strict=True)) for r, s in zip(a[1], b[1], strict=True)),
            )
    return None


def _column(node: Node) -> Node | None:
    return ("matrix", tuple((item,) for item in node[1])) if node[0] == "tuple" else None


def _choose(node: Any, up: bool) -> Any:
    """The node with every plus-minus sign decided."""
    if not isinstance(node, tuple) or not node:
        return node
    if node[0] == "pm":
        inner = _choose(node[2], up)
        return inner if (node[1] == "pm") == up else ("neg", inner)
    return tuple(_choose(child, up) if isinstance(child, tuple) else child for child in node)


def _expand(node: Node) -> Node:
    """``a ± b`` as the pair of its two values; tuples and equations with a sign inside become pairs as well."""
    if node[0] in ("set", "list", "pm_pair") or not contains(node, "pm"):
        return node
    if node[0] == "rel" and len(node[2]) == 2 and node[3][0] is not None and not contains(node[2][0], "pm"):
        return ("rel", node[1], (node[2][0], _expand(node[2][1])), node[3])
    return ("pm_pair", (_choose(node, True), _choose(node, False)))


def _coordinates(node: Node) -> dict[str, Node] | None:
    """Names and values of ``x=1, y=2``: at least two, all names different."""
    if node[0] != "list" or "or" in node[2]:
        return None
    found: dict[str, Node] = {}
    for item in node[1]:
        if item[0] != "rel" or any(op != "=" for op in item[1]):
            return None
        names, values = _view(item)
        if len(names) != 1 or len(values) != 1:
            return None
        (name,) = names
        if name in found:
            return None
        found[name] = values[0]
    return found


def _one_letter(names: dict[str, Node]) -> bool:
    """Are the names one letter with different subscripts, as in ``x_1=1, x_2=2``?"""
    return all("_" in name for name in names) and len({name.partition("_")[0] for name in names}) == 1


def _is_equation(node: Node) -> bool:
    return node[0] != "rel" or all(op in ("=", "~") for op in node[1])


def _sides(node: Node) -> list[Node]:
    """Sides of an equation without the approximations behind an exact value."""
    ops, sides = node[1], list(node[2])
    if len(ops) == len(sides):  # it begins with a sign
        ops = ops[1:]
    kept = sides[:1] + [side for op, side in zip(ops, sides[1:], strict=False) if op != "~"]
    return kept if len(kept) > 1 or len(sides) < 2 else sides


def _view(node: Node) -> tuple[frozenset[str], list[Node]]:
    """Names and values of a chain: ``x = 3 = 6/2`` has the name x and two values."""
    if node[0] != "rel":
        return frozenset(), [node]
    names, values, approximations = set(), [], []
    ops = ("=", *node[1]) if len(node[1]) < len(node[2]) else node[1]
    for op, side, name in zip(ops, node[2], node[3], strict=True):
        if name is not None:
            names.add(name)
        elif op == "~":
            approximations.append(side)
        else:
            values.append(side)
    if len(names) > 1 and not values:
        return frozenset(), []
    return frozenset(names), values or approximations


def _sum_of_letters(node: Node) -> bool:
    """``m+n = 17``: a sum of different plain letters that equals a number."""
    sides = _sides(node)
    if len(sides) < 2:
        return False
    letters: list[str] = []

    def walk(part: Node) -> bool:
        if part[0] == "sym":
            letters.append(part[1])
            return True
        return part[0] == "add" and walk(part[1]) and walk(part[2])

    return walk(sides[0]) and len(letters) > 1 and len(set(letters)) == len(letters) and not symbols(tuple(sides[1:]))


def _surely_region(node: Node) -> bool:
    if node[0] in _REGION_KINDS:
        return True
    if node[0] == "named_set":
        return node[1] == "Reals"
    if node[0] == "rel":
        return any(op in ("<", ">", "<=", ">=", "!=", "in", "notin") for op in node[1])
    if node[0] == "tuple":
        return len(node[1]) == 2 and any(is_infinite(item) for item in node[1])
    if node[0] == "list":
        return bool(node[1]) and all(
            (item[0] == "rel" and _surely_region(item)) or item[0] in ("interval", "union") for item in node[1]
        )
    return False


def _base_value(quantity: Node) -> Node:
    unit: Unit = quantity[2]
    node = quantity[1] if unit.factor == 1 else ("mul", quantity[1], number_of(unit.factor))
    return ("add", node, number_of(unit.offset)) if unit.offset else node


def _degree_unit(node: Node, other: Node) -> Node:
    """A degree sign as a unit, where the other side has a unit too."""
    if node[0] == "deg" and other[0] == "qty":
        unit = lookup("degree")
        return ("qty", node[1], unit)
    return node


def _bare_unit(node: Node, other: Node) -> Node:
    """``5m`` as five metres where the other side carries a unit; otherwise a letter is a variable."""
    if other[0] == "qty" and node[0] == "mul" and node[2][0] == "sym" and not symbols(node[1]):
        unit = lookup(node[2][1])
        if unit is not None:
            return ("qty", node[1], unit)
    return node


def _substitute(node: Any, point: dict[str, Node]) -> Any:
    if not isinstance(node, tuple) or not node:
        return node
    if node[0] == "sym" and len(node) == 2:
        return point.get(node[1], node)
    return tuple(_substitute(child, point) if isinstance(child, tuple) else child for child in node)


def _without_parameters(gold: Node, pred: Node) -> tuple[Node, Node]:
    """Drop ``k in Z`` from both answers and give the parameter of the prediction the gold's name."""
    gold, gold_name = _parameter(gold)
    pred, pred_name = _parameter(pred)
    if gold_name and pred_name and gold_name != pred_name and gold_name not in symbols(pred):
        pred = _substitute(pred, {pred_name: ("sym", gold_name)})
    return gold, pred


def _parameter(node: Node) -> tuple[Node, str | None]:
    if node[0] != "list":
        return node, None
    last = node[1][-1]
    if last[0] == "group":
        last = last[1]
    if (
        last[0] == "rel"
        and last[1] == ("in",)
        and last[2][0][0] == "sym"
        and last[2][1] in (("named_set", "Integers"), ("named_set", "Naturals"))
    ):
        rest = node[1][:-1]
        return (rest[0] if len(rest) == 1 else ("list", rest, node[2][:-1])), last[2][0][1]
    return node, None


__all__ = ["NeedsWorker", "Result", "compare_texts", "has_function", "kind_of", "readings"]
