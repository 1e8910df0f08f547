"""The smallest parts of a formula: letters, words and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .brackets import environment
from .calls import function_call, opaque
from .cursor import bad
from .lex import Node, Token
from .notation import FUNCTION_ALIASES, FUNCTIONS, GLUED, GREEK, NUMBER_SETS, OPAQUE, PLAIN_CONSTANTS

if TYPE_CHECKING:
    from .parse import Parser


def letters(p: Parser, token: Token) -> Node:
    """A run of letters: a function, a constant, or a product of letters."""
    value = token.value
    lowered = value.lower()
    if value in FUNCTIONS or value in FUNCTION_ALIASES:
        p.at += 1
        return function_call(p, FUNCTION_ALIASES.get(value, value))
    for name in GLUED:
        if value.startswith(name) and len(value) <= len(name) + 1:
            p.tokens[p.at] = Token("word", value[len(name) :], True)
            return function_call(p, name)
    if lowered in PLAIN_CONSTANTS and (value == lowered or len(value) > 3):
        p.at += 1
        return p.made("const", PLAIN_CONSTANTS[lowered])
    if value in GREEK and len(value) > 2:
        p.at += 1
        return p.subscripted(("sym", value))
    if lowered in ("minus", "negative", "and", "or"):
        raise bad("word")
    if lowered in ("nan", "none", "null", "undefined"):
        raise bad("no value")
    if len(value) > 12:
        raise bad("word")
    if len(value) == 1:
        p.at += 1
        node = p.symbol(value)
    else:
        p.tokens[p.at] = Token("word", value[1:], False)
        node = p.symbol(value[0])
        return node
    return p.subscripted(node)


def words_atom(p: Parser, token: Token) -> Node:
    """A text command in place of a value."""
    value = token.value.strip()
    if len(value) == 1 and value.isalpha():
        p.at += 1
        return p.subscripted(p.symbol(value))
    if value.lower() in ("infinity",):
        p.at += 1
        return p.made("const", "inf")
    raise bad("text")


def command(p: Parser, name: str) -> Node:
    """A command that begins a value."""
    p.at += 1
    if name == "frac":
        above = p.argument()
        below = p.argument()
        return p.made("div", above, below)
    if name == "sqrt":
        return function_call(p, "sqrt")
    if name in ("pi", "infty"):
        return p.made("const", "pi" if name == "pi" else "inf")
    if name in ("e", "i"):
        return p.made("const", name)
    if name in FUNCTIONS or name in FUNCTION_ALIASES:
        return function_call(p, FUNCTION_ALIASES.get(name, name))
    if name in GREEK:
        return p.subscripted(("sym", name))
    if name == "binom":
        above = p.argument()
        return p.made("fn", "binom", above, p.argument())
    if name in ("lfloor", "lceil"):
        inner = p.sum()
        p.expect("rfloor" if name == "lfloor" else "rceil")
        return p.made("fn", "floor" if name == "lfloor" else "ceil", inner)
    if name == "langle":
        inner = p.items(("rangle",))
        p.expect("rangle")
        return p.made("tuple", inner[1] if inner[0] == "list" else (inner,))
    if name == "norm":
        inner = p.sum()
        p.expect("norm")
        return p.made("fn", "det" if inner[0] == "matrix" else "abs", inner)
    if name == "emptyset":
        return p.made("empty")
    if name in NUMBER_SETS:
        return p.made("named_set", name)
    if name == "ldots":
        return p.made("dots")
    if name in ("overline", "bar"):
        inner = p.argument()
        if inner[0] == "num":
            raise bad("overline")
        return p.made("fn", "conj", inner)
    if name in ("overrightarrow", "overleftarrow"):
        return p.made("sym", f"{name} {p.raw_argument()}")
    if name == "begin":
        return environment(p)
    if name in OPAQUE:
        return opaque(p, name)
    raise bad(f"command {name}")
