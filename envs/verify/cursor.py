"""A position in the tokens of an answer, and the nodes made so far."""

from __future__ import annotations

from fractions import Fraction

from .lex import END, Node, Token, number_node
from .verdict import Reason, Unreadable

MAX_DEPTH = 64
MAX_NODES = 600
TWO = number_node("2")
ONE = number_node("1")


def bad(detail: str) -> Unreadable:
    """The error of unreadable text."""
    return Unreadable(Reason.MALFORMED, detail)


def numeric(node: Node) -> bool:
    """Is the node a written number, perhaps with a sign?"""
    return node[0] == "num" or (node[0] == "neg" and node[1][0] == "num")


def number_of(value: Fraction) -> Node:
    """A node for an exact value."""
    return ("num", value, -1, 0)


class Cursor:
    """Reads tokens one after another and counts what it makes, so that no answer grows beyond the caps."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at, self.depth, self.nodes = tokens, 0, 0, 0
        self.written = tuple(tokens)  # words are split into letters in place; names need them whole
        self.bars = 0  # open absolute values
        self.split = -1  # where a number begins whose first digit was taken as an argument
        self.conditions: list[Node] = []  # conditions in brackets behind a value
        self.head = 0  # inside the head of a set builder, where a bar is no absolute value

    @property
    def token(self) -> Token:
        """The token at this place."""
        return self.tokens[self.at] if self.at < len(self.tokens) else END

    def peek(self, ahead: int = 1) -> Token:
        """A later token."""
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else END

    def is_(self, *values: str) -> bool:
        """Is this token one of these signs or commands?"""
        token = self.token
        return token.kind in ("op", "cmd") and token.value in values

    def accept(self, *values: str) -> str | None:
        """Consume the token if it is one of these."""
        if self.is_(*values):
            self.at += 1
            return self.tokens[self.at - 1].value
        return None

    def expect(self, *values: str) -> str:
        """Consume one of these. Raises Unreadable for anything else."""
        got = self.accept(*values)
        if got is None:
            raise bad(f"expected {values[0]!r}")
        return got

    def made(self, *node: object) -> Node:
        """A new node, counted."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise Unreadable(Reason.TOO_LARGE, "too many parts")
        return node

    def enter(self) -> None:
        """One level deeper. Raises Unreadable when that is too deep."""
        self.depth += 1
        if self.depth > MAX_DEPTH * 4:  # four levels of this parser for one level of brackets
            raise Unreadable(Reason.TOO_LARGE, "nesting")
