"""Do two answers say the same? Cheap exact tests first, and "unknown" where none of them can tell.

The tiers, in order: Python programs with the same normal form; equal text after normalising; dates; plain numbers,
fractions and percentages; mathematics (the verifier of the environments: units, expressions, sets, intervals); short
answers without their wrapping; lists in words; and last the spelling of whole texts, which can only say "same" when
nothing but function words and inflection differ, and "different" when nearly nothing is shared.

This is not a judge of meaning. Unknown pairs are for a model to decide, or get weight 0 in correlation clustering.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from . import equivalence_text as text_tier
from .equivalence_code import looks_like_code, normal_form

Verdict = Literal["same", "different", "unknown"]
MAX_MATHS = 2_000
_MATHS = re.compile(r"[\d\\=+*/^<>()\[\]{}|]|\s-\s|^-")  # words alone are not mathematics, even if they parse
_ABBREVIATION = re.compile(r"(?:[A-Z]\.?){2,6}")  # shares no spelling with what it stands for
_TEXT_KINDS = {"", "text"}
_DECISIVE = {"wrong", "wrong_kind", "count", "units", "inexact"}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Cosines of the spelling tier; chosen on one half of the golden pairs and reported on the other.

    Attributes:
        same: at least this, with the guards, is "same".
        different: below this is "different".
    """

    same: float = 0.80
    different: float = 0.15


@dataclass(frozen=True, slots=True)
class Equivalence:
    """The verdict, the tier that gave it, and the cosine where that tier was reached."""

    verdict: Verdict
    tier: str
    score: float | None = None

    @property
    def p_same(self) -> float | None:
        """1, 0, or None for unknown, as partition wants it."""
        return {"same": 1.0, "different": 0.0}.get(self.verdict)


def equivalent(
    first: str, second: str, thresholds: Thresholds | None = None, corpus: Sequence[str] | None = None
) -> Equivalence:
    """Compare two answers.

    Args:
        first: one answer, not a whole response with its reasoning.
        second: the other one.
        thresholds: of the spelling tier.
        corpus: texts to take n-gram frequencies from (the group); default: all n-grams count the same.

    Returns:
        The verdict. The order of the two does not matter; nothing in them raises an exception or is executed.

    >>> equivalent("x = 5", "x = 6").verdict, equivalent("1/2", "50%").verdict
    ('different', 'same')
    """
    first, second = sorted((first, second))
    if looks_like_code(first) or looks_like_code(second):
        one, two = normal_form(first), normal_form(second)
        if one is not None and two is not None:
            return Equivalence("same" if one == two else "unknown", "code")
        return Equivalence("same" if first.strip() == second.strip() else "unknown", "code")
    if text_tier.normalise_text(first) == text_tier.normalise_text(second):
        return Equivalence("same", "text")
    day, other = text_tier.parse_date(first), text_tier.parse_date(second)
    if day is not None and other is not None:
        return Equivalence("same" if day == other else "different", "date")
    number, number_other = text_tier.plain_number(first), text_tier.plain_number(second)
    if number is not None and number_other is not None:
        return Equivalence("same" if number == number_other else "different", "number")
    maths = _maths(first, second)
    if maths is not None:
        return Equivalence(maths, "maths")
    short, short_other = text_tier.short_answer(first), text_tier.short_answer(second)
    if short and short == short_other:
        return Equivalence("same", "short_answer")
    members, members_other = text_tier.listed(first), text_tier.listed(second)
    if members is not None and members_other is not None:
        return Equivalence("same" if members == members_other else "different", "list")
    return _spelling(first, second, thresholds or Thresholds(), corpus)


def _maths(first: str, second: str) -> Verdict | None:
    """Verdict of the mathematics verifier; None unless both texts are mathematics and it could decide."""
    if max(len(first), len(second)) > MAX_MATHS or not (_MATHS.search(first) and _MATHS.search(second)):
        return None
    from ..envs.verify import PoolError, equal  # imported here: judges that never meet mathematics start faster

    try:
        results = [equal(first, second)]
        if _TEXT_KINDS & {results[0].gold_kind, results[0].pred_kind}:
            return None
        results.append(equal(second, first))
    except PoolError:
        return None
    if results[0].ok != results[1].ok:  # "10" for the gold "10%" is lenient grading, not equivalence
        return "unknown"
    if results[0].ok:
        return "same"
    return "different" if all(result.reason in _DECISIVE for result in results) else None


def _spelling(first: str, second: str, thresholds: Thresholds, corpus: Sequence[str] | None) -> Equivalence:
    if max(len(first), len(second)) > text_tier.MAX_TEXT:
        return Equivalence("unknown", "too_long")
    score = text_tier.cosine(first, second, text_tier.inverse_frequencies(corpus) if corpus else None)
    if text_tier.numbers(first) != text_tier.numbers(second):
        return Equivalence("different" if score < thresholds.different else "unknown", "spelling", score)
    if score < thresholds.different:
        abbreviated = any(_ABBREVIATION.fullmatch(text.strip()) for text in (first, second))
        return Equivalence("unknown" if abbreviated else "different", "spelling", score)
    if score >= thresholds.same and _nothing_but_form(first, second):
        return Equivalence("same", "spelling", score)
    return Equivalence("unknown", "spelling", score)


def _nothing_but_form(first: str, second: str) -> bool:
    """True when the same content words appear in the same order and the texts negate equally often."""
    if text_tier.negations(first) != text_tier.negations(second):
        return False
    ordered = [[w for w in text_tier.words(t) if w in text_tier.content_words(t)] for t in (first, second)]
    return ordered[0] == ordered[1]
