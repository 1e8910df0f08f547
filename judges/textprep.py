"""Text of unknown origin on its way into a judge prompt: gate, length budget, defused delimiters, suspicion flags."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from ..schema import Message

TOOL_SHARE = 0.25  # of a response's budget, at most, goes to tool output once something has to be cut

# Look-alikes of chat-template control tokens: <|im_start|>, </s>, [INST], <<SYS>>, <start_of_turn>, fullwidth bars too.
_SPECIAL = re.compile(
    r"<[|｜][^<>\n]{0,60}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|<\|?(?:bos|eos|pad|eot)\|?>", re.I
)
_DELIMITER = re.compile(r"\[\[\s*(BEGIN|END)\b", re.I)
_SUSPECT = re.compile(
    r"(?:ignore|disregard|forget)\s+(?:\w+\s+){0,4}(?:instruction|rubric|rule|prompt|above|previous)"
    r"|(?:give|award|assign)\s+(?:me|this|it)\s+(?:\w+\s+){0,4}(?:\d+|full|maximum|highest|top|perfect)"
    r"|you are (?:now )?(?:the|a) (?:judge|grader|evaluator)"
    r"|\bresponse\s+[A-D1-4]\s+is\s+(?:wrong|worse|better|incorrect)"
    r'|"(?:winner|score|scores|score_1|verdict)"\s*:',
    re.I,
)
# Phrases that open reasoning but say nothing; strong judges are known to reward them on their own.
_EMPTY_OPENERS = {
    "thought process", "solution", "let's solve this problem step by step", "step by step", "answer", "final answer",
    "reasoning", "response", "output", "the answer is", "sure", "here is the solution",
}  # fmt: skip


def content_words(text: str) -> list[str]:
    """Words, numbers and single symbols of mathematics in a text; punctuation alone gives none."""
    return [word for word in re.findall(r"\w+|[^\w\s]", text) if any(_says_something(c) for c in word)]


def _says_something(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Sm" or category == "So"


def gate(text: str, min_chars: int = 1) -> str | None:
    """Why a response need not be shown to a judge, or None when it must be.

    A response that is empty, shorter than ``min_chars``, without a content word, or only an opener like "Thought
    process:" is given the lowest score without a call.
    """
    stripped = text.strip()
    if not stripped:
        return "empty response"
    if len(stripped) < min_chars:
        return f"shorter than {min_chars} characters"
    if not content_words(stripped):
        return "no content words"
    if re.sub(r"[\s:.,!*#_`>-]+", " ", stripped).strip().casefold() in _EMPTY_OPENERS:
        return "only an opening phrase"
    return None


def suspicion_flags(text: str) -> list[str]:
    """Signs that a text talks to the judge. They are reported and change no score."""
    flags = []
    if _SUSPECT.search(text):
        flags.append("injection_suspected")
    if _DELIMITER.search(text):
        flags.append("delimiter_lookalike")
    if _SPECIAL.search(text):
        flags.append("special_tokens")
    if "\ufffd" in text:
        flags.append("replacement_character")
    if any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI") for c in text):
        flags.append("bidi_control")
    return flags


def defuse(text: str) -> str:
    """Break look-alikes of delimiters and control tokens with a word joiner: they read the same and do nothing."""
    text = _DELIMITER.sub(lambda m: "[\u2060[" + m.group(0)[2:], text)
    return _SPECIAL.sub(lambda m: m.group(0)[0] + "\u2060" + m.group(0)[1:], text)


def nonce_of(*parts: str) -> str:
    """A delimiter word that no part can contain, since it is made from all of them (and the same on every replay)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Fitted:
    """A text within its budget, with the number of characters of the original that were kept."""

    text: str
    truncated: bool
    kept_chars: int


def fit(text: str, budget: int) -> Fitted:
    """Keep the head and the end of a text (where the final answer stands) and say what was left out of the middle.

    Args:
        text: any text.
        budget: most characters of it to keep.
    """
    if len(text) <= budget:
        return Fitted(text, False, len(text))
    answer = final_answer_line(text)
    tail = min(budget, max(budget * 2 // 3, 0))
    head = budget - tail
    kept_tail = text[len(text) - tail :] if tail else ""
    note = ""
    if answer and answer not in kept_tail and answer not in text[:head] and len(answer) <= budget // 2:
        # The answer stands in the part that would go: keep its line and give up as much of the tail.
        tail -= len(answer)
        kept_tail = text[len(text) - tail :] if tail > 0 else ""
        note = f"\n{answer}\n[...]"
        kept = head + tail + len(answer)
    else:
        kept = head + tail
    marker = f"\n[... {len(text) - kept} of {len(text)} characters left out ...]{note}\n"
    return Fitted(text[:head] + marker + kept_tail, True, kept)


def fit_response(response: str | tuple[Message, ...], budget: int) -> Fitted:
    """`fit` for a response that may be a conversation: tool output is cut before anything the policy wrote."""
    if isinstance(response, str):
        return fit(response, budget)
    rows = [(m.role, m.text) for m in response]
    total = sum(len(text) for _, text in rows)
    cut = 0
    tool_total = sum(len(text) for role, text in rows if role == "tool")
    if total > budget and tool_total:
        share = max(int(budget * TOOL_SHARE), budget - (total - tool_total)) / tool_total
        fitted = [
            (role, fit(text, int(len(text) * min(1.0, share))) if role == "tool" else None) for role, text in rows
        ]
        cut = sum(len(rows[i][1]) - f.kept_chars for i, (_, f) in enumerate(fitted) if f is not None)
        rows = [(role, f.text if f is not None else rows[i][1]) for i, (role, f) in enumerate(fitted)]
    text = rows[0][1] if len(rows) == 1 else "\n\n".join(f"{role}: {text}" for role, text in rows)
    whole = fit(text, max(budget, 0))
    return Fitted(whole.text, whole.truncated or cut > 0, whole.kept_chars)


_ANSWER_LINE = re.compile(r"^.*(?:\\boxed\{|final answer\b|####|the answer is\b).*$", re.I | re.M)


def final_answer_line(text: str) -> str | None:
    """The last line that announces an answer, or None."""
    found = None
    for found in _ANSWER_LINE.finditer(text):  # noqa: B007  only the last one is wanted
        pass
    return found.group(0) if found else None
