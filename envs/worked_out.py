r"""Is a numerical answer worked out? ``12*13`` equals 156, but does not answer a question that asks for the product.

The maths verifier rightly calls equal forms equal. Where the gold is a number, repeating the question's arithmetic
would then earn the reward, so the answer must be written as a number: digits with the usual marks, and a fraction where
the gold is one. Other golds (formulas, sets, words) are not looked at.
"""

from __future__ import annotations

import re

# What may stand around digits: units, currency, percent, degrees, spaces, thousands marks, brackets around everything.
_NUMBER = r"\d[\d,]*(?:\.\d*)?|\.\d+"
_DECORATION = re.compile(
    r"\\(?:text|mathrm|mathbf|textbf|mbox|boldsymbol)\{[^{}]*\}(?:\^\{?[23]\}?)?"
    r"|\{,\}|\\[,;:!$% ]|\\(?:left|right|quad|qquad|displaystyle)\b|\^\{?\\circ\}?|\\(?:degree|circ)\b"
    r"|(?<![\dA-Za-z])[A-Za-z]+\^\{?[23]\}?(?![\d(])|[$€£¥%°~]"
)
_POWER_OF_TEN = re.compile(r"(?<=\d)\s*(?:\\times|\\cdot|[*×·x])\s*10\s*(?:\^|\*\*)\s*\{?\s*[-+−]?\d+\s*\}?")
_FRACTION = re.compile(
    rf"(?:\d+\s+|\d+(?=\\))?(?:\\[dt]?frac\s*(?:\{{\s*-?(?:{_NUMBER})\s*\}}|\d)\s*(?:\{{\s*(?:{_NUMBER})\s*\}}|\d)"
    rf"|(?:{_NUMBER})\s*/\s*(?:{_NUMBER}))"
)
_STYLE = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|boldsymbol)\{(?=[^{}A-Za-z]*\})([^{}]*)\}")
_WHOLE = re.compile(r"[-+−]?(?:\d{1,3}(?:[, ]\d{3})+|\d+)(?:\.0*)?")
_WRITTEN = re.compile(
    r"[-+−]?\s*(?:(?:\d{1,3}(?:[, ]\d{3})+|\d+)(?:\.\d*(?:\\overline\{\d+\}|\(\d+\))?)?|\.\d+)(?:[eE][-+−]?\d+)?"
    r"[A-Za-z.\s]*(?:/\s*[A-Za-z]+)?"
)


def worked_out(answer: str, gold: str) -> bool:
    r"""Whether an answer that equals the gold is written as a number where the gold is one.

    Args:
        answer: the extracted answer. Of a chain such as ``10+7 = 17`` one worked-out side is enough.
        gold: the gold as text.

    Example:
        >>> worked_out("12*13", "156"), worked_out("156 \\text{ cm}^2", "156"), worked_out("12*13=156", "156")
        (False, True, True)
        >>> worked_out("24/2", "12"), worked_out("\\frac{1}{2}", "0.5"), worked_out("1/4+1/4", "1/2")
        (False, True, False)
        >>> worked_out("(x+1)(x+2)", "x^2+3x+2")
        True
    """
    whole = _WHOLE.fullmatch(gold.strip()) is not None
    if not whole and not _is_number(gold, whole=False):
        return True
    return any(_is_number(side, whole) for side in re.split(r"=|≈|\\approx\b", answer[:2000]))


def in_form_of(answer: str, gold: str) -> bool:
    r"""Whether an equal answer is worked out: unlike terms, nothing to multiply out or to draw, solved for the unknown.

    For generated tasks, which ask to expand, simplify or solve, so that the question itself is an equal form.

    Args:
        answer: the extracted answer.
        gold: the gold as text.

    Example:
        >>> in_form_of("(x+1)(x+2)", "x^2+3x+2"), in_form_of("2+3x+x^2", "x^2+3x+2")
        (False, True)
        >>> in_form_of("\\sqrt{8}+\\sqrt{2}", "3\\sqrt{2}")
        False
        >>> in_form_of("x^2 < 4", "(-2, 2)"), in_form_of("-2<x<2", "(-2, 2)")
        (False, True)
    """
    if not worked_out(answer, gold):
        return False
    from .verify import is_simplified

    return is_simplified(answer[:2000]) or not is_simplified(gold)


def _is_number(text: str, whole: bool) -> bool:
    text = _POWER_OF_TEN.sub("", _DECORATION.sub(" ", _STYLE.sub(r"\1", text)))
    if not whole:
        text = _FRACTION.sub("1", text)
    text = text.strip().strip(".")
    while len(text) > 1 and (text[0], text[-1]) in (("(", ")"), ("{", "}"), ("[", "]")):
        text = text[1:-1].strip()
    return _WRITTEN.fullmatch(text) is not None
