"""Configuration-time checks: combinations that cannot work, found before anything runs. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .registry import method, parameters
from .types import Problem


def check(name: str, params: Mapping[str, Any], run_facts: Mapping[str, Any]) -> list[Problem]:
    """List what cannot work about a method in a run. An empty list means nothing was found.

    Args:
        name: registry name.
        params: the method's parameters, as in the run file.
        run_facts: what is known about the run; absent facts are not checked. Keys: ``group_size``, ``judge`` (bool: a
            judge server is configured), ``env_clusters`` (bool: the environment labels strategies), ``judge_topology``,
            ``vocab_size`` and ``teacher_vocab_size``, ``amateur_vocab_size``, ``engine``, ``temperature``, ``top_p``,
            ``feedback`` (bool: the environment gives feedback), ``binary_rewards`` (bool), ``task_types`` (int),
            ``reports_logprobs`` (bool), ``max_new_tokens``, ``inner_steps``.

    Raises:
        UnknownObjective, ObjectiveError: as `registry.parameters`.
    """
    row = method(name)
    values = parameters(name, params)
    problems = [] if row.problems is None else list(row.problems(values, run_facts))
    return problems
