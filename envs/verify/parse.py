"""Recursive descent from tokens to small tuples. The tree is data: nothing of it is ever run as code.

Nodes: ``("num", value, decimals, significant)``, ``("sym", name)``, ``("const", "pi" | "e" | "i" | "inf")``,
``("add", a, b)``, ``("mul", a, b)``, ``("div", a, b)``, ``("neg", a)``, ``("pow", a, b)``, ``("root", degree, a)``,
``("fn", name, *arguments)``, ``("deg", a)``, ``("pct", a)``, ``("pm", sign, a)``, ``("opaque", name, *parts)``,
``("qty", a, Unit)``, ``("tuple" | "set" | "list", items...)``, ``("interval", open, a, b, close)``,
``("union" | "inter" | "minus", a, b)``, ``("matrix", rows)``, ``("named_set", name)``, ``("empty",)``,
``("rel", operators, sides, names)``, ``("builder", head, condition)``, ``("dots",)``, ``("text", words)``.
"""

from __future__ import annotations

import re

from .atoms import command, letters, words_atom
from .brackets import bracket, transpose
from .cursor import Cursor, bad, numeric
from .identity import symbols
from .lex import Node, Token, number_node, repeating_tail
from .measures import MODULUS, currency, measured, modulus, unit_word
from .naming import name_ahead, name_of
from .notation import FACTOR_COMMANDS, NUMBER_SET_LETTERS, PLAIN_CONSTANTS, RELATIONS, SPACED_UNITS
from .units import lookup

__all__ = ["Parser"]

_ORDINALS = ("st", "nd", "rd", "th")
_LEAD = re.compile(r"[A-Za-z ,']{0,80}(?:\bis|\banswer|:)", re.IGNORECASE)  # "The area is"


class Parser(Cursor):
    """One pass over the tokens of an answer."""

    def answer(self) -> Node:
        """The whole text: one value, or a list of values."""
        while self.token.kind == "text" and _LEAD.fullmatch(self.token.value.strip()):
            self.at += 1
        node = self.items(())
        if self.is_(".") and self.peek().kind == "end":
            self.at += 1
        if self.token.kind != "end":
            raise bad("text after the answer")
        if self.conditions:
            items, seps = (node[1], node[2]) if node[0] == "list" else ((node,), ())
            extra = tuple(self.conditions)
            return self.made("list", items + extra, seps + (",",) * len(extra))
        return node

    def separator(self) -> str | None:
        """What separates two items: ``,``, ``and`` or ``or``; None if nothing does."""
        token = self.token
        if token.kind in ("op", "cmd") and token.value in (",", ";", "\\\\", "and", "or"):
            self.at += 1
            return {";": ",", "\\\\": ","}.get(token.value, token.value)
        if token.kind in ("text", "word"):
            words = token.value.strip().strip(",").strip().lower()
            if words in ("and", "or"):
                self.at += 1
                return words
        return None

    def items(self, closers: tuple[str, ...]) -> Node:
        """A list of relations, or the one there is."""
        items, seps = [], []
        logical = False
        while True:
            while self.accept("&"):
                pass
            items.append(self.relation())
            while self.accept("&"):
                pass
            sep = None
            while (one := self.separator()) is not None:
                logical = logical or self.tokens[self.at - 1].kind == "cmd"
                sep = one if sep in (None, ",") else sep
            if sep is None:
                break
            if self.token.kind == "end" or (closers and self.is_(*closers)):
                if sep != ",":
                    raise bad("dangling word")
                break
            seps.append(sep)
        if len(items) == 1:
            return items[0]
        if logical and any(item[0] != "rel" and symbols(item) for item in items):
            raise bad("a formula of logic")
        return self.made("list", tuple(items), tuple(seps))

    def relation(self) -> Node:
        """Sides joined by ``=``, ``<``, ``in`` and the like, with the names among them."""
        sides: list[Node | None] = []
        names: list[str | None] = []
        ops: list[str] = []
        lead = self.relation_op()
        if lead is not None and lead not in ("=", "~"):
            raise bad("relation without a left side")
        if lead is not None:
            self.at += 1
        while True:
            start = self.at
            name = name_ahead(self)
            if name is not None:
                sides.append(self.made("sym", name))
                names.append(name)
            else:
                side = self.set_expression()
                if ops and ops[-1] in ("in", "notin") and side[0] == "sym" and side[1] in NUMBER_SET_LETTERS:
                    side = self.made("named_set", NUMBER_SET_LETTERS[side[1]])
                sides.append(side)
                names.append(name_of(side, self.written[start : self.at]))
            while self.accept("&"):
                pass
            op = self.relation_op()
            if op is None:
                break
            self.at += 1
            while self.accept("&"):
                pass
            ops.append(op)
        if not ops:
            assert sides[0] is not None
            return modulus(self, sides[0])
        return modulus(self, self.made("rel", tuple(ops), tuple(sides), tuple(names)))

    def relation_op(self) -> str | None:
        """The relation at this place, not consumed."""
        token = self.token
        return RELATIONS.get(token.value) if token.kind in ("op", "cmd") else None

    def set_expression(self) -> Node:
        """Sums joined by union, intersection and difference."""
        left = self.sum()
        while True:
            if self.accept("cup") or (
                self.token.kind == "word" and self.token.value == "U" and self._set_like(left) and self._take()
            ):
                left = self.made("union", left, self.sum())
            elif self.accept("cap"):
                left = self.made("inter", left, self.sum())
            elif self.accept("setminus"):
                left = self.made("minus", left, self.sum())
            else:
                return left

    def _take(self) -> bool:
        self.at += 1
        return True

    @staticmethod
    def _set_like(node: Node) -> bool:
        return node[0] in ("interval", "set", "named_set", "union", "inter", "minus", "tuple", "empty")

    def sum(self) -> Node:
        """Terms with their signs, a currency before and a unit behind."""
        self.enter()
        money = currency(self)
        sign = self.accept("+", "-", "pm", "mp")
        if (
            sign is None
            and self.token.kind in ("word", "text")
            and self.token.value.strip().lower() in ("minus", "negative")
            and self.peek().kind != "end"
        ):
            self.at += 1
            sign = "-"
        money = money or currency(self)
        node = self.term()
        if sign == "-":
            inner = node[0] == "pct"
            node = self.made("pct", self.made("neg", node[1])) if inner else self.made("neg", node)
        elif sign in ("pm", "mp"):
            node = self.made("pm", sign, node)
        while sign := self.accept("+", "-", "pm", "mp"):
            right = self.term()
            if sign == "-" and self._set_like(node):
                node = self.made("minus", node, right)
            elif sign == "+":
                node = self.made("add", node, right)
            elif sign == "-":
                node = self.made("add", node, self.made("neg", right))
            else:
                node = self.made("add", node, self.made("pm", sign, right))
        self.depth -= 1
        return measured(self, node, money)

    def term(self) -> Node:
        """Factors with and without a sign between them; mixed numbers; a percent sign at the end."""
        self.enter()
        last_integer = self.token.kind == "num" and self.token.node is not None and self.token.node[2] < 0
        start = self.at
        node = self.signed_factor()
        last_integer = last_integer and self.at == start + 1
        while True:
            if self.accept("*", "cdot", "times", "bullet"):
                node = self.made("mul", node, self.signed_factor())
            elif self.accept("/", "div"):
                node = self.made("div", node, self.signed_factor())
            elif self.is_("frac") and last_integer:
                right = self.factor()
                node = self.made("add" if self._proper(right) else "mul", node, right)
            elif (
                last_integer
                and self.token.kind == "num"
                and self.peek().value == "/"
                and self.peek(2).kind == "num"
                and self.token.node is not None
            ):
                numerator = self.token.node
                self.at += 2
                right = self.made("div", numerator, self.token.node)
                self.at += 1
                if not self._proper(right):
                    raise bad("mixed number")
                node = self.made("add", node, right)
            elif self._spaced_unit(start):
                unit = lookup(self.token.value)
                self.at += 1
                node = self.made("qty", node, unit)
                break
            elif self._unit_ahead(node) or (self.token.value == "U" and self._set_like(node)):
                break
            elif self._starts_factor():
                if self.token.kind == "num" and self.tokens[self.at - 1].kind == "num" and not self._after_power():
                    raise bad("two numbers side by side")
                right = self.factor()
                if right[0] == "group" and right[1][0] == "rel":
                    self.conditions.append(right[1])  # "k pi (k in Z)"
                else:
                    node = self.made("mul", node, right)
            else:
                break
            last_integer = False
        if self.accept("%"):
            node = self.made("pct", node)
        self.depth -= 1
        return node

    def _unit_ahead(self, node: Node) -> bool:
        """``20^\\circ C`` and ``\\frac{\\text{m}}{\\text{s}}``, which look like factors."""
        if node[0] == "deg":
            return self.token.kind in ("word", "text") and self.token.value.strip() in ("C", "F")
        unit = self.peek(2)
        return (
            self.is_("frac")
            and self.peek().value == "{"
            and unit.kind == "text"
            and lookup(unit.value.strip()) is not None
        )

    def _after_power(self) -> bool:
        """Was the number before this one a one-digit exponent or argument, as in ``x^10`` (that is, x^1 times 0)?"""
        return self.split == self.at

    def _proper(self, node: Node) -> bool:
        return (
            node[0] == "div"
            and node[1][0] == "num"
            and node[2][0] == "num"
            and node[1][2] < 0
            and node[2][2] < 0
            and 0 < node[1][1] < node[2][1]
        )

    def _spaced_unit(self, start: int) -> bool:
        """``5 m``: a number, a space and one letter that is a unit, and nothing else."""
        token = self.token
        return (
            token.kind == "word"
            and token.space
            and token.value in SPACED_UNITS
            and self.at == start + 1
            and self.tokens[start].kind == "num"
            and (self.peek().kind == "end" or self.peek().value == ",")
        )

    def _starts_factor(self) -> bool:
        token = self.token
        if token.kind == "num":
            return True
        if token.kind == "word":
            return not unit_word(token) and token.value.lower() not in ("and", "or", "minus", "negative")
        if token.kind == "op":
            if token.value == "[":
                return self.peek().kind in ("num", "word") or self.peek().value in ("(", "-", "frac", "sqrt", "{")
            if token.value == "|":
                return self.bars == 0 and self.head == 0 and not self._closing_bar()
            return token.value == "{" or (token.value == "(" and self.peek().value.strip() not in MODULUS)
        if token.kind == "cmd":
            return token.value in FACTOR_COMMANDS
        return False

    def _closing_bar(self) -> bool:
        following = self.peek()
        return following.kind == "end" or following.value in (",", ")", "}", "=", "+", "*", "/")

    def signed_factor(self) -> Node:
        """A factor with any number of signs."""
        if self.accept("-"):
            return self.made("neg", self.signed_factor())
        if self.accept("+"):
            return self.signed_factor()
        return self.factor()

    def factor(self) -> Node:
        """An atom with powers, factorials and degree signs."""
        self.enter()
        node = self.atom()
        while True:
            if self.is_("^"):
                node = self.superscript(node)
            elif self.accept("**"):
                node = self.made("pow", node, self.signed_factor())
            elif self.is_("!") and self.peek().value != "=":
                self.at += 1
                node = self.made("fn", "fact2" if self.accept("!") else "fact", node)
            elif self.accept("circ"):
                node = self.made("deg", node)
            elif self.is_("ldots") and node[0] == "num" and node[2] >= 3 and node == self.tokens[self.at - 1].node:
                node = repeating_tail(self.tokens[self.at - 1].value)
                self.at += 1
            elif self.is_("_") and node[0] == "num":
                raise bad("subscript of a number")
            else:
                break
        self.depth -= 1
        return node

    def superscript(self, base: Node) -> Node:
        """What follows ``^``: a power, degrees, a transpose, primes."""
        self.expect("^")
        if self.accept("circ"):
            return self.made("deg", base)
        if self.is_("{") and self.peek().value == "circ" and self.peek(2).value == "}":
            self.at += 3
            return self.made("deg", base)
        if base == ("named_set", "Reals"):
            braced = self.accept("{")
            self.expect("+")
            if braced:
                self.expect("}")
            return self.made("interval", "(", number_node("0"), ("const", "inf"), ")")
        if base[0] in ("matrix", "tuple"):
            mark = self.at
            braced = self.accept("{")
            if (self.token.kind in ("word", "text") and self.token.value in ("T", "t")) or self.is_("top", "intercal"):
                self.at += 1
                if not braced or self.accept("}"):
                    return transpose(base)
            self.at = mark
        if self.is_("{") and self.peek().value in _ORDINALS and self.peek(2).value == "}" and numeric(base):
            self.at += 3
            return base
        if self.is_("prime") or (self.is_("{") and self.peek().value == "prime"):
            braced, marks = self.accept("{"), 0
            while self.accept("prime"):
                marks += 1
            if braced:
                self.expect("}")
            if numeric(base):
                return self.made("qty", base, lookup("ft" if marks == 1 else "in"))
            return self.made("sym", f"{base[1]}{marks * chr(39)}") if base[0] == "sym" else base
        exponent = self.argument(signed=True)
        if self.is_("^"):
            exponent = self.superscript(exponent)
        return self.made("pow", base, exponent)

    def argument(self, signed: bool = False) -> Node:
        """What a command or ``^`` takes without brackets: a group or one character."""
        token = self.token
        if token.kind == "op" and token.value == "{":
            self.at += 1
            node = self.items(("}",))
            self.expect("}")
            return node
        if token.kind == "num" and token.node is not None:
            if len(token.value) > 1 and token.value.isdigit():
                self.tokens[self.at] = Token("num", token.value[1:], False, number_node(token.value[1:]))
                self.split = self.at
                return number_node(token.value[0])
            self.at += 1
            return token.node
        if token.kind == "word" and len(token.value) > 1 and token.value not in PLAIN_CONSTANTS:
            self.tokens[self.at] = Token("word", token.value[1:], False)
            return self.symbol(token.value[0])
        if token.kind == "op" and token.value in "-+" and signed:
            self.at += 1
            inner = self.argument()
            return self.made("neg", inner) if token.value == "-" else inner
        return self.atom()

    def symbol(self, name: str) -> Node:
        """The node of one letter; ``e`` and ``i`` are constants."""
        if name == "e":
            return self.made("const", "e")
        if name == "i":
            return self.made("const", "i")
        return self.made("sym", name)

    def subscripted(self, node: Node) -> Node:
        """Subscripts and primes are part of a name."""
        name = node[1]
        touched = False
        while True:
            if self.is_("_"):
                self.at += 1
                name += "_" + self.raw_argument()
            elif self.is_("'") and node[0] == "sym":
                self.at += 1
                name += "'"
            else:
                break
            touched = True
        return self.made("sym", name) if touched else node

    def raw_argument(self) -> str:
        """The text of a subscript."""
        if self.accept("{"):
            parts: list[str] = []
            depth = 1
            while True:
                token = self.token
                if token.kind == "end":
                    raise bad("unclosed subscript")
                self.at += 1
                depth += (token.value == "{") - (token.value == "}")
                if depth == 0:
                    return "".join(parts)
                parts.append(token.value)
        token = self.token
        if token.kind == "end":
            raise bad("missing subscript")
        if (token.kind == "word" or (token.kind == "num" and token.value.isdigit())) and len(token.value) > 1:
            rest = token.value[1:]
            self.tokens[self.at] = Token(token.kind, rest, False, number_node(rest) if token.kind == "num" else None)
            if token.kind == "num":
                self.split = self.at
            return token.value[0]
        self.at += 1
        return token.value

    def atom(self) -> Node:
        """The smallest readable part."""
        self.enter()
        try:
            token = self.token
            if token.kind == "num" and token.node is not None:
                self.at += 1
                self.nodes += 1
                return token.node
            if token.kind == "word":
                return letters(self, token)
            if token.kind == "text":
                return words_atom(self, token)
            if token.kind == "op":
                return bracket(self, token.value)
            if token.kind == "cmd":
                return command(self, token.value)
            raise bad("something is missing")
        finally:
            self.depth -= 1
