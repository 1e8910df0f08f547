"""Rubrics: named weighted criteria, each judged by a model or checked by a program."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Criterion(BaseModel):
    """One question about a response.

    Attributes:
        name: what the score is called in results.
        description: what a model judge is asked to look at.
        weight: share in the weighted mean; positive.
        check: settings of a programmatic checker, ``{"type": "regex", "pattern": ...}``; no model is asked then.
        required: a response that fails this check gets the lowest score, whatever a model would say of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r'^[^"\\\n<>]+$')
    description: str = ""
    weight: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    check: dict[str, Any] | None = None
    required: bool = False

    @model_validator(mode="after")
    def _something_to_judge_by(self) -> Criterion:
        if self.check is None and not self.description:
            raise ValueError(f"criterion {self.name!r} has neither a description nor a check; give one of them")
        if self.required and self.check is None:
            raise ValueError(f"criterion {self.name!r} is required but has no check; only a checked outcome may veto")
        return self


class Rubric(BaseModel):
    """Weighted criteria on one scale. ``score`` is their weighted mean, ``reward`` the same mapped onto 0 to 1.

    Attributes:
        id: name under which the server knows it.
        criteria: at least one, with distinct names and a positive total weight.
        scale: lowest and highest score a model judge may give.
        instructions: more guidance for a model judge.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = "custom"
    criteria: tuple[Criterion, ...] = Field(min_length=1, max_length=50)
    scale: tuple[float, float] = (0.0, 10.0)
    instructions: str = ""

    @field_validator("criteria")
    @classmethod
    def _distinct_names(cls, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        names = [criterion.name for criterion in criteria]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"criterion names must be distinct; found twice: {twice}")
        return criteria

    @model_validator(mode="after")
    def _worth_paying_for(self) -> Rubric:
        if sum(criterion.weight for criterion in self.criteria) <= 0:
            raise ValueError(
                f"rubric {self.id!r}: every criterion has weight 0, so the score would mean nothing; set a weight"
            )
        low, high = self.scale
        if not low < high:
            raise ValueError(f"rubric {self.id!r}: scale is {list(self.scale)}; the first must be below the second")
        return self

    @property
    def asked(self) -> tuple[Criterion, ...]:
        """Criteria a model has to judge; those of weight 0 are not paid for."""
        return tuple(c for c in self.criteria if c.check is None and c.weight > 0)

    @property
    def checked(self) -> tuple[Criterion, ...]:
        """Criteria a program checks."""
        return tuple(c for c in self.criteria if c.check is not None)

    def normalise(self, score: float) -> float:
        """Map a score on the rubric's scale onto 0 to 1."""
        low, high = self.scale
        return (score - low) / (high - low)


def _builtin(id: str, scale: tuple[float, float] = (0.0, 10.0), **criteria: Any) -> Rubric:
    rows = tuple(
        Criterion(name=name, description=value) if isinstance(value, str) else Criterion(name=name, **value)
        for name, value in criteria.items()
    )
    return Rubric(id=id, criteria=rows, scale=scale)


BUILTIN_RUBRICS: dict[str, Rubric] = {
    rubric.id: rubric
    for rubric in (
        _builtin("quality", overall="How well the response does what the prompt asks: right, complete, clear."),
        _builtin(
            "helpfulness",
            correctness={"description": "Statements and results are right.", "weight": 2.0},
            completeness="Every part of the request is dealt with.",
            clarity="Easy to follow and no longer than it needs to be.",
        ),
        _builtin(
            "correct", correctness="Agreement of the final answer with the reference: lowest wrong, highest right."
        ),
        _builtin("exact", (0.0, 1.0), answer={"check": {"type": "exact"}}),
        _builtin("normalised", (0.0, 1.0), answer={"check": {"type": "normalised"}}),
        _builtin("answer", (0.0, 1.0), answer={"check": {"type": "answer"}}),
    )
}
"""Rubrics every server knows; ``answer`` compares final answers (boxed, announced or last line)."""
