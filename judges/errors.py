"""What a judge client raises when a whole request fails. What fails for one item is that item's status instead."""

from __future__ import annotations

from typing import Any

from ..schema import RewardStatus


class JudgeError(Exception):
    """Base of all judge errors.

    Attributes:
        code: short machine-readable cause.
        retryable: whether the same request may succeed later.
        details: what the server said about it.
        status: the status the items of the request get when the caller carries on without them.
    """

    code = "judge_error"
    retryable = False
    status = RewardStatus.UPSTREAM_ERROR

    def __init__(self, message: str, *, code: str | None = None, details: Any = None):
        super().__init__(message)
        self.code = code or self.code
        self.details = details


class JudgeUnavailable(JudgeError):
    """The judge server cannot be reached, is draining, or has no judge to offer."""

    code = "unavailable"
    retryable = True


class JudgeTimeout(JudgeError):
    """The judge server did not answer within the deadline."""

    code = "timeout"
    retryable = True
    status = RewardStatus.TIMEOUT


class JudgeAuthError(JudgeError):
    """The token is missing, wrong, or without the scope this needs."""

    code = "auth"


class JudgeRequestError(JudgeError):
    """The request is wrong: unknown judge or rubric, schema violation, too large."""

    code = "invalid_request"
    status = RewardStatus.INVALID_INPUT


class JudgeProtocolError(JudgeError):
    """The reply does not follow the schema; probably something else listens there."""

    code = "protocol"
