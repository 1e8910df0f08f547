"""Final answers: found in a response and compared, exactly where possible and otherwise left undecided."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache
from typing import Any

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?%?")
_LINE = re.compile(r"(?:final answer|the answer)\s*(?:is)?\s*[:=]?\s*(.+)", re.I)


def normalised(text: str) -> str:
    """NFC, case folded, white space collapsed, and no closing full stop."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split()).rstrip(".").strip()


def final_answer(response: str) -> str:
    """What a response gives as its answer: the last box, ``####`` line or announced answer, else its last line."""
    verify = _verifier()
    if verify is not None:
        committed = verify.extract(response).text
        if committed:
            return str(committed).strip()
    boxed = _last_box(response)
    if boxed is not None:
        return boxed.strip()
    if "####" in response:
        return (
            response.rsplit("####", 1)[1].strip().splitlines()[0].strip()
            if response.rsplit("####", 1)[1].strip()
            else ""
        )
    announced = _LINE.findall(response)
    if announced:
        return announced[-1].strip()
    lines = [line.strip() for line in response.strip().splitlines() if line.strip()]
    return lines[-1] if lines else ""


def same_answer(first: str, second: str) -> bool | None:
    """Whether two final answers are equal; None when it cannot be told."""
    return compare_answers(first, second)[0]


def compare_answers(first: str, second: str) -> tuple[bool | None, bool]:
    """Whether two final answers are equal, and whether that is certain.

    Text equal after normalising is the same; two readable numbers are compared exactly; anything else goes to the
    mathematics verifier of the environments. Texts that differ are different answers, but a judge that understands
    text may know better, so that is not certain. Mathematics that nobody could decide is None.
    """
    one, two = normalised(first), normalised(second)
    if one == two:
        return True, True
    x, y = _number(one), _number(two)
    if x is not None and y is not None:
        return x == y, True
    verdict = _maths(first, second)
    if verdict is not None:
        return verdict, True
    if _looks_mathematical(one) and _looks_mathematical(two):
        return None, False
    return False, False


def correct_answer(response: str, reference: Any) -> bool | None:
    """Whether the final answer of a response equals a reference (or one of several)."""
    references = reference if isinstance(reference, (list, tuple)) else [reference]
    found = final_answer(response)
    verdicts = [same_answer(found, final_answer(str(r))) for r in references]
    if True in verdicts:
        return True
    return None if None in verdicts or not verdicts else False


def _number(text: str) -> Fraction | None:
    match = _NUMBER.fullmatch(text.strip("$ "))
    if match is None or len(text) > 60:
        return None
    plain = match.group(0).replace(",", "")
    percent = plain.endswith("%")
    try:
        value = Fraction(plain.rstrip("%"))
    except (ValueError, ZeroDivisionError):
        return None
    return value / 100 if percent else value


def _looks_mathematical(text: str) -> bool:
    return bool(re.search(r"[\d\\=^_{}√π]|\b(?:sqrt|frac|pi)\b", text))


def _last_box(text: str) -> str | None:
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return None
    depth = 0
    for index in range(text.index("{", start), len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[text.index("{", start) + 1 : index]
    return None


@lru_cache(maxsize=1)
def _verifier() -> Any:
    """The mathematics verifier of the environments, or None where that room is not there."""
    try:
        from ..envs import verify
    except ImportError:
        return None
    return verify


# Reasons of the verifier that mean "different"; the others mean that it could not tell.
_DIFFERENT = {"wrong", "wrong_kind", "count", "units", "inexact"}


def _maths(first: str, second: str) -> bool | None:
    verify = _verifier()
    if verify is None or not (_looks_mathematical(first) or _looks_mathematical(second)):
        return None
    try:
        result = verify.equal(first, second)
    except verify.PoolError:
        return None
    if result.ok:
        return True
    return False if str(result.reason) in _DIFFERENT else None
