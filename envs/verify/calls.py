"""Functions with their arguments, and operators that are kept as they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .brackets import parenthesis
from .cursor import ONE, TWO, bad
from .lex import Node, number_node
from .notation import FUNCTION_ALIASES, FUNCTIONS, GREEK, INVERSE
from .opaque import NOTHING
from .verdict import Unreadable

if TYPE_CHECKING:
    from .parse import Parser


def function_call(p: Parser, name: str) -> Node:
    """A function with its power, base and arguments."""
    if name == "sqrt":
        degree: Node = TWO
        if p.accept("["):
            degree = p.sum()
            p.expect("]")
        return p.made("root", degree, p.atom() if p.is_("(") else p.argument())
    if name == "cbrt":
        return p.made("root", number_node("3"), p.argument())
    base: Node | None = None
    exponent: Node | None = None
    for _ in range(2):
        if name == "log" and base is None and p.accept("_"):
            base = p.argument()
        elif exponent is None and p.is_("^"):
            p.at += 1
            exponent = p.argument(signed=True)
    inverse = exponent is not None and exponent[0] == "neg" and exponent[1] == ONE and name in INVERSE
    if inverse:
        name, exponent = INVERSE[name], None
    given = arguments(p)
    if name in ("max", "min", "gcd", "lcm"):
        inner = given[0][1] if len(given) == 1 and given[0][0] in ("set", "tuple", "list") else given
        node = p.made("fn", name, *inner)
    elif len(given) != 1:
        raise bad("one argument expected")
    elif base is not None:
        node = p.made("fn", "logb", base, given[0])
    elif name == "lg":
        node = p.made("fn", "logb", number_node("10"), given[0])
    elif name == "cis":
        turned = p.made("mul", ("const", "i"), ("fn", "sin", given[0]))
        node = p.made("add", ("fn", "cos", given[0]), turned)
    elif name == "exp":
        node = p.made("pow", ("const", "e"), given[0])
    else:
        node = p.made("fn", name, given[0])
    return node if exponent is None else p.made("pow", node, exponent)


def arguments(p: Parser) -> tuple[Node, ...]:
    """Arguments in brackets, or the factors that follow."""
    if p.is_("(", "["):
        inner = parenthesis(p, p.token.value)
        if inner[0] == "tuple":
            return inner[1]
        if inner[0] == "interval":
            return inner[2], inner[3]
        return (inner,)
    node = p.signed_factor()
    while (p.token.kind in ("num", "word") or (p.token.kind == "cmd" and argument_command(p))) and p._starts_factor():
        if p.token.kind == "word" and (p.token.value in FUNCTIONS or p.token.value in FUNCTION_ALIASES):
            break
        if p.token.kind == "num" and not p._after_power():
            break
        node = p.made("mul", node, p.factor())
    return (node,)


def argument_command(p: Parser) -> bool:
    """May this command stand in an argument without brackets?"""
    return p.token.value in ("frac", "sqrt", "pi") or p.token.value in GREEK


def opaque(p: Parser, name: str) -> Node:
    """A sum, product, integral or limit with its bounds, kept as written."""
    bounds = {"_": NOTHING, "^": NOTHING}
    for _ in range(2):
        if p.is_("_", "^"):
            mark = p.token.value
            p.at += 1
            bounds[mark] = bound(p)
    return p.made("opaque", name, bounds["_"], bounds["^"], p.term())


def bound(p: Parser) -> Node:
    r"""What stands below or above an operator; a name made of its characters where it is no formula, as in ``0^+``."""
    tokens, state = list(p.tokens), (p.at, p.depth, p.nodes, p.bars, p.head)
    try:
        if not p.accept("{"):
            return p.argument(signed=True)
        node = p.items(("}",))
        if p.accept("to"):
            node = p.made("rel", ("to",), (node, p.sum()), (None, None))
        p.expect("}")
        return node
    except Unreadable:
        p.tokens, (p.at, p.depth, p.nodes, p.bars, p.head) = tokens, state
        return p.made("sym", f"_{p.raw_argument()}")
