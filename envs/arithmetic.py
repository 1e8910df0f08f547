"""Arithmetic on whole numbers, read and evaluated exactly by our own parser; nothing is ever given to ``eval``.

Expressions are nested tuples: ``("num", 3)``, ``("neg", x)`` and ``(op, left, right)`` with op one of ``+ - * /``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

Expression = tuple[Any, ...]

MAX_CHARS = 500
MAX_DEPTH = 60
MAX_DIGITS = 12

_TOKEN = re.compile(r"\s*(\d+|[-+*/()])")
_SAME = str.maketrans("×·⋅∗÷∕−–（）", "****//--()")
_LATEX = (("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("\\left", ""), ("\\right", ""), ("\\,", " "), ("$", " "))


class NotAnExpression(ValueError):
    """The text is no arithmetic expression; the message says where."""


def parse(text: str) -> Expression:
    """The expression in ``text``: whole numbers, ``+ - * / ( )``, and the usual signs for them (``×``, ``÷``,
    ``\\times``).

    Raises:
        NotAnExpression: something else stands there, or it is too long or nested too deeply.

    Example:
        >>> evaluate(parse("(3+5)*2"))
        Fraction(16, 1)
    """
    if len(text) > MAX_CHARS:
        raise NotAnExpression(f"the expression has {len(text)} characters; at most {MAX_CHARS} are read")
    for name, sign in _LATEX:
        text = text.replace(name, sign)
    text = text.translate(_SAME).strip()
    if not text.isascii():
        raise NotAnExpression("it contains characters that are no arithmetic")
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotAnExpression(f"unexpected character at position {position + 1}")
        if len(match[1]) > MAX_DIGITS:
            raise NotAnExpression(f"a number has {len(match[1])} digits; at most {MAX_DIGITS} are read")
        tokens.append(match[1])
        position = match.end()
    return _Parser(tokens).whole()


class _Parser:
    """Recursive descent: sum := product (± product)*, product := factor (*/ factor)*, factor := ± factor | (sum)."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0

    def whole(self) -> Expression:
        tree = self.sum()
        if self.at < len(self.tokens):
            raise NotAnExpression(f"unexpected {self.tokens[self.at]!r} after a complete expression")
        return tree

    def sum(self) -> Expression:
        left = self.product()
        while self.peek() in ("+", "-"):
            left = (self.take(), left, self.product())
        return left

    def product(self) -> Expression:
        left = self.factor()
        while self.peek() in ("*", "/"):
            left = (self.take(), left, self.factor())
        return left

    def factor(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotAnExpression("the expression is nested too deeply")
        token = self.peek()
        if token in ("+", "-"):
            self.take()
            inner = self.factor()
            tree: Expression = ("neg", inner) if token == "-" else inner
        elif token == "(":
            self.take()
            tree = self.sum()
            if self.peek() != ")":
                raise NotAnExpression("a parenthesis is not closed")
            self.take()
        elif token and token.isdigit():
            tree = ("num", int(self.take()))
        else:
            raise NotAnExpression("a number is missing" if token is None else f"unexpected {token!r}")
        self.depth -= 1
        return tree

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]


def evaluate(tree: Expression) -> Fraction:
    """The exact value.

    Raises:
        ZeroDivisionError: a divisor is zero.
    """
    if tree[0] == "num":
        return Fraction(tree[1])
    if tree[0] == "neg":
        return -evaluate(tree[1])
    left, right = evaluate(tree[1]), evaluate(tree[2])
    if tree[0] == "+":
        return left + right
    if tree[0] == "-":
        return left - right
    return left * right if tree[0] == "*" else left / right


def numbers(tree: Expression) -> Iterator[int]:
    """The numbers written in an expression, from left to right."""
    if tree[0] == "num":
        yield tree[1]
    else:
        for part in tree[1:]:
            yield from numbers(part)


def operators(tree: Expression) -> set[str]:
    """The operators used; a sign counts as ``-``."""
    if tree[0] == "num":
        return set()
    return {"-" if tree[0] == "neg" else tree[0]}.union(*(operators(part) for part in tree[1:]))


def canonical(tree: Expression) -> str:
    """One text for all expressions that differ only by order, grouping and signs: ``2*(5+3)`` and ``(3+5)*2`` agree.

    Sums and products are flattened and sorted; a difference is a sum with signs, a quotient a product with inverses.
    """
    sign, text = _canonical(tree)
    return text if sign > 0 else f"-{text}"


def _canonical(tree: Expression) -> tuple[int, str]:
    if tree[0] == "num":
        return 1, str(tree[1])
    if tree[0] in ("+", "-", "neg"):
        terms = sorted(_terms(tree, 1), key=lambda term: (term[1], -term[0]))
        if len(terms) == 1:
            return terms[0]
        # A sum and its negation are one shape with a sign in front, so that -(a-b) and b-a agree.
        flip = 1 if terms[0][0] > 0 else -1
        return flip, "(" + "".join(f"{'+' if sign * flip > 0 else '-'}{text}" for sign, text in terms) + ")"
    sign, factors = 1, []
    for power, part in _factors(tree, 1):
        part_sign, text = _canonical(part)
        sign *= part_sign
        factors.append(("*" if power > 0 else "/") + text)
    return sign, "[" + "".join(sorted(factors)) + "]"


def _terms(tree: Expression, sign: int) -> Iterator[tuple[int, str]]:
    if tree[0] == "neg":
        yield from _terms(tree[1], -sign)
    elif tree[0] in ("+", "-"):
        yield from _terms(tree[1], sign)
        yield from _terms(tree[2], sign if tree[0] == "+" else -sign)
    else:
        inner, text = _canonical(tree)
        yield sign * inner, text


def _factors(tree: Expression, power: int) -> Iterator[tuple[int, Expression]]:
    if tree[0] in ("*", "/"):
        yield from _factors(tree[1], power)
        yield from _factors(tree[2], power if tree[0] == "*" else -power)
    else:
        yield power, tree


def show(tree: Expression) -> str:
    """The expression as text with as few parentheses as it needs."""
    if tree[0] == "num":
        return str(tree[1])
    if tree[0] == "neg":
        return f"-{_inside(tree[1], 3)}"
    strength = 1 if tree[0] in "+-" else 2
    return f"{_inside(tree[1], strength)}{tree[0]}{_inside(tree[2], strength + (tree[0] in '-/'))}"


def _inside(tree: Expression, strength: int) -> str:
    own = 4 if tree[0] == "num" else 0 if tree[0] == "neg" else 1 if tree[0] in "+-" else 2
    text = show(tree)
    return text if own >= strength else f"({text})"
