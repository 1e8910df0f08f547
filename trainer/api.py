"""The three things a program does with the trainer: train, warm up, evaluate."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .config import ConfigError, RunConfig, load_config
from .evaluation import EvalReport
from .events import Callback, RunResult

Config = RunConfig | str | Path | Mapping[str, Any]


def train(
    config: Config,
    *,
    resume: bool = False,
    callbacks: Iterable[Callback] = (),
    env_factory: Callable[[], Any] | None = None,
    judge_client: Any = None,
) -> RunResult:
    """Train a policy; the run folder holds everything it leaves.

    Args:
        config: a `RunConfig`, a TOML path or a mapping of its sections.
        resume: continue the run in the folder from its newest intact checkpoint.
        callbacks: called with every `Event` in the training thread.
        env_factory: makes one environment; by default ``palaestra.make`` with the [env] section.
        judge_client: used instead of a `JudgeClient` for ``judge.url``.

    Returns:
        A `RunResult`; `stopped` says why it ended early (judge server gone, unstable training, a signal), in which
        case the last finished step is saved.

    Raises:
        ConfigError: the configuration cannot be used, or the folder holds another run.
        CheckpointError: a checkpoint could not be written; earlier ones are intact.
    """
    from .run import train_run

    return train_run(
        load_config(config), resume=resume, callbacks=callbacks, factory=env_factory, judge_client=judge_client
    )


def warm_start(
    config: Config,
    out: str | Path,
    *,
    callbacks: Iterable[Callback] = (),
    env_factory: Callable[[], Any] | None = None,
) -> Path:
    """Only the supervised warm start of a run file; several runs may then begin with ``policy.model = out``.

    Args:
        config: the [policy], [env] and [warmup] sections rule.
        out: Hugging Face folder to write; an unfinished one is replaced.
        callbacks: called with an `Event` of kind ``warmup`` at every check.
        env_factory: see `train`.

    Returns:
        `out`, with ``warmup.json`` (the checks) beside the weights.
    """
    import json

    from .chat import ChatFormat
    from .engines import make_engine
    from .evaluation import Evaluator
    from .events import Event
    from .objectives import registry
    from .policy import load_policy
    from .tasks import TaskSource
    from .warmup import warm_up

    run, folder = load_config(config), Path(out)
    if not run.warmup.steps:
        raise ConfigError("warmup.steps is 0; set it to the most steps the warm start may take")
    if run.train.threads:
        import torch

        torch.set_num_threads(run.train.threads)
    objective = registry.get(run.objective.name, run.objective.params)
    policy = load_policy(run.policy, seed=run.seed)
    source = TaskSource(run.env, env_factory)
    chat = ChatFormat(policy.tokenizer, policy.end_ids)
    engine = make_engine("native", policy)
    settings = run.eval.model_copy(update={"tasks": run.warmup.tasks, "samples": 1, "pass_at": (1,), "greedy": False})
    check = Evaluator(source, chat, run.rollout, settings, run.seed, policy.end_ids, prompt=objective.prompt)
    callbacks = tuple(callbacks)

    def progress(record: dict[str, Any]) -> None:
        for callback in callbacks:
            callback(Event("warmup", record["warmup_step"], run.warmup.steps, record))

    records = warm_up(policy, run, source, chat, engine, check, prompt=objective.prompt, progress=progress)
    source.close()
    aside = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    policy.save(aside)
    (aside / "warmup.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    aside.replace(folder)
    return folder


def evaluate(
    config: Config,
    *,
    model: str | Path | None = None,
    env_factory: Callable[[], Any] | None = None,
    step: int = 0,
) -> EvalReport:
    """Evaluate a policy on the held-out tasks of a run file's environment.

    Args:
        config: the [env], [rollout] limits and [eval] sections rule.
        model: a Hugging Face folder or id; by default ``policy.model``.
        env_factory: see `train`.
        step: number put into the report.

    Returns:
        pass@k with intervals, greedy accuracy, distinct right answers; unscored rollouts are counted apart.
    """
    from .engines import make_engine
    from .evaluation import evaluator_for
    from .objectives import registry
    from .policy import load_policy

    run = load_config(config)
    settings = run.policy if model is None else run.policy.model_copy(update={"model": str(model), "lora_rank": 0})
    policy = load_policy(settings, seed=run.seed)
    objective = registry.get(run.objective.name, run.objective.params)
    evaluator = evaluator_for(
        run.env, run.rollout, run.eval, policy, run.seed, factory=env_factory, prompt=objective.prompt
    )
    return evaluator.run(make_engine(run.rollout, policy), step, settings.model)
