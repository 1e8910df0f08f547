"""Units, currencies, percent and degree signs behind a value."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from .cursor import bad, number_of, numeric
from .lex import Node, Token
from .notation import FUNCTION_ALIASES, FUNCTIONS, GREEK, PLAIN_CONSTANTS
from .units import CURRENCY, CURRENCY_CODES, NONE, SCALES, Unit, lookup, parse_unit, times, without_remark

if TYPE_CHECKING:
    from .parse import Parser


def currency(p: Parser) -> Unit | None:
    """A currency sign before a value, consumed; None if there is none."""
    token = p.token
    if token.kind in ("op", "cmd") and token.value in CURRENCY and not (token.kind == "op" and token.value == "pounds"):
        p.at += 1
        return lookup(CURRENCY[token.value])
    if token.kind in ("word", "text") and token.value.strip() in CURRENCY_CODES:
        ahead = p.peek()
        if ahead.kind == "num" or ahead.value == "dollar":
            p.at += 1
            return currency(p) or lookup("USD" if token.value.strip() == "US" else token.value.strip())
    return None


def measured(p: Parser, node: Node, unit: Unit | None) -> Node:
    """Attach the unit that follows a value."""
    words: list[str] = []
    if node[0] == "deg" and p.token.kind in ("word", "text") and p.token.value.strip() in ("C", "F"):
        unit = lookup("°" + p.token.value.strip())
        p.at += 1
        assert unit is not None
        return p.made("qty", node[1], unit)
    while True:
        token = p.token
        if p.is_("circ") or token.kind == "end":
            break
        if (token.kind == "text" and token.value.strip().strip(",").strip().lower() not in ("and", "or")) or (
            token.kind == "word" and (words or unit_word(token)) and token.value.lower() not in ("and", "or")
        ):
            words.append(token.value)
            p.at += 1
        elif words and p.is_("/", "cdot", "*") and p.peek().kind in ("word", "text"):
            words.append(token.value if token.value != "cdot" else "*")
            p.at += 1
        elif words and p.is_("^"):
            p.at += 1
            words.append("^" + unit_power(p))
        elif p.is_("frac") and p.peek().value == "{" and p.peek(2).kind == "text":
            p.at += 1
            words += [unit_group(p), "/", unit_group(p)]
        elif token.kind == "op" and token.value in ("'", '"') and not words and numeric(node):
            marks = 0
            while p.is_("'", '"'):
                marks += 2 if p.token.value == '"' else 1
                p.at += 1
            words.append("in" if marks == 2 else "ft")
        elif token.kind == "op" and token.value in ("€", "£", "¥", "₹", "¢"):
            p.at += 1
            words.append(token.value)
        else:
            break
    text = " ".join(words).replace(" ^", "^")
    text = without_remark(re.sub(r"\.(?=\s|$)", "", text)).strip().strip(",").strip()
    while text.partition(" ")[0].lower() in SCALES:
        word, _, text = text.partition(" ")
        node = p.made("mul", node, number_of(Fraction(SCALES[word.lower()])))
    if not text:
        return p.made("qty", node, unit) if unit is not None else node
    lowered = text.lower()
    if lowered in ("percent", "per cent", "percentage points", "percentage point", "pct"):
        return p.made("pct", node)
    if scale := re.fullmatch(r"deg(?:rees?)? (?:([cf])|celsius|(fahrenheit))", lowered):
        return p.made("qty", node, lookup("°F" if scale[1] == "f" or scale[2] else "°C"))
    if lowered in ("degree", "degrees", "deg"):
        return p.made("deg", node)
    following = parse_unit(text)
    if following is None:
        raise bad("words that are no unit")
    if unit is not None and unit.dims == following.dims:
        following = NONE  # "$5 dollars"
    if p.token.kind == "num" and unit is None and following.known and numeric(node):
        return compound(p, p.made("qty", node, following))
    return p.made("qty", node, times(unit, following) if unit is not None else following)


def compound(p: Parser, larger: Node) -> Node:
    """``2 hours 30 minutes`` in the larger unit."""
    smaller = p.sum()
    if smaller[0] != "qty" or smaller[2].dims != larger[2].dims or smaller[2].factor >= larger[2].factor:
        raise bad("two quantities side by side")
    share = p.made("mul", smaller[1], number_of(smaller[2].factor / larger[2].factor))
    return p.made("qty", p.made("add", larger[1], share), larger[2])


MODULUS = ("mod", "pmod", "bmod")


def modulus(p: Parser, node: Node) -> Node:
    r"""A residue, where ``\pmod{7}``, ``\bmod 7`` or ``(mod 7)`` follows."""
    if p.is_("(") and p.peek().value.strip() in MODULUS:
        p.at += 2
        node = p.made("mod", node, p.sum())
        p.expect(")")
        return node
    if p.accept("pmod"):
        return p.made("mod", node, p.argument() if p.is_("{") or p.peek().kind == "end" else p.term())
    if p.accept("bmod", "mod"):
        return p.made("mod", node, p.term())
    return node


def unit_power(p: Parser) -> str:
    """The power behind a unit, as text."""
    if p.accept("{"):
        sign = "-" if p.accept("-") else ""
        if p.token.kind not in ("num", "text"):
            raise bad("power of a unit")
        text = sign + p.token.value
        p.at += 1
        p.expect("}")
        return text
    if p.token.kind != "num":
        raise bad("power of a unit")
    p.at += 1
    return p.tokens[p.at - 1].value


def unit_group(p: Parser) -> str:
    r"""The units inside a brace group, as in ``\frac{\text{m}}{\text{s}}``."""
    p.expect("{")
    words = []
    while not p.is_("}"):
        if p.token.kind == "text":
            words.append(p.token.value)
            p.at += 1
        elif p.accept("^"):
            words.append("^" + unit_power(p))
        else:
            raise bad("unit")
    p.expect("}")
    return " ".join(words).replace(" ^", "^")


def unit_word(token: Token) -> bool:
    """Does a bare word stand for a unit rather than for a product of letters?"""
    value = token.value
    if value in FUNCTIONS or value in FUNCTION_ALIASES or value.lower() in PLAIN_CONSTANTS or value in GREEK:
        return False
    if value.lower() in ("percent", "percentage", "per", "square", "cubic", "pct"):
        return True
    if len(value) >= 2 and lookup(value) is not None:
        return True
    return token.space and len(value) >= 4
