"""Is an answer text the gold answer? Spelling, words, options and bases first; then both are read as formulas."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import lru_cache

from .exact import Budget, NotRational, Undefined
from .identity import NeedsWorker, Undecided, Values, contains, symbols
from .judge import Judge, Mismatch
from .lex import Node, lex
from .notation import OPAQUE
from .parse import Parser
from .shapes import written_decimal
from .text import normalise
from .textual import (
    bare_numeral,
    chosen_options,
    formula_for,
    gold_options,
    is_wordy,
    listed_words,
    numeral,
    ratio,
    ratio_parts,
    without_lead,
    words,
)
from .verdict import Reason, Unreadable

_log = logging.getLogger(__name__)
LIGHT_STEPS = 20_000
HEAVY_STEPS = 400_000

_KINDS = {
    "tuple": "tuple", "set": "set", "list": "list", "bracket_list": "tuple", "interval": "interval",
    "union": "interval", "inter": "interval", "minus": "interval", "matrix": "matrix", "named_set": "set",
    "empty": "set", "builder": "set", "text": "text", "qty": "quantity", "pct": "percent", "opaque": "expression",
    "dots": "list", "group": "expression",
}  # fmt: skip
_DECIMAL_COMMA = re.compile(r"[^\d,.()\[\]{}]*\d+(?:,|\{,\})(\d+)[^\d,.()\[\]]*")


@dataclass(frozen=True)
class Result:
    """The outcome of a comparison of two answer texts."""

    ok: bool
    reason: Reason
    gold_kind: str = ""
    pred_kind: str = ""


def kind_of(node: Node | None) -> str:
    """The shape of an answer in one word."""
    if node is None:
        return "text"
    if node[0] == "rel":
        return "equation" if all(op in ("=", "~") for op in node[1]) else "inequality"
    if node[0] in _KINDS:
        return _KINDS[node[0]]
    return "expression" if symbols(node) else "number"


@lru_cache(maxsize=4096)
def readings(text: str) -> tuple[Node, ...] | Reason:
    """All ways to read an answer: with commas as thousands marks and as separators. Or why there is none."""
    found: list[Node] = []
    reason = Reason.MALFORMED
    try:
        modes = (True, False) if "," in text else (True,)
        for thousands in modes:
            try:
                node = Parser(lex(text, thousands)).answer()
            except Unreadable as error:
                reason = error.reason
                continue
            if node not in found:
                found.append(node)
    except RecursionError:
        return Reason.TOO_LARGE
    return tuple(found) or reason


@lru_cache(maxsize=4096)
def spelling(text: str) -> tuple[tuple[str, str], ...] | None:
    """Tokens of an answer for comparing two texts; None if it cannot be read."""
    try:
        return tuple((token.kind if token.kind in ("num", "text") else "", token.value.strip()) for token in lex(text))
    except Unreadable:
        return None


def restates(text: str) -> frozenset[str]:
    """Operators whose evaluation is the task itself: sums, products, integrals, limits, derivatives."""
    tokens = spelling(text) or ()
    values = [value for _, value in tokens]
    found = {value for kind, value in tokens if value in OPAQUE and kind != "text"}
    joined = "".join(values)
    for mark in ("frac{d}{d", "frac{\\partial}{", "frac{partial}{partial", "frac{d^", "frac{partial^", "d/dx"):
        if mark in joined:
            found.add("derivative")
    return frozenset("int" if name in ("iint", "iiint", "oint") else name for name in found)


def evaluated(answer: str, gold: str) -> str | None:
    r"""The sides of ``\int_0^1 2x\,dx = 1`` that say what the restated task comes to; None if the last does not."""
    depth, sides = 0, [""]
    for char in answer:
        depth += (char in "({[") - (char in ")}]")
        if char == "=" and depth == 0:
            sides.append("")
        else:
            sides[-1] += char
    kept = [side for side in sides if not restates(side) - restates(gold)]
    return "=".join(kept) if kept and kept[-1] is sides[-1] and len(sides) > 1 else None


def compare_texts(gold: str, answer: str, heavy: bool = True) -> Result:
    """Decide whether two answer texts mean the same.

    Args:
        gold: the gold answer.
        answer: the extracted answer.
        heavy: whether expensive arithmetic may run in this process.

    Returns:
        The outcome. Never raises for anything an answer can contain.

    Raises:
        NeedsWorker: only with ``heavy=False``: the cheap tests do not decide.
    """
    try:
        gold, answer = normalise(gold), normalise(answer)
    except Unreadable as error:
        return Result(False, error.reason)
    try:
        return _compare(gold, answer, heavy)
    except Unreadable as error:
        if not heavy and error.reason is Reason.TOO_LARGE:
            raise NeedsWorker from None
        return Result(False, error.reason)
    except RecursionError:
        return Result(False, Reason.TOO_LARGE)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        # A defect of ours that an answer has found. It must not earn more than being wrong, such as a rollout unscored.
        _log.warning("the answer %.200r broke the comparison", answer, exc_info=True)
        return Result(False, Reason.UNDECIDED)


def _compare(gold: str, answer: str, heavy: bool) -> Result:
    if gold.strip() == answer.strip() and gold.strip():
        return Result(True, Reason.EQUAL_TEXT)
    if not answer.strip():
        return Result(False, Reason.EMPTY_ANSWER)
    if len(answer) > 2000:
        return Result(False, Reason.TOO_LARGE)
    special = _special(gold, answer)
    if special is not None:
        return special
    one, two = ratio_parts(gold), ratio_parts(answer)
    if one and len(one) == len(two):
        return _parts(one, two, heavy)
    if formula := formula_for(gold):
        gold = formula
    if formula := formula_for(answer):
        answer = formula
    golds, answers = readings(gold), readings(without_lead(answer))
    if isinstance(golds, Reason) or not golds:
        return Result(False, Reason.WRONG, "text", "")
    with_point = readings(point) if (point := _with_point(answer, golds)) else ()
    if not isinstance(with_point, Reason):
        answers = (with_point or answers) if isinstance(answers, Reason) else answers + with_point
    if isinstance(answers, Reason):
        return Result(False, answers, kind_of(golds[0]), "text")
    if restates(answer) - restates(gold):
        value = evaluated(answer, gold)
        found = readings(value) if value else Reason.RESTATED
        if isinstance(found, Reason):
            return Result(False, Reason.RESTATED, kind_of(golds[0]), kind_of(answers[0]))
        answers = found
    budget = Budget(HEAVY_STEPS if heavy else LIGHT_STEPS)
    values = Values(budget, gold + "\0" + answer, heavy)
    reason = Reason.WRONG
    for left in golds:
        for right in answers:
            judge = Judge(values, answer)
            try:
                if judge.same(left, right):
                    return Result(True, Reason.EQUAL, kind_of(left), kind_of(right))
            except Mismatch as error:
                reason = error.reason if reason is Reason.WRONG else reason
            except Undecided:
                reason = Reason.UNDECIDED
            except (Undefined, NotRational, ZeroDivisionError, OverflowError):
                if reason is Reason.WRONG:
                    reason = Reason.UNDECIDED if contains(left, "opaque") else Reason.MALFORMED
    return Result(False, reason, kind_of(golds[0]), kind_of(answers[0]))


def last_resort_helps(gold: str, result: Result) -> bool:
    """May a computer algebra system say more than this result does?"""
    return result.reason is Reason.UNDECIDED or (result.reason is Reason.WRONG and bool(restates(gold)))


def _parts(golds: list[str], answers: list[str], heavy: bool) -> Result:
    """Ratios, part by part."""
    for one, two in zip(golds, answers, strict=True):
        result = _compare(one, two, heavy)
        if not result.ok:
            return Result(False, result.reason, "ratio", "ratio")
    return Result(True, Reason.EQUAL, "ratio", "ratio")


def _with_point(answer: str, golds: tuple[Node, ...]) -> str | None:
    """The answer with its decimal comma as a point, where the gold is one decimal; None if it has no such comma.

    ``1,500`` is one thousand and five hundred, unless the gold has three decimals itself.
    """
    decimals = {found[1] for node in golds if (found := written_decimal(node))}
    match = _DECIMAL_COMMA.fullmatch(answer) if decimals and "," in answer else None
    if match is None or (len(match[1]) == 3 and 3 not in decimals):
        return None
    return answer.replace("{,}", ".").replace(",", ".")


def _special(gold: str, answer: str) -> Result | None:
    """Equal spelling, words, options, bases, times and ratios; None where the answers have to be read as formulas."""
    spelled = spelling(gold)
    if spelled is not None and spelled and spelled == spelling(answer):
        return Result(True, Reason.EQUAL_TEXT)
    options = gold_options(gold)
    if options is not None:
        chosen = chosen_options(answer, len(options) > 1)
        if chosen is not None:
            same = chosen == options
            return Result(same, Reason.EQUAL if same else Reason.WRONG, "choice", "choice")
        if len(gold.strip()) > 1 and not gold.strip().isalpha():
            return Result(False, Reason.WRONG_KIND, "choice", "")
    based, other = numeral(gold), numeral(answer)
    if based is not None or other is not None:
        left, right = based or bare_numeral(gold), other or bare_numeral(answer)
        if left is not None and right is not None:
            if based is None:
                same = left.digits == right.digits and right.base == 10
            else:
                same = left.digits == right.digits and right.base in (None, left.base)
            return Result(same, Reason.EQUAL if same else Reason.WRONG, "base", "base")
        if based is not None:
            return Result(False, Reason.WRONG_KIND, "base", "")
    parts = ratio(gold)
    if parts is not None:
        given = ratio(answer)
        same = (
            given is not None and parts[:-1] == given[:-1] and (parts[-1] == given[-1] or not (parts[-1] and given[-1]))
        )
        return Result(same, Reason.EQUAL if same else Reason.WRONG, "ratio", "ratio" if given else "")
    if is_wordy(gold) or is_wordy(answer):
        left_words, right_words = words(gold), words(answer)
        if left_words and left_words == right_words:
            return Result(True, Reason.EQUAL_TEXT, "text", "text")
        if is_wordy(gold) and (several := listed_words(gold)) and several == listed_words(answer):
            return Result(True, Reason.EQUAL, "text", "text")
        if is_wordy(gold) and left_words.isalpha() and len(left_words) > 4 and formula_for(gold) is None:
            return Result(False, Reason.WRONG, "text", "text")
    return None
