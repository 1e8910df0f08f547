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
from collections.abc import Sequence
from fractions import Fraction

from .lex import END, Node, Token, number_node
from .units import CURRENCY, DEGREE, NONE, Unit, lookup, parse_unit, times
from .verdict import Reason, Unreadable

MAX_DEPTH = 64
MAX_NODES = 600

FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "arcsinh",
        "arccosh",
        "arctanh",
        "ln",
        "log",
        "lg",
        "exp",
        "max",
        "min",
        "gcd",
        "lcm",
        "det",
        "Re",
        "Im",
        "arg",
        "sgn",
        "sign",
        "floor",
        "ceil",
        "abs",
        "sqrt",
        "cbrt",
        "conj",
    ]
)
_FUNCTION_ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "cosec": "csc", "tg": "tan", "ctg": "cot", "arctg": "arctan",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "arsinh": "arcsinh", "arcosh": "arccosh",
    "artanh": "arctanh", "ceiling": "ceil", "real": "Re", "imag": "Im", "log10": "lg",
}  # fmt: skip
TRIG = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sinh": "arcsinh", "cosh": "arccosh",
            "tanh": "arctanh"}  # fmt: skip
_GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "omicron",
        "rho",
        "sigma",
        "varsigma",
        "tau",
        "upsilon",
        "phi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Pi",
        "Sigma",
        "Upsilon",
        "Phi",
        "Psi",
        "Omega",
        "ell",
        "hbar",
        "aleph",
        "varrho",
    ]
)
OPAQUE = frozenset(["int", "iint", "iiint", "oint", "sum", "prod", "lim", "limsup", "liminf"])
_RELATIONS = {"=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "approx": "~", "in": "in", "notin": "notin",
              "subset": "subset", "subseteq": "subset"}  # fmt: skip
_PLAIN_CONSTANTS = {"pi": "pi", "infinity": "inf", "inf": "inf", "infty": "inf"}
_SPACED_UNITS = frozenset(["m", "s", "g", "h", "L", "l", "N", "J", "W", "V", "K"])
_ARITHMETIC_STARTS = frozenset(("num", "word"))
ONE = number_node("1")
TWO = number_node("2")
ZERO = number_node("0")


def bad(detail: str) -> Unreadable:
    """The error of unreadable text."""
    return Unreadable(Reason.MALFORMED, detail)


class Parser:
    """One pass over the tokens of an answer."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at, self.depth, self.nodes = tokens, 0, 0, 0
        self.written = tuple(tokens)  # words are split into letters in place; names need them whole
        self.bars = 0  # open absolute values
        self.conditions: list[Node] = []  # conditions in brackets behind a value
        self.head = 0  # inside the head of a set builder, where a bar is no absolute value

    # ---- token access -------------------------------------------------------------------------------------------
    @property
    def token(self) -> Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else END

    def peek(self, ahead: int = 1) -> Token:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else END

    def is_(self, *values: str) -> bool:
        token = self.token
        return token.kind in ("op", "cmd") and token.value in values

    def accept(self, *values: str) -> str | None:
        if self.is_(*values):
            self.at += 1
            return self.tokens[self.at - 1].value
        return None

    def expect(self, *values: str) -> str:
        got = self.accept(*values)
        if got is None:
            raise bad(f"expected {values[0]!r}")
        return got

    def made(self, *node: object) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise Unreadable(Reason.TOO_LARGE, "too many parts")
        return node

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH * 4:  # four levels of this parser for one level of brackets
            raise Unreadable(Reason.TOO_LARGE, "nesting")

    # ---- lists and relations ------------------------------------------------------------------------------------
    def answer(self) -> Node:
        """The whole text: one value, or a list of values."""
        while self.token.kind == "text" and re.fullmatch(
            r"(?:so|thus|the)?\s*(?:final\s*)?(?:the)?\s*answer\s*(?:is)?:?", self.token.value.strip().lower()
        ):
            self.at += 1
        node = self.items(())
        if self.token.kind != "end":
            raise bad("text after the answer")
        if self.conditions:
            items, seps = (node[1], node[2]) if node[0] == "list" else ((node,), ())
            extra = tuple(self.conditions)
            return self.made("list", items + extra, seps + (",",) * len(extra))
        return node

    def separator(self) -> str | None:
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
        items, seps = [], []
        while True:
            while self.accept("&"):
                pass
            items.append(self.relation())
            while self.accept("&"):
                pass
            sep = None
            while (one := self.separator()) is not None:
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
        return self.made("list", tuple(items), tuple(seps))

    def relation(self) -> Node:
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
            name = self.name_ahead()
            if name is not None:
                sides.append(self.made("sym", name))
                names.append(name)
            else:
                side = self.set_expression()
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
            return sides[0]
        return self.made("rel", tuple(ops), tuple(sides), tuple(names))

    def relation_op(self) -> str | None:
        token = self.token
        return _RELATIONS.get(token.value) if token.kind in ("op", "cmd") else None

    def name_ahead(self) -> str | None:
        """A name that is no expression, directly before ``=``, ``<`` or ``in``: ``f(x)``, ``Area``, ``\\angle ABC``."""
        at, parts = self.at, []
        tokens = self.tokens
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
        if (
            at >= len(tokens)
            or tokens[at].kind not in ("word", "text", "op")
            or (tokens[at].kind == "op" and not parts)
        ):
            return None
        plain = not parts
        depth = 0
        first = at
        while at < len(tokens) and at - first < 24:
            token = tokens[at]
            if depth == 0 and token.kind in ("op", "cmd") and token.value in _RELATIONS:
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
                head.kind == "word"
                and len(head.value) >= 4
                and all(t.kind in ("word", "text") for t in tokens[first:at])
            )
            if not call and not words:
                return None
        self.at = at
        return text

    # ---- sets and sums ------------------------------------------------------------------------------------------
    def set_expression(self) -> Node:
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
        self.enter()
        money = self._currency()
        sign = self.accept("+", "-", "pm", "mp")
        if (
            sign is None
            and self.token.kind == "word"
            and self.token.value.lower() == "minus"
            and self.peek().kind != "end"
        ):
            self.at += 1
            sign = "-"
        money = money or self._currency()
        node = self.term()
        if sign == "-":
            node = self.made("neg", node)
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
        return self._measured(node, money)

    def _currency(self) -> Unit | None:
        token = self.token
        if (
            token.kind in ("op", "cmd")
            and token.value in CURRENCY
            and not (token.kind == "op" and token.value == "pounds")
        ):
            self.at += 1
            return lookup(CURRENCY[token.value])
        return None

    def _measured(self, node: Node, unit: Unit | None) -> Node:
        """Attach the unit that follows a value."""
        words: list[str] = []
        if node[0] == "deg" and self.token.kind in ("word", "text") and self.token.value.strip() in ("C", "F"):
            unit = lookup("°" + self.token.value.strip())
            self.at += 1
            assert unit is not None
            return self.made("qty", node[1], unit)
        while True:
            token = self.token
            if self.is_("circ") or token.kind == "end":
                break
            if (token.kind == "text" and token.value.strip().strip(",").strip().lower() not in ("and", "or")) or (
                token.kind == "word" and (words or unit_word(token)) and token.value.lower() not in ("and", "or")
            ):
                words.append(token.value)
                self.at += 1
            elif words and self.is_("/", "cdot", "*") and self.peek().kind in ("word", "text"):
                words.append(token.value if token.value != "cdot" else "*")
                self.at += 1
            elif words and self.is_("^"):
                self.at += 1
                words.append("^" + self._unit_power())
            elif self.is_("frac") and self.peek().value == "{" and self.peek(2).kind == "text":
                self.at += 1
                words += [self._unit_group(), "/", self._unit_group()]
            elif token.kind == "op" and token.value in ("'", '"') and not words and numeric(node):
                marks = 0
                while self.is_("'", '"'):
                    marks += 2 if self.token.value == '"' else 1
                    self.at += 1
                words.append("in" if marks == 2 else "ft")
            elif token.kind == "op" and token.value in ("€", "£", "¥", "₹", "¢"):
                self.at += 1
                words.append(token.value)
            else:
                break
        text = " ".join(words).replace(" ^", "^")
        text = re.sub(r"\.(?=\s|$)", "", text).strip().strip(",").strip()
        if not text:
            return self.made("qty", node, unit) if unit is not None else node
        lowered = text.lower()
        if lowered in ("percent", "per cent", "percentage points", "percentage point", "pct"):
            return self.made("pct", node)
        if lowered in ("degrees celsius", "degree celsius"):
            return self.made("qty", node, lookup("°C"))
        if lowered in ("degrees fahrenheit", "degree fahrenheit"):
            return self.made("qty", node, lookup("°F"))
        if lowered in ("degree", "degrees", "deg"):
            return self.made("deg", node)
        following = parse_unit(text)
        if following is None:
            raise bad("words that are no unit")
        if unit is not None and unit.dims == following.dims:
            following = NONE  # "$5 dollars"
        return self.made("qty", node, times(unit, following) if unit is not None else following)

    def _unit_power(self) -> str:
        if self.accept("{"):
            sign = "-" if self.accept("-") else ""
            if self.token.kind not in ("num", "text"):
                raise bad("power of a unit")
            text = sign + self.token.value
            self.at += 1
            self.expect("}")
            return text
        if self.token.kind != "num":
            raise bad("power of a unit")
        self.at += 1
        return self.tokens[self.at - 1].value

    def _unit_group(self) -> str:
        self.expect("{")
        words = []
        while not self.is_("}"):
            if self.token.kind == "text":
                words.append(self.token.value)
                self.at += 1
            elif self.accept("^"):
                words.append("^" + self._unit_power())
            else:
                raise bad("unit")
        self.expect("}")
        return " ".join(words).replace(" ^", "^")

    # ---- products -----------------------------------------------------------------------------------------------
    def term(self) -> Node:
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
            elif self._unit_ahead(node):
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

    split = -1

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
            and token.value in _SPACED_UNITS
            and self.at == start + 1
            and self.tokens[start].kind == "num"
            and (self.peek().kind == "end" or self.peek().value == ",")
        )

    def _starts_factor(self) -> bool:
        token = self.token
        if token.kind == "num":
            return True
        if token.kind == "word":
            return not unit_word(token) and token.value.lower() not in ("and", "or", "minus")
        if token.kind == "op":
            if token.value == "[":
                return self.peek().kind in ("num", "word") or self.peek().value in ("(", "-", "frac", "sqrt", "{")
            if token.value == "|":
                return self.bars == 0 and self.head == 0 and not self._closing_bar()
            return token.value in ("(", "{")
        if token.kind == "cmd":
            return token.value in (
                "frac", "sqrt", "pi", "infty", "binom", "lfloor", "lceil", "begin", "overline", "bar", "langle", "norm", "i", "e"
            ) or token.value in FUNCTIONS or token.value in _FUNCTION_ALIASES or token.value in _GREEK or token.value in OPAQUE  # fmt: skip
        return False

    def _closing_bar(self) -> bool:
        following = self.peek()
        return following.kind == "end" or following.value in (",", ")", "}", "=", "+", "*", "/")

    def signed_factor(self) -> Node:
        if self.accept("-"):
            return self.made("neg", self.signed_factor())
        if self.accept("+"):
            return self.signed_factor()
        return self.factor()

    def factor(self) -> Node:
        self.enter()
        node = self.atom()
        while True:
            if self.is_("^"):
                node = self.superscript(node)
            elif self.accept("**"):
                node = self.made("pow", node, self.signed_factor())
            elif self.is_("!") and not (self.peek().value == "="):
                self.at += 1
                if self.accept("!"):
                    raise bad("double factorial")
                node = self.made("fn", "fact", node)
            elif self.accept("circ"):
                node = self.made("deg", node)
            elif self.accept("%"):
                node = self.made("pct", node)
            elif self.is_("_") and node[0] == "num":
                raise bad("subscript of a number")
            else:
                break
        self.depth -= 1
        return node

    def superscript(self, base: Node) -> Node:
        self.expect("^")
        if self.accept("circ"):
            return self.made("deg", base)
        if self.is_("{") and self.peek().value == "circ" and self.peek(2).value == "}":
            self.at += 3
            return self.made("deg", base)
        if base[0] in ("matrix", "tuple"):
            mark = self.at
            braced = self.accept("{")
            if (self.token.kind in ("word", "text") and self.token.value in ("T", "t")) or self.is_("top", "intercal"):
                self.at += 1
                if not braced or self.accept("}"):
                    return transpose(base)
            self.at = mark
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
        if token.kind == "word" and len(token.value) > 1 and token.value not in _PLAIN_CONSTANTS:
            self.tokens[self.at] = Token("word", token.value[1:], False)
            return self.symbol(token.value[0])
        if token.kind == "op" and token.value in "-+" and signed:
            self.at += 1
            inner = self.argument()
            return self.made("neg", inner) if token.value == "-" else inner
        return self.atom()

    # ---- atoms --------------------------------------------------------------------------------------------------
    def symbol(self, name: str) -> Node:
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
        if self.accept("{"):
            parts, depth = [], 1
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
        if token.kind in ("num", "word") and len(token.value) > 1:
            rest = token.value[1:]
            self.tokens[self.at] = Token(token.kind, rest, False, number_node(rest) if token.kind == "num" else None)
            if token.kind == "num":
                self.split = self.at
            return token.value[0]
        self.at += 1
        return token.value

    def atom(self) -> Node:
        self.enter()
        try:
            token = self.token
            if token.kind == "num" and token.node is not None:
                self.at += 1
                self.nodes += 1
                return token.node
            if token.kind == "word":
                return self.word(token)
            if token.kind == "text":
                return self.text(token)
            if token.kind == "op":
                return self.bracket(token.value)
            if token.kind == "cmd":
                return self.command(token.value)
            raise bad("something is missing")
        finally:
            self.depth -= 1

    def word(self, token: Token) -> Node:
        value = token.value
        lowered = value.lower()
        if value in FUNCTIONS or value in _FUNCTION_ALIASES:
            self.at += 1
            return self.function(_FUNCTION_ALIASES.get(value, value))
        for name in (
            "arcsin",
            "arccos",
            "arctan",
            "sqrt",
            "sinh",
            "cosh",
            "tanh",
            "sin",
            "cos",
            "tan",
            "cot",
            "sec",
            "csc",
            "ln",
            "log",
        ):
            if value.startswith(name) and len(value) <= len(name) + 1:
                self.tokens[self.at] = Token("word", value[len(name) :], True)
                return self.function(name)
        if lowered in _PLAIN_CONSTANTS and (value == lowered or len(value) > 3):
            self.at += 1
            return self.made("const", _PLAIN_CONSTANTS[lowered])
        if value in _GREEK and len(value) > 2:
            self.at += 1
            return self.subscripted(("sym", value))
        if lowered in ("minus", "and", "or"):
            raise bad("word")
        if lowered in ("nan", "none", "null", "undefined"):
            raise bad("no value")
        if len(value) > 12:
            raise bad("word")
        if len(value) == 1:
            self.at += 1
            node = self.symbol(value)
        else:
            self.tokens[self.at] = Token("word", value[1:], False)
            node = self.symbol(value[0])
            return node
        return self.subscripted(node)

    def text(self, token: Token) -> Node:
        value = token.value.strip()
        if len(value) == 1 and value.isalpha():
            self.at += 1
            return self.subscripted(self.symbol(value))
        if value.lower() in ("infinity",):
            self.at += 1
            return self.made("const", "inf")
        raise bad("text")

    def bracket(self, opening: str) -> Node:
        if opening == "{":
            self.at += 1
            node = self.items(("}",))
            if self.accept("over"):
                node = self.made("div", node, self.items(("}",)))
            self.expect("}")
            return node
        if opening in ("(", "["):
            return self.parenthesis(opening)
        if opening == "]":
            self.at += 1
            low, high = self.two("]")
            return self.made("interval", "(", low, high, ")" if self.expect("[", "]", ")") in "[)" else "]")
        if opening == "\\{":
            return self.braces()
        if opening == "|":
            self.at += 1
            self.bars += 1
            saved, self.head = self.head, 0
            inner = self.sum()
            self.expect("|")
            self.bars -= 1
            self.head = saved
            return self.made("fn", "det" if inner[0] == "matrix" else "abs", inner)
        raise bad("unexpected character")

    def two(self, closer: str) -> tuple[Node, Node]:
        low = self.sum()
        self.expect(",", ";")
        return low, self.sum()

    def parenthesis(self, opening: str) -> Node:
        self.at += 1
        bars, self.bars, head, self.head = self.bars, 0, self.head, 0
        inner = self.items((")", "]"))
        closing = self.expect(")", "]", "[")
        self.bars, self.head = bars, head
        items = inner[1] if inner[0] == "list" and "or" not in inner[2] and "and" not in inner[2] else (inner,)
        if closing == "[":
            closing = ")"
        if len(items) == 1:
            if opening + closing not in ("()", "[]"):
                raise bad("mismatched brackets")
            return self.made("group", inner) if inner[0] in ("rel", "list") else inner
        if opening + closing == "()":
            return self.made("tuple", items)
        if len(items) == 2:
            return self.made("interval", opening, items[0], items[1], closing)
        if opening + closing == "[]":
            return self.made("bracket_list", items)
        raise bad("mismatched brackets")

    def braces(self) -> Node:
        self.at += 1
        if self.accept("\\}"):
            return self.made("empty")
        bars, self.bars = self.bars, 0
        self.head += 1
        inner = self.items(("\\}",))
        if self.accept("|", "mid", ":"):
            self.head -= 1
            condition = self.items(("\\}",))
            self.expect("\\}")
            self.bars = bars
            return self.made("builder", inner, condition)
        self.head -= 1
        self.expect("\\}")
        self.bars = bars
        if inner[0] == "list":
            return self.made("set", inner[1])
        return self.made("set", (inner,))

    # ---- commands -----------------------------------------------------------------------------------------------
    def command(self, name: str) -> Node:
        self.at += 1
        if name == "frac":
            above = self.argument()
            below = self.argument()
            return self.made("div", above, below)
        if name == "sqrt":
            return self.function("sqrt")
        if name in ("pi", "infty"):
            return self.made("const", "pi" if name == "pi" else "inf")
        if name in ("e", "i"):
            return self.made("const", name)
        if name in FUNCTIONS or name in _FUNCTION_ALIASES:
            return self.function(_FUNCTION_ALIASES.get(name, name))
        if name in _GREEK:
            return self.subscripted(("sym", name))
        if name == "binom":
            above = self.argument()
            return self.made("fn", "binom", above, self.argument())
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.expect("rfloor" if name == "lfloor" else "rceil")
            return self.made("fn", "floor" if name == "lfloor" else "ceil", inner)
        if name == "langle":
            inner = self.items(("rangle",))
            self.expect("rangle")
            return self.made("tuple", inner[1] if inner[0] == "list" else (inner,))
        if name == "norm":
            inner = self.sum()
            self.expect("norm")
            return self.made("fn", "det" if inner[0] == "matrix" else "abs", inner)
        if name == "emptyset":
            return self.made("empty")
        if name in ("Reals", "Integers", "Naturals", "Rationals", "Complexes"):
            return self.made("named_set", name)
        if name == "ldots":
            return self.made("dots")
        if name in ("overline", "bar"):
            inner = self.argument()
            if inner[0] == "num":
                raise bad("overline")
            return self.made("fn", "conj", inner)
        if name == "begin":
            return self.environment()
        if name in OPAQUE:
            return self.opaque(name)
        raise bad(f"command {name}")

    def function(self, name: str) -> Node:
        if name == "sqrt":
            degree: Node = TWO
            if self.accept("["):
                degree = self.sum()
                self.expect("]")
            return self.made("root", degree, self.atom() if self.is_("(") else self.argument())
        if name == "cbrt":
            return self.made("root", number_node("3"), self.argument())
        base: Node | None = None
        exponent: Node | None = None
        for _ in range(2):
            if name == "log" and base is None and self.accept("_"):
                base = self.argument()
            elif exponent is None and self.is_("^"):
                self.at += 1
                exponent = self.argument(signed=True)
        inverse = exponent is not None and exponent[0] == "neg" and exponent[1] == ONE and name in _INVERSE
        if inverse:
            name, exponent = _INVERSE[name], None
        arguments = self.arguments()
        if name in ("max", "min", "gcd", "lcm"):
            inner = (
                arguments[0][1] if len(arguments) == 1 and arguments[0][0] in ("set", "tuple", "list") else arguments
            )
            node = self.made("fn", name, *inner)
        elif len(arguments) != 1:
            raise bad("one argument expected")
        elif base is not None:
            node = self.made("fn", "logb", base, arguments[0])
        elif name == "lg":
            node = self.made("fn", "logb", number_node("10"), arguments[0])
        elif name == "exp":
            node = self.made("pow", ("const", "e"), arguments[0])
        else:
            node = self.made("fn", name, arguments[0])
        return node if exponent is None else self.made("pow", node, exponent)

    def arguments(self) -> tuple[Node, ...]:
        if self.is_("(", "["):
            inner = self.parenthesis(self.token.value)
            if inner[0] == "tuple":
                return inner[1]
            if inner[0] == "interval":
                return inner[2], inner[3]
            return (inner,)
        node = self.signed_factor()
        while (
            self.token.kind in ("num", "word") or (self.token.kind == "cmd" and self._argument_command())
        ) and self._starts_factor():
            if self.token.kind == "word" and (self.token.value in FUNCTIONS or self.token.value in _FUNCTION_ALIASES):
                break
            if self.token.kind == "num" and not self._after_power():
                break
            node = self.made("mul", node, self.factor())
        return (node,)

    def _argument_command(self) -> bool:
        return self.token.value in ("frac", "sqrt", "pi") or self.token.value in _GREEK

    def environment(self) -> Node:
        kind = "".join(self._group_tokens())
        if kind == "array" and self.is_("{"):
            self._group_tokens()
        rows: list[list[Node]] = [[]]
        listing = kind in ("cases", "aligned", "align", "align*", "gathered", "split", "gather")
        if not listing and kind not in (
            "matrix",
            "pmatrix",
            "bmatrix",
            "vmatrix",
            "Vmatrix",
            "Bmatrix",
            "smallmatrix",
            "array",
        ):
            raise bad("environment")
        while not self.is_("end"):
            if self.token.kind == "end":
                raise bad("unclosed environment")
            if self.accept("\\\\"):
                rows.append([])
            elif self.accept("&") or (listing and self.accept(",", ";")):
                continue
            else:
                rows[-1].append(self.relation() if listing else self.sum())
        self.expect("end")
        self._group_tokens()
        if rows and not rows[-1]:
            rows.pop()
        if not rows or not all(rows):
            raise bad("empty row")
        if listing:
            flat = [item for row in rows for item in row]
            return self.made("list", tuple(flat), (",",) * (len(flat) - 1)) if len(flat) > 1 else flat[0]
        if len({len(row) for row in rows}) != 1:
            raise bad("ragged matrix")
        matrix = self.made("matrix", tuple(tuple(row) for row in rows))
        return self.made("fn", "det", matrix) if kind == "vmatrix" else matrix

    def _group_tokens(self) -> list[str]:
        self.expect("{")
        parts = []
        while not self.is_("}"):
            if self.token.kind == "end":
                raise bad("unclosed group")
            parts.append(self.token.value)
            self.at += 1
        self.expect("}")
        return parts

    def opaque(self, name: str) -> Node:
        parts: list[Node] = []
        for _ in range(2):
            if self.is_("_", "^"):
                mark = self.token.value
                self.at += 1
                parts.append(self.made("sym", mark + self.raw_argument()))
        return self.made("opaque", name, *sorted(parts), self.term())


def unit_word(token: Token) -> bool:
    """Does a bare word stand for a unit rather than for a product of letters?"""
    value = token.value
    if value in FUNCTIONS or value in _FUNCTION_ALIASES or value.lower() in _PLAIN_CONSTANTS or value in _GREEK:
        return False
    if value.lower() in ("percent", "percentage", "per", "square", "cubic", "pct"):
        return True
    if len(value) >= 2 and lookup(value) is not None:
        return True
    return token.space and len(value) >= 4


def numeric(node: Node) -> bool:
    """Is the node a written number, perhaps with a sign?"""
    return node[0] == "num" or (node[0] == "neg" and node[1][0] == "num")


def transpose(node: Node) -> Node:
    """The transpose of a matrix; ``(1, 2)^T`` is how a column is written in one line."""
    if node[0] == "tuple":
        return ("matrix", tuple((item,) for item in node[1]))
    return ("matrix", tuple(zip(*node[1], strict=True)))


def name_of(node: Node, tokens: Sequence[Token]) -> str | None:
    """The name a side of a relation is, if it is only a name: ``x``, ``a_1``, ``AB``, ``|AB|``, ``(x, y)``, ``dy/dx``."""
    if node[0] == "sym":
        return str(node[1])
    if node[0] == "const" and node[1] == "i":
        return None
    words = [token.value for token in tokens if token.value not in ("overline", "norm", "|", "{", "}")]
    if len(words) == 1 and re.fullmatch(r"[A-Z]{2,4}", words[0]):
        return words[0]
    if node[0] == "tuple" and all(item[0] == "sym" for item in node[1]):
        return "(" + ",".join(item[1] for item in node[1]) + ")"
    if node[0] == "div" and re.fullmatch(r"frac\{d[a-z]\}\{d[a-z]\}", "".join(token.value for token in tokens)):
        return "".join(token.value for token in tokens)
    return None


def number_of(value: Fraction) -> Node:
    """A node for an exact value."""
    return ("num", value, -1, 0)


__all__ = ["DEGREE", "FUNCTIONS", "OPAQUE", "TRIG", "Parser", "Unreadable", "number_of", "numeric", "unit_word"]
