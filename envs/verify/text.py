"""Characters: one spelling for each symbol, before anything is read."""

from __future__ import annotations

import re
import unicodedata

from .verdict import Reason, Unreadable

_INVISIBLE = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff\u00ad\u202a-\u202e]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_SUPERSCRIPT = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
_SUBSCRIPT = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙᵢ", "0123456789+-()ni", strict=True))
_SUPER_RUN = re.compile("[" + "".join(_SUPERSCRIPT) + "]+")
_SUB_RUN = re.compile("[" + "".join(_SUBSCRIPT) + "]+")
_MATH_LETTERS = re.compile("[\U0001d400-\U0001d7ff]")
_LETTER_TIMES = re.compile(r"(\d)\s+x\s+10\s*(?:\^|\*\*)\s*\{?(-?\d+)\}?")
_NEGATIVE_POWER = re.compile(r"\^-(\d\d+)(?![\d.])")
_ROOT_OF_NUMBER = re.compile(r"([√∛∜])\s*(\d+(?:\.\d+)?)")
_TYPESET = re.compile(r"\^\{?(\d+)\}?\s*[/⁄]\s*_\{?(\d+)\}?")
_ROOT = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}

_VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
    "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma "
    "tau upsilon phi chi psi omega"
)
_MAP: dict[str, str] = {
    "‒": "-", "﹣": "-", "﹢": "+", "。": ".", "、": ",",
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "∗": "*", "÷": r"\div ", "⁄": "/", "∕": "/", "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ",
    "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "≃": r"\approx ", "≡": r"\equiv ",
    "∈": r"\in ", "∉": r"\notin ",
    "∪": r"\cup ", "∩": r"\cap ", "∖": r"\setminus ", "∅": r"\emptyset ", "⌀": r"\emptyset ", "Ø": r"\emptyset ",
    "±": r"\pm ", "∓": r"\mp ", "°": r"^\circ ", "º": r"^\circ ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "√": r"\sqrt ", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]",
    "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ", "∂": r"\partial ", "⟨": r"\langle ", "⟩": r"\rangle ",
    "〈": r"\langle ", "〉": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
    "′": "'", "″": "''", "’": "'", "‘": "'", "“": '"', "”": '"', "…": r"\ldots ", "⋯": r"\ldots ", "∠": r"\angle ",
    "△": r"\triangle ", "→": r"\to ", "∣": "|", "ϕ": r"\phi ", "ϵ": r"\epsilon ", "ℯ": "e", "ⅈ": "i",
    "％": "%", "\u00a0": " ", "\u2009": r"\,", "\u202f": r"\,", "\u2002": " ", "\u2003": " ", "\u3000": " ",
}  # fmt: skip
_MAP.update({chr(0x3B1 + n): f"\\{name} " for n, name in enumerate(_GREEK.split())})
_MAP.update(
    {
        char: f"\\{name} "
        for char, name in zip(
            "ΓΔΘΛΞΠΣΥΦΨΩ",
            ["Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"],
            strict=True,
        )
    }
)
_MAP.update({char: rf"\frac{{{a}}}{{{b}}}" for char, (a, b) in _VULGAR.items()})
_MAP.update({chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if chr(code) != "％"})
_TABLE = str.maketrans(_MAP)


def normalise(text: str) -> str:
    r"""Remove invisible characters and spell symbols in ASCII or as LaTeX commands.

    Args:
        text: an answer as written.

    Returns:
        The same answer with one spelling for each symbol.

    Raises:
        Unreadable: for control bytes and lone surrogates.

    >>> normalise("x² ≤ ½π")
    'x^{2} \\le  \\frac{1}{2}\\pi '
    """
    if _CONTROL.search(text):
        raise Unreadable(Reason.MALFORMED, "control byte")
    if "^" in text and "_" in text:
        text = _TYPESET.sub(r"\\frac{\1}{\2}", text)
    if " x 10" in text:
        text = _LETTER_TIMES.sub(r"\1 \\times 10^{\2}", text)
    if "^-" in text:
        text = _NEGATIVE_POWER.sub(r"^{-\1}", text)
    if "..." in text:
        text = text.replace("...", r"\ldots ")
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", text)
    text = _MATH_LETTERS.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
    text = _SUPER_RUN.sub(lambda m: "^{" + "".join(_SUPERSCRIPT[c] for c in m[0]) + "}", text)
    text = _SUB_RUN.sub(lambda m: "_{" + "".join(_SUBSCRIPT[c] for c in m[0]) + "}", text)
    text = _TYPESET.sub(r"\\frac{\1}{\2}", text)
    text = _ROOT_OF_NUMBER.sub(lambda m: f"{_ROOT[m[1]]}{{{m[2]}}}", text)
    return text.translate(_TABLE)
