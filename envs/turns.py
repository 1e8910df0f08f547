"""What an environment says: `Ask` (the next turn) or `Result` (the end), and the opaque `Gold`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ..schema import Feedback, Message, StopReason, clean_text

FeedbackLike = str | Feedback | Sequence["str | Feedback"]


@dataclass(frozen=True)
class Ask:
    """What the policy sees next; the environment then waits for its reply.

    Attributes:
        text: a user message, or chat messages (`Message` or dicts).
        tools: typed Python functions (or `Tool`) the policy may call in this turn; the calls are parsed, checked, run
            and answered before the environment sees a reply that is not a call.
        feedback: what the policy may read about its last reply.
        reward: reward of the step that leads here.
        reason: machine-readable word for what happened.
        scores: named numbers of this step.
        info: further entries of the step's ``info``.

    Example:
        >>> Ask("Guess.").text
        'Guess.'
    """

    text: str | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]
    tools: Sequence[Any] = ()
    feedback: FeedbackLike = ()
    reward: float = 0.0
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", _finite(self.reward))
        if callable(self.tools) or not isinstance(self.tools, Sequence):
            raise TypeError(f"Ask(tools={self.tools!r:.60}): give a list of functions, e.g. tools=[search]")

    def messages(self) -> list[dict[str, Any]]:
        """The turn as fresh message dicts."""
        parts = [self.text] if isinstance(self.text, str | Message | Mapping) else self.text
        if not isinstance(parts, Sequence) or not parts:
            raise TypeError(f"a prompt must be text or chat messages, not {type(parts).__name__}: {str(parts)[:60]!r}")
        return [_message(part) for part in parts]


@dataclass(frozen=True)
class Result:
    """The end of an episode.

    ``reward=None`` says that the environment or its grader failed: the step then returns ``nan``, ``truncated=True``
    and ``info["error"]``. A wrong or malformed answer is not such a failure; it has a reward (usually 0) and a reason.

    Attributes:
        reward: the reward of the last step, or None.
        feedback: text, or `Feedback` items, about the attempt; never the answer.
        reason: machine-readable word: ``correct``, ``wrong_value``, ``not_an_expression`` ...
        scores: named numbers (parts of the reward, metrics of the attempt).
        error: what failed, when ``reward`` is None.
        truncated: the episode was cut off by a limit and did not end by its own rules.
        stop: why it ended; by default ``finished``, or ``env_error`` when ``reward`` is None.
        info: further entries of the step's ``info``.

    Example:
        >>> Result(0.0, "Incorrect value.", "wrong_value").stop_reason
        <StopReason.FINISHED: 'finished'>
    """

    reward: float | None
    feedback: FeedbackLike = ()
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    truncated: bool = False
    stop: StopReason | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", _number(self.reward, "Result"))
        if not isinstance(self.feedback, str | Feedback | list | tuple):
            raise TypeError(
                f"Result(feedback={self.feedback!r:.60}): feedback is text, Feedback, or a list of them ('' for none)"
            )

    @property
    def failed(self) -> bool:
        """Whether the environment or grader failed, so that there is no reward."""
        return self.reward is None or not math.isfinite(self.reward)

    @property
    def stop_reason(self) -> StopReason:
        """Why the episode ended."""
        if self.stop is not None:
            return self.stop
        return StopReason.ENV_ERROR if self.failed else StopReason.FINISHED


class Gold:
    """An answer in an opaque wrapper: it prints as ``<gold>``, so it cannot slip into feedback by formatting.

    Only verifiers call :meth:`reveal`. Functions that write feedback do not receive a gold at all.

    Example:
        >>> f"{Gold(42)} {Gold(42)!r}"
        '<gold> <gold>'
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value: Any = value.reveal() if isinstance(value, Gold) else value

    def reveal(self) -> Any:
        """The wrapped answer."""
        return self._value

    def __repr__(self) -> str:
        return "<gold>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "<gold>"

    def __reduce__(self) -> Any:
        raise TypeError("a Gold is not pickled: the answer stays in the process that grades")


def as_ask(value: Any) -> Ask:
    """What an author yielded or returned for a turn, as an `Ask`.

    Raises:
        TypeError: ``value`` is not text, messages or an `Ask`.
    """
    if isinstance(value, Ask):
        return value
    if isinstance(value, str | Message | Mapping) or (isinstance(value, list | tuple) and value):
        return Ask(value)
    hint = ""
    if inspect.isgenerator(value):
        hint = "; a method that yields is no reply: return the turn, or write a generator function with @palaestra.env"
    elif value is None:
        hint = "; nothing was yielded or returned"
    elif isinstance(value, bool | int | float):
        hint = "; a reward is returned, not yielded"
    raise TypeError(
        f"a turn must be text, chat messages or palaestra.Ask(...), not {type(value).__name__}: "
        f"{str(value)[:80]!r}{hint}"
    )


def as_result(value: Any, where: str = "the environment") -> Result:
    """What an author returned at the end: a number, ``(reward, feedback)`` or a `Result`.

    Args:
        value: the returned object. None as the reward means that the grader failed.
        where: named in the error.

    Raises:
        TypeError: ``value`` has another shape.
    """
    if isinstance(value, Result):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        reward, feedback = value
        if isinstance(feedback, str | Feedback | list | tuple):
            return Result(_number(reward, where), feedback)
        raise TypeError(
            f"{where} gave feedback of type {type(feedback).__name__}: {str(feedback)[:60]!r}; feedback is text, "
            "Feedback, or a list of them ('' for none)"
        )
    if value is not None and not isinstance(value, tuple):
        return Result(_number(value, where), ())
    what = "None (is a `return` missing?)" if value is None else repr(str(value)[:80])
    raise TypeError(f"{where} ended with {what}; return a reward, (reward, feedback) or palaestra.Result(...)")


def is_ending(value: Any) -> bool:
    """Whether an author's return value ends the episode (a number, ``(number, feedback)`` or a `Result`)."""
    if isinstance(value, Result):
        return True
    if isinstance(value, tuple) and len(value) == 2:
        value = value[0]
    return not isinstance(value, str) and (
        value is None or isinstance(value, bool | int | float) or hasattr(value, "item")
    )


def _number(reward: Any, where: str) -> float | None:
    if reward is None:
        return None
    try:
        if isinstance(reward, str):
            raise TypeError
        return float(reward)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"{where} gave the reward {str(reward)[:60]!r} ({type(reward).__name__}); a reward is a finite number, or "
            "None if grading failed"
        ) from None


def _finite(reward: Any) -> float:
    number = _number(reward, "Ask(reward=...)")
    if number is None or not math.isfinite(number):
        raise TypeError(f"Ask(reward={reward!r}): the reward of a step that goes on is a finite number (0 for none)")
    return number


def _message(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return {"role": "user", "content": clean_text(part)}
    if not isinstance(part, Message | Mapping):
        raise TypeError(
            f"a message must be text or {{'role', 'content'}}, not {type(part).__name__}: {str(part)[:60]!r}"
        )
    try:
        return (part if isinstance(part, Message) else Message(**dict(part))).to_dict()
    except ValidationError as error:
        first = error.errors()[0]
        raise TypeError(
            f"the message {str(part)[:60]!r} has a bad {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None


Verify = Callable[[str], Any]
