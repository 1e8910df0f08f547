"""Shapes of parsed answers: names and values of equations, members of collections, matrices, coordinates."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from .cursor import ONE, number_of
from .identity import contains, symbols
from .intervals import is_infinite
from .lex import Node
from .units import NONE, Unit, lookup, power, times

_REGION_KINDS = frozenset(("interval", "union", "inter", "minus", "builder"))


def written_decimal(node: Node) -> tuple[Fraction, int, int] | None:
    """Value, number of decimals and of significant digits of a number written with a point."""
    if node[0] == "neg":
        inner = written_decimal(node[1])
        return (-inner[0], inner[1], inner[2]) if inner else None
    if node[0] == "num" and node[2] >= 0:
        return node[1], node[2], node[3]
    return None


def terminates(value: Fraction) -> bool:
    """Has the fraction a finite decimal expansion?"""
    below = value.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def collection(node: Node) -> bool:
    """Is the node a set or a list?"""
    return node[0] in ("set", "list", "empty", "pm_pair")


def members_of(node: Node) -> list[Node]:
    """Items of a collection; the items of a plus-minus pair inside a list stand beside the others."""
    items: list[Node] = []
    for item in node[1]:
        item = expand(item)
        if item[0] == "pm_pair":
            items.extend(item[1])
        elif item[0] == "rel" and item[1] == ("=",):
            names, found = names_and_values(item)
            inner = expand(found[-1]) if names and found else item
            items.extend(inner[1] if inner[0] == "pm_pair" else (inner,))
        else:
            items.append(item)
    return items


def names_in(node: Node) -> frozenset[str]:
    """Names of the members of a list such as ``x=1, 2``."""
    named = (names_and_values(item)[0] for item in node[1] if item[0] == "rel") if node[0] == "list" else ()
    return frozenset().union(*named)


def rows_of(node: Node) -> list[tuple[Node, ...]] | None:
    """Rows of a matrix; a tuple is a column. None for anything else."""
    if node[0] == "matrix":
        return list(node[1])
    if node[0] in ("tuple", "bracket_list"):
        return [(item,) for item in node[1]]
    return None


def as_matrix(node: Node) -> Node | None:
    """A matrix that is multiplied, divided or negated by a number, written out; None if the node is no matrix."""
    kind = node[0]
    if kind == "matrix":
        return node
    if kind == "tuple":
        return None

    def mapped(matrix: Node, change: Callable[[Node], Node]) -> Node:
        return ("matrix", tuple(tuple(change(cell) for cell in row) for row in matrix[1]))

    if kind == "neg" and (inner := as_matrix(node[1])) is not None:
        return mapped(inner, lambda cell: ("neg", cell))
    if kind == "mul":
        for factor, matrix in ((node[1], node[2]), (node[2], node[1])):
            if (inner := as_matrix(matrix) or as_column(matrix)) is not None and not contains(
                factor, "matrix", "tuple"
            ):
                return mapped(inner, lambda cell, factor=factor: ("mul", factor, cell))  # type: ignore[misc]
    if kind == "div" and (inner := as_matrix(node[1])) is not None and not contains(node[2], "matrix"):
        return mapped(inner, lambda cell: ("div", cell, node[2]))
    if kind == "add":
        a, b = as_matrix(node[1]), as_matrix(node[2])
        if a is not None and b is not None and [len(row) for row in a[1]] == [len(row) for row in b[1]]:
            pairs = zip(a[1], b[1], strict=True)
            return ("matrix", tuple(tuple(("add", x, y) for x, y in zip(r, s, strict=True)) for r, s in pairs))
    return None


def named_point(node: Node) -> Node:
    """The coordinates of ``A(1, 2)``."""
    named = node[0] == "mul" and node[1][0] == "sym" and len(node[1][1]) == 1 and node[1][1].isupper()
    return node[2] if named and node[2][0] == "tuple" else node


def nested_rows(node: Node) -> Node:
    """``[[1, 2], [3, 4]]``, which reads as an interval of intervals, as a matrix; any other node as it is."""
    rows = _bracketed(node)
    cells = [_bracketed(row) for row in rows]
    if not rows or not all(cells) or len({len(row) for row in cells}) > 1:
        return node
    return ("matrix", tuple(tuple(row) for row in cells))


def _bracketed(node: Node) -> tuple[Node, ...]:
    if node[0] == "bracket_list":
        return node[1]
    return (node[2], node[3]) if node[0] == "interval" and (node[1], node[4]) == ("[", "]") else ()


def as_column(node: Node) -> Node | None:
    """A tuple as a column vector."""
    return ("matrix", tuple((item,) for item in node[1])) if node[0] == "tuple" else None


def choose(node: Any, up: bool) -> Any:
    """The node with every plus-minus sign decided."""
    if not isinstance(node, tuple) or not node:
        return node
    if node[0] == "pm":
        inner = choose(node[2], up)
        return inner if (node[1] == "pm") == up else ("neg", inner)
    return tuple(choose(child, up) if isinstance(child, tuple) else child for child in node)


def expand(node: Node) -> Node:
    """``a ± b`` as the pair of its two values; tuples and equations with a sign inside become pairs as well."""
    if node[0] in ("set", "list", "pm_pair") or not contains(node, "pm"):
        return node
    if node[0] == "rel" and len(node[2]) == 2 and node[3][0] is not None and not contains(node[2][0], "pm"):
        return ("rel", node[1], (node[2][0], expand(node[2][1])), node[3])
    return ("pm_pair", (choose(node, True), choose(node, False)))


def coordinates_of(node: Node) -> dict[str, Node] | None:
    """Names and values of ``x=1, y=2``: at least two, all names different."""
    if node[0] != "list" or "or" in node[2]:
        return None
    found: dict[str, Node] = {}
    for item in node[1]:
        if item[0] != "rel" or any(op != "=" for op in item[1]):
            return None
        names, values = names_and_values(item)
        if len(names) != 1 or len(values) != 1:
            return None
        (name,) = names
        if name in found:
            return None
        found[name] = values[0]
    return found


def one_letter(names: dict[str, Node]) -> bool:
    """Are the names one letter with different subscripts, as in ``x_1=1, x_2=2``?"""
    return all("_" in name for name in names) and len({name.partition("_")[0] for name in names}) == 1


def is_equation(node: Node) -> bool:
    """Is the node a value or a chain of equalities?"""
    return node[0] != "rel" or all(op in ("=", "~") for op in node[1])


def is_membership(node: Node) -> bool:
    """Does the node say that something is one of a set of values?"""
    return node[0] == "rel" and node[1] == ("in",) and node[2][1][0] == "set"


def upwards(node: Node) -> tuple[tuple[str, ...], tuple[Node, ...]]:
    """Operators and sides of a chain; of ``a > b > c`` from the smallest to the largest."""
    ops, sides = node[1], node[2]
    if ops and all(op in (">", ">=") for op in ops):
        return tuple(op.replace(">", "<") for op in reversed(ops)), tuple(reversed(sides))
    return ops, sides


def exact_sides(node: Node) -> list[Node]:
    """Sides of an equation without the approximations behind an exact value."""
    ops, sides = node[1], list(node[2])
    if len(ops) == len(sides):  # it begins with a sign
        ops = ops[1:]
    kept = sides[:1] + [side for op, side in zip(ops, sides[1:], strict=False) if op != "~"]
    return kept if len(kept) > 1 or len(sides) < 2 else sides


def names_and_values(node: Node) -> tuple[frozenset[str], list[Node]]:
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


def sum_of_letters(node: Node) -> bool:
    """``m+n = 17``: a sum of different plain letters that equals a number."""
    sides = exact_sides(node)
    if len(sides) < 2:
        return False
    letters: list[str] = []

    def walk(part: Node) -> bool:
        if part[0] == "sym":
            letters.append(part[1])
            return True
        return part[0] == "add" and walk(part[1]) and walk(part[2])

    return walk(sides[0]) and len(letters) > 1 and len(set(letters)) == len(letters) and not symbols(tuple(sides[1:]))


def surely_region(node: Node) -> bool:
    """Can the node be nothing but a subset of the line?"""
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
            (item[0] == "rel" and surely_region(item)) or item[0] in ("interval", "union") for item in node[1]
        )
    return False


def base_value(quantity: Node) -> Node:
    """A quantity in the base units of its dimension."""
    unit: Unit = quantity[2]
    node = quantity[1] if unit.factor == 1 else ("mul", quantity[1], number_of(unit.factor))
    return ("add", node, number_of(unit.offset)) if unit.offset else node


def degree_unit(node: Node, other: Node) -> Node:
    """A degree sign as a unit, where the other side has a unit too."""
    if node[0] == "deg" and other[0] == "qty":
        unit = lookup("degree")
        return ("qty", node[1], unit)
    return node


def bare_unit(node: Node, other: Node) -> Node:
    """``5m`` or ``5 m/s`` as a quantity where the other side carries a unit; otherwise letters are variables."""
    if other[0] != "qty" or not symbols(node):
        return node
    read = _quantity(node)
    return ("qty", *read) if read is not None else node


def _quantity(node: Node) -> tuple[Node, Unit] | None:
    """The value and the unit of a product of a number and letters that all name units."""
    if not symbols(node):
        return node, NONE
    if node[0] == "sym":
        unit = lookup(node[1])
        return (ONE, unit) if unit is not None else None
    if node[0] in ("mul", "div"):
        left, right = _quantity(node[1]), _quantity(node[2])
        if left is None or right is None:
            return None
        unit = right[1] if node[0] == "mul" else power(right[1], -1)
        return (node[0], left[0], right[0]), times(left[1], unit)
    if node[0] == "pow" and node[2][0] == "num" and node[2][1] in (2, 3):
        inner = _quantity(node[1])
        return (("pow", inner[0], node[2]), power(inner[1], int(node[2][1]))) if inner is not None else None
    return None


def matched(left: list[Node], right: list[Node], same: Callable[[Node, Node], bool]) -> bool:
    """Is there a perfect matching of equal items? Both lists have the same length."""
    edges = [[j for j, b in enumerate(right) if a == b] or [j for j, b in enumerate(right) if same(a, b)] for a in left]
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


def substitute(node: Any, point: dict[str, Node]) -> Any:
    """The node with variables replaced."""
    if not isinstance(node, tuple) or not node:
        return node
    if node[0] == "sym" and len(node) == 2:
        return point.get(node[1], node)
    return tuple(substitute(child, point) if isinstance(child, tuple) else child for child in node)


def without_parameters(gold: Node, pred: Node) -> tuple[Node, Node]:
    """Drop ``k in Z`` from both answers and give the parameter of the prediction the gold's name."""
    gold, gold_name = parameter(gold)
    pred, pred_name = parameter(pred)
    if gold_name and not pred_name:  # "n pi" without a word about n
        others = (symbols(pred) - symbols(gold)) & {"k", "l", "m", "n"}
        pred_name = others.pop() if len(others) == 1 else None
    if gold_name and pred_name and gold_name != pred_name and gold_name not in symbols(pred):
        pred = substitute(pred, {pred_name: ("sym", gold_name)})
    return gold, pred


def parameter(node: Node) -> tuple[Node, str | None]:
    """A family such as ``k pi, k in Z`` without its condition, and the name of its parameter."""
    if node[0] == "builder" and node[1][0] not in ("sym", "rel"):
        body, name = parameter(("list", (node[1], node[2]), (",",)))
        return (body, name) if name else (node, None)
    if node[0] == "builder" and node[1][0] == "sym" and node[2][0] == "list":
        head, first = node[1], node[2][1][0]
        if first[0] == "rel" and first[1] == ("=",) and first[2][0] == head:
            return parameter(node[2])
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
