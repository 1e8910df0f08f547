"""Configuration-time checks: combinations that cannot work, found before anything runs. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .registry import method, parameters
from .types import Method, Problem


def check(name: str, params: Mapping[str, Any], run_facts: Mapping[str, Any]) -> list[Problem]:
    """List what cannot work about a method in a run. An empty list means nothing was found.

    Args:
        name: registry name.
        params: the method's parameters, as in the run file.
        run_facts: what is known about the run; absent facts are not checked. Keys: ``group_size``, ``max_new_tokens``,
            ``max_staleness``; ``judge`` (bool: a judge server is configured); of the environment ``env_clusters``
            (bool: it labels strategies), ``feedback`` (bool: it says something about failures), ``binary_rewards``
            (bool) and ``text_answers`` (bool); of the policy ``vocab_size``, ``vocabulary`` (a digest) and
            ``unwritable`` (text -> the characters its tokenizer lacks); ``teacher_`` and ``amateur_`` before
            ``vocab_size`` and ``vocabulary``.

    Raises:
        UnknownObjective, ObjectiveError: as `registry.parameters`.
    """
    row = method(name)
    values = parameters(name, params)
    own = [] if row.problems is None else list(row.problems(values, run_facts))
    return [*_groups(row, values, run_facts), *_judges(row, values, run_facts), *own]


def unwritable(facts: Mapping[str, Any], **texts: str) -> list[Problem]:
    """Texts an objective puts into prompts must be made of tokens the policy has.

    Args:
        facts: what is known about the run.
        texts: parameter name -> its text.
    """
    lacking = facts.get("unwritable")
    if lacking is None:
        return []
    found = []
    for knob, text in texts.items():
        missing = "".join(dict.fromkeys(lacking(text)))
        if missing:
            reason = (
                f"the policy's tokenizer lacks the characters {missing!r} of {text!r}, so the policy cannot read it"
            )
            fix = f"Write objective.{knob} with characters it has, or add them to policy.characters"
            found.append(Problem(f"objective.{knob}", reason, fix))
    return found


def other_vocabulary(facts: Mapping[str, Any], who: str, remedy: str) -> list[Problem]:
    """A model that scores the policy's token ids must mean the same texts by them.

    Args:
        facts: what is known about the run.
        who: ``teacher`` or ``amateur``, also the parameter that names the model.
        remedy: what to use instead, for the message.
    """
    mine, theirs = facts.get("vocab_size"), facts.get(f"{who}_vocab_size")
    reason = ""
    if mine is not None and theirs is not None and mine != theirs:
        reason = f"the {who} has a vocabulary of {theirs} tokens, the policy {mine}; token ids would mean other texts"
    elif facts.get("vocabulary") and facts.get(f"{who}_vocabulary", facts["vocabulary"]) != facts["vocabulary"]:
        reason = f"the {who} has as many tokens as the policy, but other ones; token ids would mean other texts"
    fix = f"Choose a model with the policy's tokenizer, or use {remedy}"
    return [Problem(f"objective.{who}", reason, fix)] if reason else []


def _groups(row: Method, values: Any, facts: Mapping[str, Any]) -> list[Problem]:
    size = facts.get("group_size")
    found = []
    if size is not None and size < 2:
        if "group" in row.requires and "ranks" not in row.requires:  # arena says it of its topology
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
    judge = facts.get("judge")
    if judge is not False:
        return []
    found = []
    if "ranks" in row.requires:
        reason = f"{row.name} needs a judge that ranks groups, and no [judge] is configured"
        fix = "Start `palaestra serve judges` and set judge.url, or use grpo with the environment's rewards"
        found.append(Problem("judge.url", reason, fix))
    if "clusters" in row.requires:
        measured = getattr(values, "source", "clusters") == "diversity"
        if measured:
            reason = f"{row.name} with source = 'diversity' takes the judge's own values, and no [judge] is configured"
            fix = "Start `palaestra serve judges` and set judge.url, or set objective.source = 'clusters'"
            found.append(Problem("judge.url", reason, fix))
        elif facts.get("env_clusters") is False:
            reason = f"{row.name} needs to know which rollouts share a strategy"
            fix = "Set judge.url (its partition operation), or use an environment that reports info['solution_key']"
            found.append(Problem("judge.url", reason, fix))
    return found
