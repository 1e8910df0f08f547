"""From answer text to tokens: numbers in all their spellings, letters, commands, text; layout falls away."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from .notation import FUNCTION_ALIASES, FUNCTIONS, NUMBER_SET_LETTERS, OTHER_OPERATORS, words
from .units import CURRENCY, parse_unit
from .verdict import Reason, Unreadable

MAX_CHARS = 2000
MAX_DIGITS = 1000
MAX_EXPONENT = 400

# A number node: ("num", value, decimals, significant digits); decimals is -1 where no point was written.
Node = tuple


class Token(NamedTuple):
    """One token: kind is ``num, word, cmd, text, op`` or ``end``; ``node`` is set for numbers."""

    kind: str
    value: str
    space: bool = False
    node: Node | None = None


END = Token("end", "")

_LAYOUT = words(
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle "
    "scriptstyle limits nolimits quad qquad bf rm it sf tt large Large LARGE huge Huge small normalsize tiny "
    "hfill hline mathstrut strut noindent centering bfseries itshape cal checkmark qed qedhere"
)
_DROP_ARGUMENT = words("color hspace vspace phantom hphantom vphantom label tag textcolor mathcolor hskip")
_TRANSPARENT = words(
    "boldsymbol bm mathsf mathcal mathtt boxed fbox ensuremath underline mathfrak mathop mathord mathbin "
    "mathrel vec hat widehat tilde emph uline underbrace overbrace pmb"
)
_TEXT = words("text textbf textit textrm textsf texttt textnormal mbox hbox operatorname mathrm mathbf mathit")
_SPACES = frozenset(",;:! /")
_SAME = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "nicefrac": "frac", "sfrac": "frac", "leq": "le", "geq": "ge",
    "leqslant": "le", "geqslant": "ge", "neq": "ne", "lt": "<", "gt": ">", "varnothing": "emptyset", "ast": "*",
    "cdotp": "cdot", "dots": "ldots", "cdots": "ldots", "dotsc": "ldots", "lbrace": "{", "rbrace": "}", "colon": ":",
    "lvert": "|", "rvert": "|", "vert": "|", "lVert": "norm", "rVert": "norm", "Vert": "norm", "varphi": "phi",
    "varepsilon": "epsilon", "vartheta": "theta", "dbinom": "binom", "tbinom": "binom", "degree": "circ",
    "rang": "rangle", "backslash": "setminus", "smallsetminus": "setminus", "lor": "or", "vee": "or",
    "land": "and", "wedge": "and",
    "implies": "to", "Rightarrow": "to", "rightarrow": "to", "approxeq": "approx", "simeq": "approx", "doteq": "approx",
    "sim": "approx", "lbrack": "[", "rbrack": "]", "lparen": "(", "rparen": ")", "exists": "exists", "dprime": "prime",
    "reals": "Reals", "R": "Reals", "Z": "Integers", "euro": "euro", "pounds": "pounds", "percent": "%",
}  # fmt: skip

_REPEATING = re.compile(
    r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))(\d*)(?:\\dot\s*\{?(\d)\}?)?|\((\d+)\))"
)
_GROUPED = re.compile(r"\d{1,3}(?:(?:\{,\}|\\,|\\ |\\!|\\;|~|,\\! ?)\d{3})+(?![\d])(?:\.\d+)?")
_SPACED = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?![\d./]| *[\d/])")
_COMMAS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?!\d)(?:\.\d+)?")
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+(?![A-Za-z\d]))?")
_WORD = re.compile(r"[A-Za-z]+")
_CJK = re.compile("[\u3400-\u9fff]+")
_CJK_JOINERS = {"或": "or", "或者": "or", "和": "and", "与": "and", "及": "and"}
_BRACED_OPERATOR = re.compile(r"\{(\s*(?:\\(?:cdot|times|div|pm|mp|le|ge|colon)(?![A-Za-z])|[-+*/=<>:])\s*)\}")
_DEGREES = re.compile(r"\^?\s*\\circ\s*([CF]?)")
_COMMAND = re.compile(r"\\([A-Za-z]+)")


def number_node(raw: str) -> Node:
    """The node of a plainly written number such as ``12``, ``.50`` or ``1.6E-19``."""
    mantissa, _, exponent = raw.lower().partition("e")
    if len(mantissa) > MAX_DIGITS:
        raise Unreadable(Reason.TOO_LARGE, "too many digits")
    power = int(exponent) if exponent else 0
    if abs(power) > MAX_EXPONENT:
        raise Unreadable(Reason.TOO_LARGE, "exponent")
    whole, point, part = mantissa.partition(".")
    value = Fraction(int((whole + part) or "0"), 10 ** len(part)) * Fraction(10) ** power
    if not point or (not part and not exponent):
        return ("num", value, -1, 0)
    return ("num", value, max(len(part) - power, 0), len((whole + part).lstrip("0")))


def _repeating(match: re.Match[str]) -> Node:
    whole, fixed, block, digit, tail, last, plain = match.groups()
    if plain:
        repeat = plain
    elif last is not None:
        repeat = (block or digit) + tail + last
    elif tail:
        raise Unreadable(Reason.MALFORMED, "digits after a repeating block")
    else:
        repeat = block or digit
    if len(fixed) + len(repeat) > MAX_DIGITS:
        raise Unreadable(Reason.TOO_LARGE, "repeating block")
    value = Fraction(int((whole + fixed) or "0"), 10 ** len(fixed))
    value += Fraction(int(repeat), 10 ** len(fixed) * (10 ** len(repeat) - 1))
    return ("num", value, -1, 0)


def repeating_tail(raw: str) -> Node:
    """The value of ``0.333...`` or ``0.1212...``: a digit written three times or a block written twice goes on."""
    whole, _, part = raw.partition(".")
    periods = (n for n in range(1, len(part) // 2 + 1) if part[-n:] == part[-2 * n : -n])
    period = next((n for n in periods if n > 1 or part[-3:] == part[-1] * 3), 0)
    if not period:
        raise Unreadable(Reason.MALFORMED, "dots behind a number")
    fixed, block = part[:-period], part[-period:]
    value = Fraction(int((whole + fixed) or "0"), 10 ** len(fixed))
    return ("num", value + Fraction(int(block), (10**period - 1) * 10 ** len(fixed)), -1, 0)


def group_end(text: str, start: int) -> int:
    """Index just after the brace group that starts at ``start``; -1 if it never closes."""
    depth = 0
    at = start
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return -1


def _skip_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _thousands_brackets(text: str) -> list[bool]:
    """For each position: may ``1,234`` be one number here? Inside brackets only if other commas carry a space."""
    allowed, stack = [], [True]
    for at, char in enumerate(text):
        if char in "([{":
            depth, end = 0, at
            for end in range(at, len(text)):
                depth += (text[end] in "([{") - (text[end] in ")]}")
                if depth == 0:
                    break
            inner = text[at:end]
            stack.append(", " in inner or ",\\" in inner or (char == "{" and (at == 0 or text[at - 1] != "\\")))
            if len(stack) > 64:
                raise Unreadable(Reason.TOO_LARGE, "nesting")
        elif char in ")]}" and len(stack) > 1:
            stack.pop()
        allowed.append(stack[-1])
    return allowed


class _Lexer:
    def __init__(self, text: str, thousands: bool) -> None:
        if len(text) > MAX_CHARS:
            raise Unreadable(Reason.TOO_LARGE, "answer too long")
        self.text, self.at, self.space = text, 0, False
        self.tokens: list[Token] = []
        self.thousands = _thousands_brackets(text) if thousands and "," in text else None
        self.single_dollar = text.count("$") - text.count("\\$") == 1

    def add(self, kind: str, value: str, node: Node | None = None) -> None:
        """Append a token."""
        self.tokens.append(Token(kind, value, self.space, node))
        self.space = False

    def run(self) -> list[Token]:
        """Read the whole text."""
        text, size = self.text, len(self.text)
        while self.at < size:
            char = text[self.at]
            if char in " \t\r\n~":
                self.at += 1
                self.space = True
            elif char.isdigit() or (char == "." and text[self.at + 1 : self.at + 2].isdigit()):
                self.number()
            elif char == "\\":
                self.command()
            elif match := _WORD.match(text, self.at):
                self.at = match.end()
                self.add("word", match[0])
            elif match := _CJK.match(text, self.at):
                self.at = match.end()
                joiner = _CJK_JOINERS.get(match[0])
                self.add("word" if joiner else "text", joiner or match[0])
            elif char == "{" and (match := self.braced_operator()):
                self.text = text = f"{text[: self.at]} {match[1]} {text[match.end() :]}"
            elif char == "$":
                self.at += 1
                if self.single_dollar:
                    self.add("op", "dollar")
            elif text.startswith("**", self.at):
                self.at += 2
                self.add("op", "**")
            elif text.startswith(("<=", ">=", "!="), self.at):
                self.add("cmd", {"<": "le", ">": "ge", "!": "ne"}[char])
                self.at += 2
            elif text.startswith("==", self.at):
                self.add("op", "=")
                self.at += 2
            elif text.startswith("+-", self.at) or text.startswith("+/-", self.at):
                self.add("cmd", "pm")
                self.at += 2 if text[self.at + 1] == "-" else 3
            else:
                self.at += 1
                self.add("op", char)
        return self.tokens

    def braced_operator(self) -> re.Match[str] | None:
        r"""``{\cdot}`` between two factors, where the braces only set the spacing."""
        before = self.tokens[-1] if self.tokens else None
        if before is None or before.value in ("^", "_") or before.kind == "cmd":
            return None
        return _BRACED_OPERATOR.match(self.text, self.at)

    def number(self) -> None:
        """A number in any spelling."""
        text, at = self.text, self.at
        if match := _REPEATING.match(text, at):
            self.at = match.end()
            return self.add("num", match[0], _repeating(match))
        grouped = _GROUPED.match(text, at) or _SPACED.match(text, at)
        if grouped is None and self.thousands is not None and self.thousands[at]:
            grouped = _COMMAS.match(text, at)
        if grouped is None and self.thousands is None:
            listed = _COMMAS.match(text, at)
            if listed is not None and ",0" in listed[0]:  # "1,024" is no list
                raise Unreadable(Reason.MALFORMED, "a number of a list that begins with 0")
        if grouped is not None:
            self.at = grouped.end()
            raw = re.sub(r"[^\d.]", "", grouped[0])
        else:
            plain = _NUMBER.match(text, at)
            if plain is None:  # digits of other scripts
                raise Unreadable(Reason.MALFORMED, "digit")
            self.at, raw = plain.end(), plain[0]
            if raw.endswith("."):
                raw = raw[:-1]
        self.add("num", raw, number_node(raw))

    def argument(self) -> str | None:
        """The brace group that follows, consumed; None if there is none."""
        start = _skip_spaces(self.text, self.at)
        if start >= len(self.text) or self.text[start] != "{":
            return None
        end = group_end(self.text, start)
        if end < 0:
            raise Unreadable(Reason.MALFORMED, "unclosed group")
        self.at = end
        return self.text[start + 1 : end - 1]

    def command(self) -> None:
        """A backslash and what follows it."""
        text = self.text
        match = _COMMAND.match(text, self.at)
        if match is None:
            char = text[self.at + 1 : self.at + 2]
            self.at += 1 + len(char)
            if char in _SPACES or char in "()[]" or char in "\n\t":
                self.space = True
            elif char == "\\":
                self.add("op", "\\\\")
            elif char == "$":
                self.add("op", "dollar")
            elif char == "%":
                self.add("op", "%")
            elif char == "|":
                self.add("cmd", "norm")
            elif char in "{}":
                self.add("op", "\\" + char)
            elif char == "#":
                raise Unreadable(Reason.MALFORMED, "hash")
            return
        name, self.at = match[1], match.end()
        name = _SAME.get(name, name)
        if name in _LAYOUT:
            if name in ("left", "right") and text[self.at : self.at + 1] == ".":
                self.at += 1
            self.space = self.space or name in ("quad", "qquad")
        elif name in _DROP_ARGUMENT:
            self.argument()
        elif name in _TRANSPARENT:
            pass
        elif name == "mathbb" or name == "Bbb":
            start = _skip_spaces(text, self.at)
            letter = self.argument()
            if letter is None:
                letter = text[start : start + 1]
                self.at = start + 1
            letter = letter.strip()
            if letter in NUMBER_SET_LETTERS:
                self.add("cmd", NUMBER_SET_LETTERS[letter])
            elif letter in ("P", "E"):  # probability and expectation
                self.add("word", letter)
            else:
                raise Unreadable(Reason.MALFORMED, "unknown set")
        elif name == "Pr":
            self.add("word", "P")
        elif name in _TEXT:
            self.textual(name)
        elif name in "<>|[]()%*:":
            self.add("op", name)
        elif name in ("{", "}"):
            self.add("op", "\\" + name)
        else:
            self.add("cmd", name)

    def after_number(self) -> bool:
        """Does a number or the end of a group come directly before?"""
        return bool(self.tokens) and (self.tokens[-1].kind == "num" or self.tokens[-1].value == "}")

    def textual(self, command: str) -> None:
        r"""``\text{...}`` and its relatives: words become a text token, anything else is read as mathematics."""
        mark = self.at
        content = self.argument()
        if content is None:
            return
        bare = re.sub(r"~|\\[,;:! ]", " ", content).strip()
        if command == "operatorname" and re.fullmatch(r"[A-Za-z]+", bare):
            known = bare in FUNCTIONS or bare in FUNCTION_ALIASES or bare in OTHER_OPERATORS
            return self.add("cmd" if known else "word" if len(bare) == 1 else "text", bare)
        maths = command.startswith("math")
        if not bare or bare == ".":
            self.space = True
        elif bare in ("$", "\\$") or (bare in CURRENCY and not bare.isascii()):
            self.add("op", "dollar" if bare.endswith("$") else bare)
        elif degrees := _DEGREES.fullmatch(bare):
            self.add("op", "^")
            self.add("cmd", "circ")
            if degrees[1]:
                self.add("word", degrees[1])
        elif command == "mathrm" and "^" in bare and (unit := parse_unit(bare)) is not None and unit.known:
            self.add("text", bare)
        elif re.match(r"[-+]?\d[\d.,/]*\s*[A-Za-z]", bare):
            self.at = mark  # "12 apples": read the group itself
        elif (
            not re.search(r"[A-Za-z]", bare) or "\\" in bare or "$" in bare or (maths and re.search(r"[\d^_=+]", bare))
        ):
            if not maths and re.search(r"[A-Za-z]{3}", re.sub(r"\\[A-Za-z]+", "", bare)):
                return self.add("text", bare)
            self.at = mark
        elif (
            maths and len(bare) == 1 and (command != "mathrm" or bare in ("dei" if self.after_number() else "deiRZQNC"))
        ):
            number_set = NUMBER_SET_LETTERS.get(bare) if command == "mathbf" else None
            self.add("cmd" if number_set else "word", number_set or bare)
        else:
            self.add("text", bare)


def lex(text: str, thousands: bool = True) -> list[Token]:
    """Tokens of an answer.

    Args:
        text: normalised answer text, at most `MAX_CHARS` characters.
        thousands: read ``1,234`` as one number (True) or as two (False).

    Raises:
        Unreadable: too long, too many digits, or an unclosed group.
    """
    return _Lexer(text, thousands).run()
