"""Whether a run can work, found before anything is sampled: facts about policy, environment, judge and engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .config import ConfigError, RunConfig
from .judging import Judging
from .objectives import registry
from .objectives.types import Objective
from .policy import load_policy
from .tasks import TaskSource


def run_facts(config: RunConfig, objective: Objective) -> dict[str, Any]:
    """What the run file alone says, for `objectives.check`."""
    facts: dict[str, Any] = {
        "group_size": config.rollout.group_size,
        "max_new_tokens": config.rollout.max_new_tokens,
        "max_staleness": config.rollout.max_staleness,
        "judge": bool(config.judge.url),
    }
    spec = objective.teacher
    models = {"": config.policy.model, "teacher_": spec and spec.model, "amateur_": spec and spec.amateur}
    for role, model in models.items():
        tokenizer = _tokenizer(model, config.policy.characters) if model else None
        if tokenizer is None:
            continue
        words = sorted(tokenizer.get_vocab().items())
        facts[f"{role}vocab_size"] = len(tokenizer)  # heads are often padded beyond it
        facts[f"{role}vocabulary"] = hashlib.sha256(repr(words).encode()).hexdigest()
        if not role and tokenizer.unk_token_id is not None:
            facts["unwritable"] = partial(_unwritable, tokenizer)
    return facts


def _tokenizer(model: str, characters: str) -> Any:
    """The tokenizer of ``tiny`` or of a model folder; None for a name that would have to be downloaded first."""
    if model == "tiny":
        from .tiny import tiny_tokenizer

        return tiny_tokenizer(characters)
    if not (Path(model) / "tokenizer_config.json").exists():
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model, local_files_only=True)


def _unwritable(tokenizer: Any, text: str) -> str:
    """The characters of a text that become the unknown token."""
    unknown = tokenizer.unk_token_id
    return "".join(c for c in text if unknown in tokenizer(c, add_special_tokens=False)["input_ids"])


def env_facts(source: TaskSource) -> dict[str, Any]:
    """What one task shows about an environment; what it does not show is left out.

    A nonsense reply tells whether failures get feedback, and whether rewards lie between 0 and 1; the environment's own
    right reply, where it has one, tells whether solutions are named.
    """
    env = source.acquire()
    inner = env.unwrapped
    try:
        ref = source.take("train", 1)[0][0]
        env.reset(seed=ref.seed, options=ref.options)
        task = getattr(inner, "current_task", None)
        facts: dict[str, Any] = {}
        if task is not None:
            facts["text_answers"] = isinstance(task.answer, (str, int, float))
        _, reward, terminated, truncated, info = env.step("?")
        if terminated or truncated:  # of longer episodes the first reply says little
            facts["feedback"] = any(_text(item).strip() for item in info.get("feedback", ()))
            if 0 < reward < 1:
                facts["binary_rewards"] = False
            if hasattr(inner, "oracle"):
                facts |= _right_reply(env, source, ref.seed)
        return facts
    finally:
        source.release(env)


def _right_reply(env: Any, source: TaskSource, seed: int) -> dict[str, Any]:
    try:
        env.reset(seed=seed)  # an oracle replays a seed without a split
        *_, terminated, truncated, info = env.step(str(next(iter(env.unwrapped.oracle()))))
    except (NotImplementedError, StopIteration):
        return {}
    return {"env_clusters": "solution_key" in info} if terminated or truncated else {}


def _text(item: Any) -> str:
    return str(item.get("text", "")) if isinstance(item, dict) else str(getattr(item, "text", ""))


def problems_of(config: RunConfig, objective: Objective, source: TaskSource | None = None) -> list[str]:
    """What the objective finds impossible about a run; with a source its environment is tried too."""
    facts = run_facts(config, objective)
    if source is not None:
        facts |= env_facts(source)
    return [str(p) for p in registry.check(config.objective.name, config.objective.params, facts)]


def refuse(config: RunConfig, objective: Objective) -> None:
    """Refuse a run that cannot work by its run file.

    Raises:
        ConfigError: every problem, with the reason and what would work.
    """
    found = problems_of(config, objective)
    if found:
        raise ConfigError(f"objective {objective.name}: {'; '.join(found)}")


def check_run(config: RunConfig, factory: Callable[[], Any] | None = None) -> list[str]:
    """What cannot work about a run, found without training: objective, judge, environment, model."""
    problems: list[str] = []
    objective = None
    try:
        objective = registry.get(config.objective.name, config.objective.params)
        problems += problems_of(config, objective)
        judging = Judging(config.judge, objective)
        problems += judging.problems()
        judging.close()
    except (LookupError, ValueError) as error:
        problems.append(str(error))
    try:
        source = TaskSource(config.env, factory)
        source.take("train", 1)
        if objective is not None:
            problems += [p for p in problems_of(config, objective, source) if p not in problems]
        source.close()
    except Exception as error:  # whatever an environment raises on construction is its problem report
        problems.append(f"env {config.env.id!r}: {error}")
    try:
        load_policy(config.policy, seed=config.seed)
    except ConfigError as error:
        problems.append(str(error))
    return problems
