"""Feedback on a maths answer, from the attempt and the verdict's reason; the gold answer is no argument here."""

from __future__ import annotations

from ...schema import Feedback
from ..feedback import quote
from .verdict import Reason, Verdict

_TEXT: dict[Reason, tuple[str, str]] = {
    Reason.NO_ANSWER: ("format", "No final answer found. Put it in \\boxed{}."),
    Reason.UNTERMINATED_BOX: ("format", "No complete \\boxed{} answer found; the last box was cut off."),
    Reason.EMPTY_ANSWER: ("format", "The final answer is empty."),
    Reason.MALFORMED: ("format", "Answer {answer} cannot be read as a value."),
    Reason.TOO_LARGE: ("format", "The answer is too long or too large to be evaluated; simplify it."),
    Reason.RESTATED: ("format", "Answer {answer} restates a task; evaluate it."),
    Reason.TIMEOUT: ("timeout", "The answer takes too long to evaluate; simplify it."),
    Reason.WRONG_KIND: ("incorrect", "Answer {answer} was read as {kind}; the question asks for something else."),
    Reason.COUNT: ("incorrect", "Answer {answer} does not have as many values as the question asks for."),
    Reason.UNITS: ("incorrect", "Incorrect value or unit."),
    Reason.INEXACT: ("incorrect", "Given as a decimal; give an exact value."),
    Reason.UNDECIDED: ("incorrect", "The answer could not be compared; write it in a simpler form."),
}
_ARTICLES = {
    "expression": "an expression", "interval": "an interval", "equation": "an equation", "inequality": "an inequality",
    "text": "text", "": "text",
}  # fmt: skip


def explain(verdict: Verdict) -> Feedback:
    r"""What a policy may read about its answer.

    Args:
        verdict: the outcome of `verify`.

    Returns:
        One feedback item, built from the verdict's reason and the answer as the policy wrote it.
    """
    if verdict.ok:
        return Feedback(text="Correct.", kind="correct")
    kind, text = _TEXT.get(verdict.reason, ("incorrect", "Incorrect value."))
    shown = quote(verdict.extracted or "", 40)
    shape = _ARTICLES.get(verdict.pred_kind, f"a {verdict.pred_kind}")
    return Feedback(text=text.replace("{kind}", shape).replace("{answer}", shown), kind=kind)  # type: ignore[arg-type]
