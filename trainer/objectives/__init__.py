"""Objectives: every method is a row of the registry, composed of pure parts.

from palaestra.trainer import objectives
objective = objectives.get("grpo", {"eps_high": 0.28})
"""

from .registry import (
    ENTRY_POINTS,
    ObjectiveError,
    UnknownObjective,
    check,
    get,
    method,
    names,
    parameters,
    register,
    rows,
)
from .types import Method, Objective, Params, Problem, RolloutBatch, TokenBatch

__all__ = [
    "ENTRY_POINTS",
    "Method",
    "Objective",
    "ObjectiveError",
    "Params",
    "Problem",
    "RolloutBatch",
    "TokenBatch",
    "UnknownObjective",
    "check",
    "get",
    "method",
    "names",
    "parameters",
    "register",
    "rows",
]
