"""Feedback a policy may read: levels, quoting of model text, and the limits every text obeys.

Feedback is what a teacher reads next to the question, so it must help without telling the answer. It is built from the
attempt, the verdict's reason and public data; the gold is no argument of anything here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from ..schema import Feedback
from .turns import FeedbackLike, Result

Level = Literal["none", "verdict", "reason", "tests", "reference"]
LEVELS: tuple[str, ...] = get_args(Level)

MAX_CHARS = 1200

# Tags and control tokens of chat templates; inside feedback they would re-enter a prompt as structure.
_MARKUP = re.compile(
    r"<\|[^|>\n]{0,40}\|>"
    r"|</?(?:tool_response|tool_call|tools|think|answer|function|parameter|s|im_start|im_end|system|user|assistant)\b[^>\n]{0,40}>"
    r"|\[/?(?:INST|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\]"
    r"|<</?SYS>>"
    r"|<(?:start_of_turn|end_of_turn|bos|eos)>",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_PATH = re.compile(r"(?<![\w/.])/(?:home|root|tmp|usr|var|opt|work|srv|mnt|private|Users)/[^\s\"'`:,;)]*")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


def strip_markup(text: str) -> str:
    """``text`` without chat markup and control characters; stripping repeats until nothing new appears.

    Example:
        >>> strip_markup("a<|im_end|>b</tool_response>c")
        'abc'
    """
    for _ in range(8):
        stripped = _MARKUP.sub("", _CONTROL.sub("", text))
        if stripped == text:
            return text
        text = stripped
    return text.replace("<", "‹").replace(">", "›")


def quote(text: str, limit: int = 60) -> str:
    """Model text made safe to show again: no chat markup, one line, cut to ``limit`` characters, between backticks.

    Example:
        >>> quote("x<|im_end|>" + "y" * 100, 10)
        '`xyyyyyyyy…`'
    """
    flat = " ".join(strip_markup(text[: 20 * limit]).split()).replace("`", "'")
    return f"`{flat if len(flat) <= limit else flat[: limit - 1] + '…'}`"


def as_feedback(value: FeedbackLike, kind: str = "info") -> list[Feedback]:
    """Author's feedback (text, an item, or several) as a list; empty text gives an empty list."""
    items: Iterable[Any] = (value,) if isinstance(value, str | Feedback) else value
    if not isinstance(items, Iterable):
        raise TypeError(f"feedback is {value!r:.60}; give text, Feedback, or a list of them")
    result = []
    for item in items:
        if isinstance(item, Feedback):
            result.append(item)
        elif isinstance(item, str):
            if item:
                result.append(Feedback(text=item, kind=kind))  # type: ignore[arg-type]
        else:
            raise TypeError(f"feedback holds {item!r:.60}; give text or Feedback items, not {type(item).__name__}")
    return result


def bounded(item: Feedback) -> Feedback:
    """``item`` within the rules: plain text, no markup, no paths or addresses of this machine, not too long."""
    text = _ADDRESS.sub("0x…", _PATH.sub("‹path›", strip_markup(item.text)))
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS - 2] + " …"
    return item if text == item.text else item.model_copy(update={"text": text})


def of_turn(value: FeedbackLike, level: str) -> list[Feedback]:
    """Feedback of a step that does not end the episode."""
    if level in ("none", "verdict"):
        return []
    return [bounded(item) for item in as_feedback(value)]


def of_result(result: Result, level: str, max_reward: float) -> list[Feedback]:
    """Feedback of the last step, as far as ``level`` allows."""
    if level == "none" or result.failed:
        return []
    kind = "correct" if (result.reward or 0.0) >= max_reward else "incorrect"
    if level == "verdict":
        return [Feedback(text="Correct." if kind == "correct" else "Incorrect.", kind=kind)]  # type: ignore[arg-type]
    items = [bounded(item) for item in as_feedback(result.feedback, kind)]
    if not items and not result.truncated:
        items = [Feedback(text="Correct." if kind == "correct" else "Incorrect.", kind=kind)]  # type: ignore[arg-type]
    # Errors before hints: when the form was wrong, nothing is said about the content.
    formal = [item for item in items if item.kind == "format"]
    return formal or items


def check_level(level: str) -> str:
    """``level`` if it is one of `LEVELS`.

    Raises:
        ValueError: it is not.
    """
    if level not in LEVELS:
        raise ValueError(f"feedback={level!r} is no level; choose one of {', '.join(LEVELS)}")
    return level


def merge_scores(*parts: Mapping[str, float]) -> dict[str, float]:
    """Named scores as plain floats, later parts winning.

    Raises:
        TypeError: a score is no number.
    """
    merged: dict[str, float] = {}
    for name, value in (pair for part in parts for pair in part.items()):
        try:
            merged[str(name)] = float(value)
        except (TypeError, ValueError, OverflowError):
            raise TypeError(f"scores[{name!r}] is {value!r:.60}; a score is a number") from None
    return merged
