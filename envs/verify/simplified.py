r"""Is an answer worked out? ``\frac{1}{2}+\frac{1}{3}`` has the right value and leaves the work to the reader.

An answer is simplified when every value in it is a sum of unlike terms, and a term is a number or fraction times
letters, constants and one root that cannot be drawn any further. Fractions need not be in lowest terms.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

from .compare import readings
from .cursor import numeric
from .lex import Node
from .text import normalise
from .textual import formula_for, is_wordy, numeral, ratio, without_lead
from .verdict import Reason, Unreadable

Key = tuple[Any, ...]


class _Unlike(Exception):
    """The node is no term, or has a part that is still to be worked out."""


def is_simplified(answer: str) -> bool:
    r"""Whether nothing is left to be carried out in an answer; words, options and numerals are done as they are.

    >>> [is_simplified(text) for text in (r"\frac{5}{6}", r"\frac12+\frac13", r"2\sqrt{3}", "(x+1)^2")]
    [True, False, True, False]
    """
    try:
        text = without_lead(normalise(answer))
    except Unreadable:
        return False
    if numeral(text) or ratio(text):
        return True
    found = readings(formula_for(text) or text)
    if isinstance(found, Reason):
        return is_wordy(text)
    return any(_done(node, "+" not in text) for node in found)


def _done(node: Node, mixed: bool) -> bool:
    kind = node[0]
    if kind in ("set", "list", "tuple", "bracket_list"):
        return all(_done(item, mixed) for item in node[1])
    if kind == "matrix":
        return all(_done(cell, mixed) for row in node[1] for cell in row)
    if kind in ("union", "inter", "minus"):
        return _done(node[1], mixed) and _done(node[2], mixed)
    if kind == "interval":
        return _done(node[2], mixed) and _done(node[3], mixed)
    if kind in ("group", "deg", "pct", "qty", "mod"):
        return _done(node[1], mixed)
    if kind == "builder":
        return _done(node[2], mixed)
    if kind == "rel":
        return _relation(node, mixed)
    if kind in ("empty", "named_set", "dots", "text"):
        return True
    return _sum(node, mixed)


def _relation(node: Node, mixed: bool) -> bool:
    """Of ``y = 2x+1`` and ``12*13 = 156`` the value counts; in an inequality every side is a letter or a number."""
    if all(op in ("=", "~") for op in node[1]):
        named = node[3][0] is not None and _done(node[2][-1], mixed)
        return named or any(not _letters(side) and _done(side, mixed) for side in node[2])
    return all(
        side[0] == "sym" or name or (not _letters(side) and _done(side, mixed))
        for side, name in zip(node[2], node[3], strict=True)
    )


def _letters(node: Any) -> bool:
    return isinstance(node, tuple) and bool(node) and (node[0] == "sym" or any(map(_letters, node)))


def _sum(node: Node, mixed: bool) -> bool:
    """Unlike terms only. A whole number and a fraction side by side, without a sign, are a mixed number."""
    if node[0] == "div" and node[1][0] in ("add", "neg", "pm") and numeric(node[2]):
        node = node[1]  # (1+sqrt 5)/2
    if mixed and node[0] == "add" and numeric(node[1]) and node[2][0] == "div":
        return numeric(node[2][1]) and numeric(node[2][2])
    try:
        keys = [key for term in _terms(node) for key in (_key(term),)]
    except _Unlike:
        return False
    return len(set(keys)) == len(keys)


def _terms(node: Node) -> list[Node]:
    if node[0] == "add":
        return [*_terms(node[1]), *_terms(node[2])]
    if node[0] in ("neg", "pm"):
        return _terms(node[-1])
    return [node]


def _key(term: Node) -> Key:
    """What a term is a multiple of. Raises _Unlike where it is not worked out."""
    above: list[Node] = []
    below: list[Node] = []
    _factors(term, above, below)
    for side in (above, below):
        if sum(map(_number, side)) > 1:
            raise _Unlike
    names = [_base(factor) for factor in above if not _number(factor)]
    under = [_base(factor) for factor in below if not _number(factor)]
    if len(set(names + under)) < len(names) + len(under) or sum(name[0] == "root" for name in names + under) > 1:
        raise _Unlike
    return (*sorted(map(str, names)), "/", *sorted(map(str, under)))


def _factors(node: Node, above: list[Node], below: list[Node]) -> None:
    if node[0] == "mul":
        _factors(node[1], above, below)
        _factors(node[2], above, below)
    elif node[0] == "div":
        _factors(node[1], above, below)
        _factors(node[2], below, above)
    elif node[0] == "neg":
        _factors(node[1], above, below)
    else:
        above.append(node)


def _number(node: Node) -> bool:
    return node[0] == "num"


def _base(factor: Node) -> Key:
    """A factor that is no number: a letter, a constant, a power of one, a power of ten, a root of a whole number.

    Functions, roots and powers of letters stay as they are; of a sum, only a power with a whole exponent has to go.
    """
    if factor[0] in ("sym", "const"):
        return factor
    if factor[0] == "pow" and factor[1][0] in ("sym", "const") and numeric(factor[2]):
        return factor if factor[1] != ("const", "i") else _refused()
    if factor[0] == "pow" and factor[1][0] == "num" and factor[1][1] == 10 and numeric(factor[2]):
        return ("ten",)
    if factor[0] in ("fn", "root") and _letters(factor):
        return factor
    if factor[0] == "pow" and _letters(factor) and (_letters(factor[2]) or not numeric(factor[2])):
        return factor
    if factor[0] == "root" and factor[1][0] == factor[2][0] == "num" and factor[2][1].denominator == 1:
        degree, inside = int(factor[1][1]), int(factor[2][1])
        if 1 < degree < 10 and 1 < inside < 10**6 and not _drawable(inside, degree):
            return ("root", degree, inside)
    return _refused()


def _refused() -> Key:
    raise _Unlike


def _drawable(inside: int, degree: int) -> bool:
    return any(inside % d**degree == 0 for d in range(2, isqrt(inside) + 1) if d**degree <= inside)
