"""Where the answer is: boxes, answer tags, ``####`` and "the answer is", in that order, in linear time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .units import without_remark
from .verdict import Reason

TAIL = 64 * 1024  # only the end of a response can hold its final answer
MAX_BOXES = 50
MAX_JOINER = 60

_THINK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_BOX = re.compile(r"\\f?box(?:ed)?(?![A-Za-z])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\s*([-+]?\d[\d.,]*\d|[-+]?\d|\\?[A-Za-z]+)")
_ANSWER_TAG = re.compile(r"<answer>|</answer>", re.IGNORECASE)
_ANCHOR = re.compile(
    r"\b(?:answer[\s*_]{0,4}(?:is\b|:)|(?:option|choice)[\s*_]{0,4}is\b)[\s*_]{0,4}:?[\s*_]{0,4}", re.IGNORECASE
)
_JOINER_NOISE = re.compile(r"\\[()\[\],;:! ]|\\q?quad|\\text(?:bf|rm)?|[\s${}*~]")
_JOINERS = re.compile(r"(?:,|;|and|or)*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?=\s|$)")
_REASON_GIVEN = re.compile(r",?\s+(?:because|since)\b|,\s+(?:which|where|i\.e\.|that is)(?!\w)", re.IGNORECASE)
_ADVERB = re.compile(
    r"(?:(?:thus|therefore|hence|then|clearly|indeed|simply|just|exactly|precisely|equal to|given by)[\s:,]+)+",
    re.IGNORECASE,
)
_DISPLAY = (("$$", "$$"), ("\\[", "\\]"))
_MATHS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))
_MORE = re.compile(r"[\s*]*(?:,|;|or\b|and\b|maybe\b|perhaps\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Extracted:
    """An answer text, or the reason why there is none."""

    text: str | None
    reason: Reason = Reason.NO_ANSWER


def outside_thoughts(text: str) -> str:
    """Drop ``<think>`` blocks; an opening tag that never closes hides the rest, a stray closing tag what precedes."""
    if "think" not in text and "THINK" not in text and "Think" not in text:
        return text
    kept: list[str] = []
    start = depth = 0
    for match in _THINK.finditer(text):
        if match[1]:
            if depth == 0:
                kept = []
            start, depth = match.end(), 0
        elif depth == 0:
            kept.append(text[start : match.start()])
            depth = 1
    if depth == 0:
        kept.append(text[start:])
    return "\n".join(kept)


def _closing_brace(text: str, start: int) -> int:
    """Index of the brace that closes the one at ``start``, or -1."""
    depth = 0
    for match in _BRACE.finditer(text, start):
        mark = match[0]
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return -1


def _boxes(text: str) -> tuple[list[tuple[int, int, str]], bool]:
    """Complete outermost boxes as (start, end, content), and whether one was left open."""
    if "box" not in text:
        return [], False
    starts = list(_BOX.finditer(text))[-MAX_BOXES:]
    found: list[tuple[int, int, str]] = []
    end, unterminated = 0, False
    for match in starts:
        if match.start() < end:
            continue
        brace = match.end()
        while brace < len(text) and text[brace] in " \t\n":
            brace += 1
        if brace < len(text) and text[brace] == "{":
            close = _closing_brace(text, brace)
            if close < 0:
                unterminated = True
                continue
            found.append((match.start(), close + 1, text[brace + 1 : close]))
            end = close + 1
        elif bare := _BARE_BOX.match(text, match.end()):
            found.append((match.start(), bare.end(), bare[1].rstrip(".,")))
            end = bare.end()
    return found, unterminated


def _joined(between: str) -> bool:
    return len(between) <= MAX_JOINER and _JOINERS.fullmatch(_JOINER_NOISE.sub("", between)) is not None


def _from_boxes(text: str) -> Extracted | None:
    found, unterminated = _boxes(text)
    filled = [box for box in found if box[2].strip()]
    if not filled:
        if unterminated:
            return Extracted(None, Reason.UNTERMINATED_BOX)
        return Extracted(None, Reason.EMPTY_ANSWER) if found else None
    last = len(filled) - 1
    first = last
    while first > 0 and _joined(text[filled[first - 1][1] : filled[first][0]]):
        first -= 1
    contents = [content.strip() for _, _, content in filled[first:]]
    return Extracted(contents[0] if len(set(contents)) == 1 else ", ".join(contents))


def _from_tags(text: str) -> Extracted | None:
    tags = list(_ANSWER_TAG.finditer(text))
    for opening, closing in zip(tags[-2::-1], tags[:0:-1], strict=True):
        if not opening[0].startswith("</") and closing[0].startswith("</"):
            content = text[opening.end() : closing.start()].strip()
            if content:
                return Extracted(content)
    return None


def _from_hashes(text: str) -> Extracted | None:
    at = text.rfind("####")
    content = text[at + 4 :].lstrip("# \t").split("\n", 1)[0].strip() if at >= 0 else ""
    return Extracted(content) if content else None


def _from_anchor(text: str) -> Extracted | None:
    match = None
    for match in _ANCHOR.finditer(text):  # noqa: B007  (the last one counts)
        pass
    if match is None:
        return None
    rest = text[match.end() :].lstrip()
    if adverb := _ADVERB.match(rest):
        rest = rest[adverb.end() :]
    display = next((marks for marks in _DISPLAY if rest.startswith(marks[0])), None)
    if display and (close := rest.find(display[1], 2)) > 0:
        rest = rest[: close + 2].replace("\n", " ") + rest[close + 2 :]
    rest = rest.split("\n", 1)[0].strip(" *_\t")
    for opening, closing in _MATHS:
        if rest.startswith(opening):
            close = rest.find(closing, len(opening))
            if close > 0 and not _MORE.match(rest, close + len(closing)):
                return Extracted(rest[len(opening) : close].strip() or None)
            break
    for end in (_REASON_GIVEN, _SENTENCE_END):
        cut = end.search(rest)
        rest = rest[: cut.start()] if cut else rest
    rest = rest.strip(" *_\t\"'`")
    rest = without_remark(rest).strip() or rest
    return Extracted(rest) if rest else None


def last_box(text: str) -> str | None:
    r"""The content of the last complete box with something in it; None if there is none.

    >>> last_box(r"\boxed{1}, so \fbox{\frac{1}{2}}"), last_box(r"\boxed 7"), last_box("7")
    ('\\frac{1}{2}', '7', None)
    """
    filled = [content.strip() for _, _, content in _boxes(text)[0] if content.strip()]
    return filled[-1] if filled else None


def extract(response: str) -> Extracted:
    r"""Find the answer a response commits to.

    Outside ``<think>`` blocks: the last complete ``\boxed{}`` (boxes joined by commas, "and" or "or" form one
    collection), else ``<answer>`` tags, else ``#### x``, else what follows the last "answer is", "answer:",
    "option is" or "choice is". Nothing else counts.

    Args:
        response: the whole text of a model; only its last 64 KiB are looked at.

    Returns:
        The answer text, or None with the reason.

    >>> extract(r"so \boxed{3} and \boxed{5}").text
    '3, 5'
    """
    text = outside_thoughts(response[-TAIL:])
    boxed = _from_boxes(text)
    if boxed is not None and boxed.text is not None:
        return boxed
    found = _from_tags(text) or _from_hashes(text) or _from_anchor(text)
    return found or boxed or Extracted(None)
