"""What the verifier says: one small result and the closed list of reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """Why a verdict came out as it did. Feedback is built from this and never from the gold answer."""

    EQUAL = "equal"
    EQUAL_TEXT = "equal_text"
    NO_ANSWER = "no_answer"
    UNTERMINATED_BOX = "unterminated_box"
    EMPTY_ANSWER = "empty_answer"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    RESTATED = "restated"
    WRONG_KIND = "wrong_kind"
    COUNT = "count"
    UNITS = "units"
    INEXACT = "inexact"
    INCONSISTENT = "inconsistent"
    UNDECIDED = "undecided"
    TIMEOUT = "timeout"
    WRONG = "wrong"


@dataclass(frozen=True)
class Verdict:
    """The result of one verification; true exactly when the answer is right.

    Attributes:
        ok: whether the response's committed answer equals the gold answer.
        reason: why, as a value of the closed list `Reason`.
        extracted: the answer text found in the response, or None.
        gold_kind: shape of the gold answer (``number``, ``set``, ``interval``, ...), "" if it was never parsed.
        pred_kind: shape of the response's answer, "" if it was never parsed.
        seconds: wall time spent; for measurement only, no verdict depends on it.
    """

    ok: bool
    reason: Reason
    extracted: str | None = None
    gold_kind: str = ""
    pred_kind: str = ""
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return self.ok

    def to_dict(self) -> dict[str, Any]:
        """Plain data for logs and JSON."""
        return asdict(self)


class Unreadable(ValueError):
    """Text that is not an answer in any notation the verifier knows; carries the reason."""

    def __init__(self, reason: Reason = Reason.MALFORMED, detail: str = "") -> None:
        super().__init__(detail or reason.value)
        self.reason = reason
