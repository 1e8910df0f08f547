"""Brackets of all kinds: groups, tuples, intervals, sets, absolute values and environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cursor import bad
from .lex import Node
from .notation import LISTING, MATRICES, PIECES

if TYPE_CHECKING:
    from .parse import Parser


def bracket(p: Parser, opening: str) -> Node:
    """What an opening bracket of any kind begins."""
    if opening == "{":
        p.at += 1
        node = p.items(("}",))
        if p.accept("over"):
            node = p.made("div", node, p.items(("}",)))
        elif p.accept("choose"):
            node = p.made("fn", "binom", node, p.items(("}",)))
        p.expect("}")
        return node
    if opening in ("(", "["):
        return parenthesis(p, opening)
    if opening == "]":
        p.at += 1
        low, high = two_values(p, "]")
        return p.made("interval", "(", low, high, ")" if p.expect("[", "]", ")") in "[)" else "]")
    if opening == "\\{":
        return braces(p)
    if opening == "|":
        p.at += 1
        p.bars += 1
        saved, p.head = p.head, 0
        inner = p.sum()
        p.expect("|")
        p.bars -= 1
        p.head = saved
        return p.made("fn", "det" if inner[0] == "matrix" else "abs", inner)
    raise bad("unexpected character")


def two_values(p: Parser, closer: str) -> tuple[Node, Node]:
    """Two values and the separator between them."""
    low = p.sum()
    p.expect(",", ";")
    return low, p.sum()


def parenthesis(p: Parser, opening: str) -> Node:
    """A group, a tuple or an interval, by its marks and its items."""
    p.at += 1
    bars, p.bars, head, p.head = p.bars, 0, p.head, 0
    inner = p.items((")", "]"))
    closing = p.expect(")", "]", "[")
    p.bars, p.head = bars, head
    listed = inner[0] == "list" and "or" not in inner[2] and "and" not in inner[2]
    items: tuple[Node, ...] = inner[1] if listed else (inner,)
    if closing == "[":
        closing = ")"
    if len(items) == 1:
        if opening + closing not in ("()", "[]"):
            raise bad("mismatched brackets")
        return p.made("group", inner) if inner[0] in ("rel", "list") else inner
    if opening + closing == "()":
        return p.made("tuple", items)
    if len(items) == 2:
        return p.made("interval", opening, items[0], items[1], closing)
    if opening + closing == "[]":
        return p.made("bracket_list", items)
    raise bad("mismatched brackets")


def braces(p: Parser) -> Node:
    """A set or a set builder."""
    p.at += 1
    if p.accept("\\}"):
        return p.made("empty")
    bars, p.bars = p.bars, 0
    p.head += 1
    inner = p.items(("\\}",))
    if p.accept("|", "mid", ":"):
        p.head -= 1
        condition = p.items(("\\}",))
        p.expect("\\}")
        p.bars = bars
        return p.made("builder", inner, condition)
    p.head -= 1
    p.expect("\\}")
    p.bars = bars
    if inner[0] == "list":
        return p.made("set", inner[1])
    return p.made("set", (inner,))


def environment(p: Parser) -> Node:
    """A matrix, a determinant or lines of equations."""
    kind = "".join(group_tokens(p))
    if kind == "array" and p.is_("{"):
        group_tokens(p)
    rows: list[list[Node]] = [[]]
    pieces: list[tuple[Node, Node]] = []
    listing = kind in LISTING
    if not listing and kind not in MATRICES:
        raise bad("environment")
    while not p.is_("end"):
        if p.token.kind == "end":
            raise bad("unclosed environment")
        if p.accept("\\\\"):
            rows.append([])
        elif p.accept("&") or (listing and p.accept(",", ";")):
            continue
        else:
            rows[-1].append(p.relation() if listing else p.sum())
            if kind in PIECES and (condition := condition_ahead(p)) is not None:
                pieces.append((rows[-1][-1], condition))
    p.expect("end")
    group_tokens(p)
    if pieces:
        if [len(row) for row in rows if row] != [1] * len(pieces):
            raise bad("pieces without a condition")
        return p.made("piecewise", tuple(pieces))
    rows = [row for row in rows if row]  # a doubled line break, as left behind by escaping twice
    if not rows:
        raise bad("empty environment")
    if listing:
        flat = [item for row in rows for item in row]
        return p.made("list", tuple(flat), (",",) * (len(flat) - 1)) if len(flat) > 1 else flat[0]
    if len({len(row) for row in rows}) != 1:
        raise bad("ragged matrix")
    matrix = p.made("matrix", tuple(tuple(row) for row in rows))
    return p.made("fn", "det", matrix) if kind in ("vmatrix", "vsmallmatrix") else matrix


def condition_ahead(p: Parser) -> Node | None:
    """The condition behind ``&`` in a line of a case distinction; None if the line has none."""
    p.accept(",")
    if not (p.accept("&") or p.tokens[p.at - 1].value == "&") or p.is_("\\\\", "end") or p.token.kind == "end":
        return None
    words = p.token.value.strip().lower() if p.token.kind in ("text", "word") else ""
    if words in ("otherwise", "else"):
        p.at += 1
        return p.made("otherwise")
    if words in ("if", "for", "when", "where"):
        p.at += 1
    conditions, seps = [p.relation()], []
    while p.token.kind in ("text", "word", "cmd", "op") and not p.is_("\\\\") and (sep := p.separator()):
        seps.append(sep)
        conditions.append(p.relation())
    return p.made("list", tuple(conditions), tuple(seps)) if seps else conditions[0]


def group_tokens(p: Parser) -> list[str]:
    """The texts of the tokens in a brace group."""
    p.expect("{")
    parts: list[str] = []
    while not p.is_("}"):
        if p.token.kind == "end":
            raise bad("unclosed group")
        parts.append(p.token.value)
        p.at += 1
    p.expect("}")
    return parts


def transpose(node: Node) -> Node:
    """The transpose of a matrix; ``(1, 2)^T`` is how a column is written in one line."""
    if node[0] == "tuple":
        return ("matrix", tuple((item,) for item in node[1]))
    return ("matrix", tuple(zip(*node[1], strict=True)))
