"""Answers that are no formula: words, options of a multiple-choice question, bases, times and ratios."""

from __future__ import annotations

import re
from typing import NamedTuple

from .units import without_remark

_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|textnormal|mbox|hbox|mathrm|mathbf|mathit|mathsf|boldsymbol|bf|rm|it|"
    r"operatorname|left|right|displaystyle|boxed|fbox|underline|emph|quad|qquad|bigl?|bigr?)(?![A-Za-z])"
)
_SPACING = re.compile(r"\\[,;:! ]|~")
_PROSE = re.compile(r"[\w\s.,;:!?&()`'\"/\-]+")
_QUOTES = re.compile(r"[`'\"]")
_LEAD = re.compile(
    r"^(?:(?:so|thus|hence|therefore),?\s*)?(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+is)?\s*:?\s*", re.IGNORECASE
)
_SUBJECT = re.compile(r"^\s*(?:the|its|their)\s[A-Za-z ]{2,60}?\b(?:is|are|equals)\s+(?=[^A-Za-z\s])", re.IGNORECASE)
_WHOLE_TEXT = re.compile(r"\s*\\(?:text|mbox|textbf|textrm)\s*\{([^{}]*)\}\.?\s*")
_OPTION_LEAD = re.compile(r"^(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)s?\s*(?:is|:)?\s*", re.IGNORECASE)
_OPTION = re.compile(r"\(?([A-Ja-j])(?:\)|\.|:)(?:\s*\S.*)?|\(([A-Ja-j])\)?.*|([A-Ja-j])", re.DOTALL)
_SECOND_OPTION = re.compile(r"\([A-Ja-j]\)|\b(?:or|and|not)\b|[,;/&]\s*[A-Ja-j]\b")
_GOLD_OPTION = re.compile(r"\(([A-J])\).*|([A-J])[.)](?:\s.*)?|([A-J])", re.DOTALL)
_OPTIONS = re.compile(r"\(?[A-J]\)?(?:\s*(?:,|;|and|&|\s)\s*\(?[A-J]\)?)+|[A-J]{2,6}")
_BASE = re.compile(r"\(?([0-9A-Za-z]+(?:\.[0-9A-Za-z]+)?)\)?_\{?\(?([0-9]{1,2}|[a-z]+)\)?\}?")
_NUMERAL = re.compile(r"\(?([0-9A-Fa-f]+)\)?")
_BASE_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16, "binary": 2, "octal": 8, "decimal": 10, "hex": 16, "hexadecimal": 16,
}  # fmt: skip
_RATIO = re.compile(r"[\d.]+(?:\s*:\s*[\d.]+)+(?:\s*(?:am|pm|a\.m\.?|p\.m\.?))?", re.IGNORECASE)
_ALIASES = {
    "nosolution": "\\emptyset", "nosolutions": "\\emptyset", "thereisnosolution": "\\emptyset",
    "therearenosolutions": "\\emptyset", "norealsolution": "\\emptyset", "norealsolutions": "\\emptyset",
    "emptyset": "\\emptyset", "theemptyset": "\\emptyset", "infinity": "\\infty", "positiveinfinity": "\\infty",
    "negativeinfinity": "-\\infty", "minusinfinity": "-\\infty", "allrealnumbers": "\\mathbb{R}",
    "allreals": "\\mathbb{R}",
    "allintegers": "\\mathbb{Z}", "theintegers": "\\mathbb{Z}", "therealnumbers": "\\mathbb{R}",
}  # fmt: skip
_SAME_WORDS = {"dne": "doesnotexist", "thelimitdoesnotexist": "doesnotexist", "limitdoesnotexist": "doesnotexist"}


def strip_markup(text: str) -> str:
    """Words and symbols without fonts, boxes, braces, dollar signs and layout; spaces are kept."""
    text = _WRAPPER.sub("", _SPACING.sub(" ", text))
    return re.sub(r"(?<!\\)[{}$]", "", text).strip()


def words(text: str) -> str:
    """Text for comparing words: lower case, without spaces, quotes and a final dot; "" if it holds a formula."""
    plain = _LEAD.sub("", strip_markup(text))
    if not _PROSE.fullmatch(plain) or "_" in plain or not re.search(r"[^\W\d_]", plain):
        return ""
    plain = _QUOTES.sub("", plain).lower()
    plain = re.sub(r"(?<=[a-z])-(?=[a-z])|(?<!\d)\s+|\s+(?!\d|\s)", "", plain).strip(".,;:! ")
    return _SAME_WORDS.get(plain, plain)


def without_lead(text: str) -> str:
    """The answer without a leading "the answer is", be it inside or before a text command."""
    text = _SUBJECT.sub("", without_remark(text).strip() or text)
    inside = _WHOLE_TEXT.fullmatch(text)
    if inside and (rest := _LEAD.sub("", inside[1])) != inside[1]:
        return rest
    return _LEAD.sub("", text)


def formula_for(text: str) -> str | None:
    r"""The formula some phrases stand for: "no solution" is the empty set, "infinity" is ``\infty``."""
    return _ALIASES.get(words(text))


def is_wordy(text: str) -> bool:
    """Does the text hold words of two letters or more in a text command, or only words?"""
    return (
        re.search(r"\\(?:text\w*|mbox|mathrm|mathbf|operatorname)\s*\{[^{}]*[A-Za-z]{2}", text) is not None
        or re.fullmatch(r"[A-Za-z][A-Za-z \-']{3,}[.!]?", text.strip()) is not None
        or (not text.isascii() and any(char.isalnum() and not char.isascii() for char in text))
    )


def gold_options(gold: str) -> frozenset[str] | None:
    r"""The letters of a multiple-choice gold such as ``B`` or ``\textbf{(B)}\ 12``; None if it is no choice."""
    text = _OPTION_LEAD.sub("", strip_markup(gold))
    if match := _GOLD_OPTION.fullmatch(text):
        return frozenset(match[1] or match[2] or match[3])
    text = text.strip("{}\\ ")
    if _OPTIONS.fullmatch(text):
        letters = [c for c in text.replace("and", "") if c.isupper()]
        if len(set(letters)) == len(letters) and letters == sorted(letters):
            return frozenset(letters)
    return None


def chosen_options(text: str, several: bool) -> frozenset[str] | None:
    """The letters an answer chooses; None if it is no choice."""
    plain = _OPTION_LEAD.sub("", strip_markup(text)).strip()
    if several:
        bare = plain.strip("\\{} ").rstrip(".")
        pieces = re.split(r"\s*(?:,|;|&|\band\b|\)\(|\s)\s*", bare)
        letters = [c for piece in pieces for c in piece.strip("().")]
        if letters and all(re.fullmatch("[A-Ja-j]", c) for c in letters):
            return frozenset(c.upper() for c in letters)
    match = _OPTION.fullmatch(plain)
    if match is None or _SECOND_OPTION.search(plain, match.end(1) if match[1] else match.end(2) if match[2] else 1):
        return None
    return frozenset((match[1] or match[2] or match[3]).upper())


def listed_words(text: str) -> list[str]:
    """The words of an enumeration such as "red, white and blue", in alphabetical order; [] if it is none.

    Commas alone do not make one: they may set out an order.
    """
    plain = strip_markup(text)
    if not re.search(r"\band\b", plain):
        return []
    parts = [words(part) for part in re.split(r",|;|\band\b", plain) if part.strip()]
    return sorted(parts) if len(parts) > 1 and all(parts) else []


class Numeral(NamedTuple):
    """Digits written in a base; base None if none is written."""

    digits: str
    base: int | None


def numeral(text: str) -> Numeral | None:
    """Read ``110_7``, ``(110)_{7}`` or ``FF_{16}``; None if it is no number with a base."""
    match = _BASE.fullmatch(re.sub(r"\s+", "", strip_markup(text)))
    if match is None:
        return None
    base = _BASE_WORDS.get(match[2]) or (int(match[2]) if match[2].isdigit() else 0)
    digits = match[1].upper()
    if not 2 <= base <= 36 or not all(int(d, 36) < base for d in digits if d != "."):
        return None
    if (not digits[0].isdigit() and base <= 10) or (not any(c.isdigit() for c in digits) and base < 16):
        return None
    return Numeral(digits.lstrip("0") or "0", base)


def bare_numeral(text: str) -> Numeral | None:
    """Digits without a base."""
    match = _NUMERAL.fullmatch(re.sub(r"\s+", "", strip_markup(text)))
    return Numeral(match[1].upper().lstrip("0") or "0", None) if match else None


def ratio_parts(text: str) -> list[str]:
    r"""The parts of ``1:2:\sqrt{3}``; [] where there is no colon outside brackets."""
    depth, parts = 0, [""]
    for char in text.replace("\\colon", ":"):
        depth += (char in "({[") - (char in ")}]")
        if char == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts if len(parts) > 1 and all(part.strip() for part in parts) else []


def ratio(text: str) -> tuple[str, ...] | None:
    """The parts of a time or ratio such as ``3:30 p.m.``; None if it is none."""
    plain = re.sub(r"(?<=\d)\s+to\s+(?=\d)", ":", strip_markup(text).replace("\\colon", ":"))
    if _RATIO.fullmatch(plain) is None:
        return None
    lowered = re.sub(r"[\s]+", "", plain.lower())
    half = re.search(r"[ap]\.?m\.?$", lowered)
    if half:
        lowered = lowered[: half.start()]
    parts = tuple(part.lstrip("0") or "0" for part in lowered.split(":"))
    return (*parts, half[0].replace(".", "") if half else "")
