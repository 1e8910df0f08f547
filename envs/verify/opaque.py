"""Sums, products, integrals and limits that both answers contain: kept whole, as if each were a variable."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .lex import Node

_INDEX = re.compile(r"_([A-Za-z])(?:=|to|in)")


class Atoms:
    """Gives equal operators equal names, so that what stands around them can be compared as usual.

    Args:
        same: compares the bodies of two operators.
    """

    def __init__(self, same: Callable[[Node, Node], bool]) -> None:
        self.same = same
        self.known: list[tuple[Node, Node]] = []

    def replace(self, node: Any) -> Any:
        """The node with a variable in the place of every operator."""
        if not isinstance(node, tuple) or not node:
            return node
        if node[0] == "opaque":
            return self.atom(node)
        return tuple(self.replace(child) if isinstance(child, tuple) else child for child in node)

    def atom(self, node: Node) -> Node:
        """The variable that stands for an operator."""
        bound = with_common_index(node)
        for other, name in self.known:
            if other[1:-1] == bound[1:-1] and self.same(other[-1], bound[-1]):
                return name
        name = ("sym", f" {len(self.known)}")  # no answer can contain a name with a space
        self.known.append((bound, name))
        return name


def with_common_index(node: Node) -> Node:
    r"""``\sum_{k=1}^{n} k`` with the index every such operator gets."""
    for part in node[2:-1]:
        if match := _INDEX.match(part[1]):
            return _renamed(node, match[1])
    return node


def _renamed(node: Any, index: str) -> Any:
    if not isinstance(node, tuple) or not node:
        return node
    if node[0] == "sym":
        if node[1] == index:
            return ("sym", "_ index")
        return ("sym", f"_ index{node[1][1 + len(index) :]}") if node[1].startswith(f"_{index}") else node
    return tuple(_renamed(child, index) if isinstance(child, tuple) else child for child in node)
