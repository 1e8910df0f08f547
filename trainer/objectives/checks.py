"""Configuration-time checks: combinations that cannot work, found before anything runs. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .registry import method, parameters
from .types import Method, Objective, Problem


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
    own = [] if row.problems is None else list(row.problems(values, run_facts))
    return [*_groups(row, values, run_facts), *_judges(row, values, run_facts), *_engine(row, values, run_facts), *own]


def loop_features(objective: Objective) -> frozenset[str]:
    """What an objective asks of the training loop beyond sampling, judging, advantages and losses.

    A loop that lacks one of them must refuse the objective: leaving it out would train another method.
    """
    present = {
        "rehearsal": objective.rehearsal is not None,
        "refill": objective.refill is not None,
        "direct": objective.direct is not None,
        "relabel": objective.relabel is not None,
        "initial sampling": objective.sampling == "initial",
        "teacher": objective.teacher is not None,
        **{f"needs {need}": True for need in objective.needs},
    }
    return frozenset(name for name, used in present.items() if used)


def _groups(row: Method, values: Any, facts: Mapping[str, Any]) -> list[Problem]:
    size = facts.get("group_size")
    found = []
    if size is not None and size < 2:
        if "group" in row.requires:
            reason = f"{row.name} compares rollouts of one task, and groups have {size}; every advantage would be 0"
            fix = "Set rollout.group_size to 2 or more (8 is usual), or use objective reinforce"
            found.append(Problem("rollout.group_size", reason, fix))
        elif getattr(values, "dynamic_sampling", False):
            reason = "dynamic sampling drops groups of equal rewards, which a group of one always is"
            found.append(Problem("objective.dynamic_sampling", reason, "Set it to false or use larger groups"))
    if "binary" in row.requires and facts.get("binary_rewards") is False:
        reason = f"{row.name} is defined for rewards 0 and 1, this environment grades in between"
        found.append(Problem("objective.name", reason, "Use grpo or rloo, or an environment with right/wrong rewards"))
    return found


def _judges(row: Method, values: Any, facts: Mapping[str, Any]) -> list[Problem]:
    found = []
    judge = facts.get("judge")
    if "ranks" in row.requires and judge is False:
        reason = f"{row.name} needs a judge that ranks groups, and no [judge] is configured"
        fix = "Start `palaestra serve judges` and set judge.url, or use grpo with the environment's rewards"
        found.append(Problem("judge.url", reason, fix))
    wants_labels = "clusters" in row.requires and getattr(values, "source", "clusters") == "clusters"
    if wants_labels and judge is False and facts.get("env_clusters") is False:
        reason = f"{row.name} needs to know which rollouts share a strategy"
        fix = "Set judge.url (its partition operation), or use an environment that reports info['strategy']"
        found.append(Problem("judge.url", reason, fix))
    return found


def _engine(row: Method, values: Any, facts: Mapping[str, Any]) -> list[Problem]:
    found = []
    corrects = getattr(values, "correction", "none") != "none" or "logprobs" in row.requires
    if corrects and facts.get("reports_logprobs") is False:
        reason = "an importance correction needs the engine's log-probabilities, and this engine reports none"
        found.append(Problem("objective.correction", reason, "Use engine native or vllm, or correction = 'none'"))
    if corrects and (facts.get("top_p", 1.0) < 1.0 or facts.get("temperature", 1.0) == 0.0):
        reason = "sampling is greedy or truncated, so the engine's probabilities are of another distribution"
        found.append(Problem("rollout.top_p", reason, "Use temperature > 0 and top_p = 1, or correction = 'none'"))
    return found
