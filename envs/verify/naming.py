"""Sides of a relation that are only names: ``x``, ``f(x)``, ``AB``, ``Area``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .lex import Node, Token
from .notation import RELATIONS

if TYPE_CHECKING:
    from .parse import Parser


def name_ahead(p: Parser) -> str | None:
    """A name that is no expression, directly before ``=``, ``<`` or ``in``: ``f(x)``, ``Area``, ``\\angle ABC``."""
    at = p.at
    parts: list[str] = []
    tokens = p.tokens
    if (
        at < len(tokens)
        and tokens[at].kind == "word"
        and tokens[at].value == "m"
        and at + 1 < len(tokens)
        and tokens[at + 1].value == "angle"
    ):
        at += 1
    if at < len(tokens) and tokens[at].kind == "cmd" and tokens[at].value in ("angle", "triangle", "overline"):
        parts.append(tokens[at].value)
        at += 1
    if at >= len(tokens) or tokens[at].kind not in ("word", "text", "op") or (tokens[at].kind == "op" and not parts):
        return None
    plain = not parts
    depth = 0
    first = at
    while at < len(tokens) and at - first < 24:
        token = tokens[at]
        if depth == 0 and token.kind in ("op", "cmd") and token.value in RELATIONS:
            break
        if token.kind in ("op",) and token.value in "({[":
            depth += 1
        elif token.kind == "op" and token.value in ")}]":
            depth -= 1
            if depth < 0:
                return None
        elif depth == 0 and not (
            token.kind in ("word", "text") or token.value in ("^", "_", "'", "prime") or token.kind == "num"
        ):
            return None
        parts.append(token.value)
        at += 1
    else:
        return None
    head = tokens[first]
    text = "".join(parts)
    if plain:
        call = (
            head.kind == "word"
            and len(head.value) == 1
            and re.fullmatch(r"[A-Za-z](?:'|prime|\^\{-1\}|\^-1|_\{?\w+\}?|\^\{\(\d\)\})*\(.*\)", text)
        )
        words = head.kind == "text" or (
            head.kind == "word" and len(head.value) >= 4 and all(t.kind in ("word", "text") for t in tokens[first:at])
        )
        if not call and not words:
            return None
    p.at = at
    return text


def name_of(node: Node, tokens: Sequence[Token]) -> str | None:
    """The name of a side that is only a name: ``x``, ``a_1``, ``AB``, ``|AB|``, ``(x, y)``, ``dy/dx``."""
    if node[0] == "sym":
        return str(node[1])
    if node[0] == "const" and node[1] == "i":
        return None
    words = [token.value for token in tokens if token.value not in ("overline", "norm", "|", "{", "}")]
    if len(words) == 1 and re.fullmatch(r"[A-Z]{2,4}", words[0]):
        return words[0]
    if node[0] == "fn" and node[1] == "abs" and node[2][0] == "sym" and (node[2][1].isupper() or node[2][1] == "z"):
        return f"|{node[2][1]}|"
    if node[0] == "tuple" and all(item[0] == "sym" for item in node[1]):
        return "(" + ",".join(item[1] for item in node[1]) + ")"
    if node[0] == "div" and re.fullmatch(r"frac\{d[a-z]\}\{d[a-z]\}", "".join(token.value for token in tokens)):
        return "".join(token.value for token in tokens)
    return None
