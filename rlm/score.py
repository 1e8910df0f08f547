"""Scorers of the task families: pure functions from (gold, answer) to a value in [0, 1] and a reason for the policy.

None of them accepts an answer for merely containing the gold value, and the reason never contains it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

_NUMBER = re.compile(r"[-+]?[0-9](?:[0-9.,]*[0-9])?")
_INTEGER = re.compile(r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)")
_MARK = re.compile(r"\banswer\s*:", re.IGNORECASE)
_PAIR = re.compile(r"^[(\[]?\s*([0-9]{1,18})\s*[,;\s]\s*([0-9]{1,18})\s*[)\]]?$")
_BASE = 0.75  # credit per unit of distance, as in OOLONG


@dataclass(frozen=True)
class Score:
    """A value in [0, 1] and why, in words that do not give the answer away."""

    value: float
    reason: str = ""


def marked(answer: str) -> str:
    """The text after a single ``Answer:``, else the whole answer."""
    marks = list(_MARK.finditer(answer))
    return answer[marks[0].end() :] if len(marks) == 1 else answer


def normal(text: str) -> str:
    """NFC, outer white space and one final full stop removed, case folded."""
    return unicodedata.normalize("NFC", text).strip().removesuffix(".").strip().casefold()


def score_exact(gold: Any, answer: str) -> Score:
    """1 when the whole answer (or what follows a single ``Answer:``) is the gold text, else 0."""
    if not answer.strip():
        return Score(0.0, "The answer is empty.")
    hit = normal(str(gold)) in (normal(answer), normal(marked(answer)))
    return Score(float(hit), "Correct." if hit else "Incorrect.")


def score_number(gold: int, answer: str) -> Score:
    """``0.75 ** |gold - answer|``; 0 unless the answer holds exactly one integer."""
    text = marked(unicodedata.normalize("NFC", answer).replace("\u2212", "-"))
    if len(text) > 10_000:
        return Score(0.0, f"The answer has {len(text)} characters; an integer was asked.")
    found = _NUMBER.findall(text)
    if len(found) != 1:
        return Score(0.0, f"One integer was asked; the answer has {len(found)} numbers.")
    if not _INTEGER.fullmatch(found[0]):
        return Score(0.0, "An integer was asked; the answer is not one.")
    digits = found[0].replace(",", "")
    if len(digits) > 18:
        return Score(0.0, "The number is too long.")
    distance = abs(int(gold) - int(digits))
    if distance == 0:
        return Score(1.0, "Correct.")
    return Score(_BASE**distance if distance < 1_000 else 0.0, "The number is not right.")


def parse_pairs(answer: str, cap: int, lenient: bool = False) -> tuple[set[tuple[int, int]], int]:
    """Pairs of an answer, one a line, and the number of lines that are not a pair ``(lo, hi)`` with lo < hi.

    Lines after the first `cap` are not read and count as bad. `lenient` turns ``(hi, lo)`` round.
    """
    lines = [line.strip() for line in marked(answer).splitlines() if line.strip()]
    pairs, bad = set(), max(0, len(lines) - cap)
    for line in lines[:cap]:
        match = _PAIR.match(line)
        lo, hi = (int(match[1]), int(match[2])) if match else (0, 0)
        if lenient and lo > hi:
            lo, hi = hi, lo
        if not match or lo >= hi or (lo, hi) in pairs:
            bad += 1
        else:
            pairs.add((lo, hi))
    return pairs, bad


def score_pairs(gold: Iterable[tuple[int, int]], answer: str, lenient: bool = False) -> Score:
    """F1 over the sets of pairs. Malformed, repeated and surplus lines are false positives; no pairs asked and none
    given is 1. An answer of no pairs is the empty text or ``none``."""
    want = {tuple(pair) for pair in gold}
    text = "" if normal(marked(answer)) in ("none", "[]", "()") else answer
    got, bad = parse_pairs(text, 10 * len(want) + 100, lenient)
    if not want and not got and not bad:
        return Score(1.0, "Correct.")
    hits = len(want & got)
    f1 = 2 * hits / (len(want) + len(got) + bad) if hits else 0.0
    note = f" {bad} lines were not a new pair `lo, hi` with lo < hi." if bad else ""
    return Score(f1, ("Correct." if f1 == 1.0 else "Some pairs are wrong or missing.") + note)


SCORERS: dict[str, Callable[[Any, str], Score]] = {
    "exact": score_exact,
    "number": score_number,
    "pairs": score_pairs,
    "pairs_lenient": partial(score_pairs, lenient=True),
}


def score(kind: str, gold: Any, answer: str) -> Score:
    """Score an answer with the scorer named `kind` (``exact``, ``number``, ``pairs`` or ``pairs_lenient``)."""
    return SCORERS[kind](gold, answer)


def best_constant(n: int) -> float:
    """Expected `score_number` of the best constant answer when gold is uniform on [0, n)."""
    if n < 1:
        raise ValueError(f"n is {n}; it must be at least 1")
    middle = (n - 1) // 2
    return sum(_BASE ** abs(k - middle) for k in range(n)) / n
