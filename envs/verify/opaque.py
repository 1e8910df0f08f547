"""Sums, products, integrals and limits that both answers contain: kept whole, as if each were a variable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .exact import NotRational, Undefined
from .lex import Node

NOTHING: Node = ("none",)
INDEX = "_ index"  # no answer can contain a name with a space


class Operator(NamedTuple):
    """An operator taken apart; ``low`` of a limit is what its variable goes to."""

    name: str
    variable: str | None
    low: Node
    high: Node
    body: Node


def factors(node: Node) -> list[Node]:
    """The factors of a product, from left to right."""
    return [*factors(node[1]), *factors(node[2])] if node[0] == "mul" else [node]


def product(nodes: list[Node]) -> Node:
    """The product of some factors; 1 for none."""
    result = nodes[0] if nodes else ("num", 1, -1, 0)
    for node in nodes[1:]:
        result = ("mul", result, node)
    return result


def taken_apart(node: Node) -> Operator:
    r"""``\sum_{k=1}^{n} k`` and ``\int_0^1 x\,dx`` with their bound variable, where it is plain to see."""
    _, name, low, high, body = node
    if low[0] == "rel" and len(low[1]) == 1 and low[1][0] in ("=", "to") and low[2][0][0] == "sym":
        return Operator(name, low[2][0][1], low[2][1], high, body)
    parts = factors(body)
    if name == "int" and len(parts) > 1 and parts[-2] == ("sym", "d") and parts[-1][0] == "sym":
        return Operator(name, parts[-1][1], low, high, product(parts[:-2]))
    return Operator(name, None, low, high, body)


def renamed(node: Any, old: str, new: str) -> Any:
    """The node with one variable under another name."""
    if not isinstance(node, tuple) or not node:
        return node
    if node == ("sym", old):
        return ("sym", new)
    return tuple(renamed(child, old, new) if isinstance(child, tuple) else child for child in node)


class Atoms:
    """Gives equal operators equal names, so that what stands around them can be compared as usual.

    Args:
        same: compares bounds and bodies.
    """

    def __init__(self, same: Callable[[Node, Node], bool]) -> None:
        self.same = same
        self.known: list[tuple[Operator, Node]] = []

    def replace(self, node: Any) -> Any:
        """The node with a variable in the place of every operator."""
        if not isinstance(node, tuple) or not node:
            return node
        if node[0] == "opaque":
            return self.atom(taken_apart(node))
        return tuple(self.replace(child) if isinstance(child, tuple) else child for child in node)

    def atom(self, operator: Operator) -> Node:
        """The variable that stands for an operator."""
        if operator.variable is not None:
            operator = operator._replace(variable=INDEX, body=renamed(operator.body, operator.variable, INDEX))
        for other, name in self.known:
            if other[:2] == operator[:2] and all(map(self.alike, other[2:], operator[2:])):
                return name
        name = ("sym", f" {len(self.known)}")
        self.known.append((operator, name))
        return name

    def alike(self, one: Node, two: Node) -> bool:
        """Are two bounds or bodies the same, be they values or something that can only be spelled the same?"""
        if one == two:
            return True
        try:
            return NOTHING not in (one, two) and self.same(one, two)
        except (NotRational, Undefined):
            return False
