"""What can be said about two ordinary texts without a model: equal after normalising, equal dates, equal sets, or how
much of their spelling they share. Shared spelling never proves equality on its own: one word can turn a sentence."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import date
from fractions import Fraction

MAX_TEXT = 20_000
GRAMS = (3, 4, 5)

_ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "−": "-"})
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PLAIN = re.compile(
    r"([-+]?)((?:\d{1,3}(?:,\d{3})+|\d{1,100})(?:\.\d{1,100})?|\.\d{1,100})(?:/(\d{1,100}))?\s*(\\?%)?\.?"
)
_ARTICLES = re.compile(r"^(?:the|a|an)\s+")
_LEAD = re.compile(r"^(?:the answer is|it is|it's|it was|this is|answer:)\s+")
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty""".split()  # noqa: SIM905 (a sentence of words reads better than a list)
    )
}
_NEGATIONS = frozenset("not no never none nobody nothing neither nor cannot without hardly".split())  # noqa: SIM905
_FUNCTION_WORDS = frozenset(
    """a an the is are was were be been being has have had do does did will would shall should can could may might must
    of to in on at by for from with as and or it its this that these those which who there then so very""".split()  # noqa: SIM905
)
_MONTHS = """january february march april may june july august september october november
    december""".split()  # noqa: SIM905
_MONTH = {**{m: k for k, m in enumerate(_MONTHS, 1)}, **{m[:3]: k for k, m in enumerate(_MONTHS, 1)}, "sept": 9}
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_MONTH_FIRST = re.compile(r"([a-z]+)\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})")
_DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th)? (?:of )?([a-z]+)\.?,? (\d{4})")


def structured(text: str) -> bool:
    """True when line breaks and indentation carry meaning (programs, tables), so that blanks must not be collapsed."""
    return bool(re.search(r"\n[ \t]+\S", text)) or "```" in text


def normalise_text(text: str) -> str:
    """NFC, zero-width characters dropped, case folded, blanks collapsed; structured text keeps its case and layout."""
    text = unicodedata.normalize("NFC", text).translate(_ZERO_WIDTH)
    if structured(text):
        return "\n".join(line.rstrip() for line in text.strip().splitlines())
    return " ".join(text.casefold().split())


def short_answer(text: str) -> str:
    """A short answer without quotes, closing punctuation, articles and an announcing phrase; number words as digits."""
    text = normalise_text(text).translate(_QUOTES).strip("\"'`.!?;:, ")
    text = _ARTICLES.sub("", _LEAD.sub("", text)).strip("\"'`.!?;:, ")
    return _NUMBER_WORDS.get(text, text)


def plain_number(text: str) -> Fraction | None:
    """The exact value of a number, fraction, percentage or number word; None for anything else.

    >>> plain_number("1,250.50"), plain_number("50 %"), plain_number("twelve")
    (Fraction(2501, 2), Fraction(1, 2), Fraction(12, 1))
    """
    bare = _LEAD.sub("", normalise_text(text)).strip("\"'. ")  # an exclamation mark may be a factorial
    match = _PLAIN.fullmatch(_NUMBER_WORDS.get(bare, bare))
    if match is None:
        return None
    sign, number, divisor, percent = match.groups()
    value = Fraction(number.replace(",", ""))
    if divisor is not None:
        if int(divisor) == 0:
            return None
        value /= int(divisor)
    return value * (-1 if sign == "-" else 1) / (100 if percent else 1)


def parse_date(text: str) -> date | None:
    """A full date written unambiguously (ISO, or with the month as a word); None otherwise."""
    text = normalise_text(text).strip(".")
    try:
        if match := _ISO.fullmatch(text):
            return date(*(int(part) for part in match.groups()))
        if (match := _MONTH_FIRST.fullmatch(text)) and match[1] in _MONTH:
            return date(int(match[3]), _MONTH[match[1]], int(match[2]))
        if (match := _DAY_FIRST.fullmatch(text)) and match[2] in _MONTH:
            return date(int(match[3]), _MONTH[match[2]], int(match[1]))
    except ValueError:
        return None
    return None


def listed(text: str) -> Counter[str] | None:
    """The members of a list in words (between commas, semicolons or "and"), in no order; None for other text."""
    text = short_answer(text)
    if len(text) > 500 or any(char in text for char in "=()[]{}\\\n"):
        return None
    parts = [part.strip() for part in re.split(r"\s*[,;]\s*(?:and\s+)?|\s+and\s+", text)]
    if len(parts) < 2 or not all(parts) or any(len(part.split()) > 3 for part in parts):
        return None
    return Counter(parts)


def words(text: str) -> list[str]:
    """Words of a text in lower case, with contractions of "not" spelt out and number words as digits."""
    text = normalise_text(text).translate(_QUOTES)
    text = re.sub(r"\bcan't\b|\bcannot\b", "can not", text).replace("won't", "will not")
    text = re.sub(r"n't\b", " not", text)
    return [_NUMBER_WORDS.get(word, word) for word in _WORD.findall(text)]


def numbers(text: str) -> Counter[str]:
    """The numbers in a text, digits or words."""
    return Counter(_NUMBER.findall(" ".join(words(text))))


def negations(text: str) -> int:
    """How many words negate."""
    return sum(word in _NEGATIONS for word in words(text))


def content_words(text: str) -> Counter[str]:
    """Words that carry the content, function words left out."""
    return Counter(word for word in words(text) if word not in _FUNCTION_WORDS)


def grams(text: str) -> Counter[str]:
    """Character n-grams (3 to 5) of each word, word borders included."""
    found: Counter[str] = Counter()
    for word in words(text[:MAX_TEXT]):
        padded = f" {word} "
        for size in GRAMS:
            found.update(padded[k : k + size] for k in range(max(len(padded) - size + 1, 1)))
    return found


def inverse_frequencies(corpus: Sequence[str]) -> dict[str, float]:
    """Smoothed inverse document frequency of the n-grams of some texts (of the group, for example)."""
    counts: Counter[str] = Counter()
    for text in corpus:
        counts.update(set(grams(text)))
    return {gram: math.log((1 + len(corpus)) / (1 + count)) + 1 for gram, count in counts.items()}


def cosine(first: str, second: str, idf: dict[str, float] | None = None) -> float:
    """Cosine of character n-gram TF-IDF vectors, with logarithmic term counts; 1 for equal texts."""
    idf = idf or {}
    vectors = []
    for text in (first, second):
        vectors.append({gram: (1 + math.log(count)) * idf.get(gram, 1.0) for gram, count in grams(text).items()})
    a, b = vectors
    norm = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
    return sum(value * b.get(gram, 0.0) for gram, value in a.items()) / norm if norm else float(not a and not b)
