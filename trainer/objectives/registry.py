"""The table of methods. A method is one short module in `methods/` (or an entry point) and one line here.

Names are listed without importing anything heavy; torch is imported when an objective is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from ...names import suggestion
from .types import Method, Objective, Problem

ENTRY_POINTS = "palaestra.objectives"

# name -> module under methods/ and the name of its Method there
_BUILTIN: dict[str, str] = {
    "grpo": "grpo:GRPO",
    "dr_grpo": "grpo:DR_GRPO",
    "rloo": "reinforce:RLOO",
    "reinforce": "reinforce:REINFORCE",
    "reinforce_pp": "reinforce:REINFORCE_PP",
    "psr": "signed:PSR",
    "nsr": "signed:NSR",
    "w_reinforce": "signed:W_REINFORCE",
    "task_std": "grouped:TASK_STD",
    "ds_grpo": "grouped:DS_GRPO",
    "pass_at_k": "grouped:PASS_AT_K",
    "pass_at_k_best": "grouped:PASS_AT_K_BEST",
    "unlikeliness": "grouped:UNLIKELINESS",
    "uniqueness": "uniqueness:UNIQUENESS",
    "darling": "judged:DARLING",
    "arena": "judged:ARENA",
    "dapo": "policy:DAPO",
    "gspo": "policy:GSPO",
    "cispo": "policy:CISPO",
    "importance": "policy:IMPORTANCE",
    "pipeline_rl": "policy:PIPELINE_RL",
    "aepo": "aepo:AEPO",
    "rlpr": "rlpr:RLPR",
    "dph": "dph:DPH",
    "sdpo": "sdpo:SDPO",
    "sdpo_test_time": "sdpo:SDPO_TEST_TIME",
    "opd": "distil:OPD",
    "light_reasoner": "distil:LIGHT_REASONER",
    "best_of_n": "supervised:BEST_OF_N",
    "expert_iteration": "supervised:EXPERT_ITERATION",
    "iterative_sft": "supervised:ITERATIVE_SFT",
    "self_sft": "supervised:SELF_SFT",
    "feedme": "supervised:FEEDME",
    "reward_conditioning": "supervised:REWARD_CONDITIONING",
    "quark": "supervised:QUARK",
    "grade": "grade:GRADE",
}


class UnknownObjective(LookupError):
    """No objective has this name."""


class ObjectiveError(ValueError):
    """The parameters of an objective are wrong; the message names the field, the value and the fix."""


@cache
def _outside() -> dict[str, Any]:
    """Entry points of other packages, by name; a built-in name cannot be taken over."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS) if point.name not in _BUILTIN}


_REGISTERED: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Add a method for this process (tests and notebooks; packages use the entry-point group instead).

    Raises:
        ValueError: if the name is taken by another method.
    """
    known = _REGISTERED.get(method.name)
    if method.name in _BUILTIN or (known is not None and known != method):
        raise ValueError(f"objective name {method.name!r} is taken; choose another Method.name")
    _REGISTERED[method.name] = method
    return method


def names() -> list[str]:
    """All objective names: the built-in table first, then what other packages and this process add."""
    return [*_BUILTIN, *sorted({*_outside(), *_REGISTERED})]


def method(name: str) -> Method:
    """The registry row of a name.

    Raises:
        UnknownObjective: for an unknown name, with the nearest known one.
    """
    if name in _BUILTIN:
        module, _, attribute = _BUILTIN[name].partition(":")
        return getattr(import_module(f".methods.{module}", __package__), attribute)
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in _outside():
        found = _outside()[name].load()
        if not isinstance(found, Method):
            raise ObjectiveError(
                f"entry point {name!r} of group {ENTRY_POINTS!r} is {type(found).__name__}; it must be a Method"
            )
        return found
    hint = suggestion(name, names(), "run `palaestra objectives` for the list")
    raise UnknownObjective(f"unknown objective {name!r}; {hint}")


def rows() -> list[Method]:
    """All registry rows."""
    return [method(name) for name in names()]


def parameters(name: str, params: Mapping[str, Any] | None = None) -> Any:
    """Validate a method's parameters.

    Raises:
        ObjectiveError: for an unknown knob (with the nearest one) or a bad value.
    """
    row = method(name)
    try:
        return row.params(**dict(params or {}))
    except ValidationError as error:
        raise ObjectiveError(_explain(row, error)) from None


def get(name: str, params: Mapping[str, Any] | None = None) -> Objective:
    """Build an objective with its parameters bound.

    Args:
        name: a registry name, see `names()`.
        params: the method's own parameters; what is left out keeps its default.

    Raises:
        UnknownObjective: for an unknown name.
        ObjectiveError: for wrong parameters.
    """
    return method(name).build(parameters(name, params))


def check(name: str, params: Mapping[str, Any], run_facts: Mapping[str, Any]) -> list[Problem]:
    """What cannot work about this objective in this run, before anything starts. See `checks.check`."""
    from .checks import check as run_checks

    return run_checks(name, params, run_facts)


def _explain(row: Method, error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        knob = ".".join(str(part) for part in item["loc"]) or "parameters"
        if item["type"] == "extra_forbidden":
            hint = suggestion(knob, row.params.model_fields, f"known: {', '.join(row.params.model_fields) or 'none'}")
            lines.append(f"objective.{knob} is not a parameter of {row.name}; {hint}")
        else:
            said = item["msg"].removeprefix("Value error, ")
            lines.append(f"objective.{knob} = {item.get('input')!r}: {said}" if item["loc"] else f"{row.name}: {said}")
    return "; ".join(lines)
