"""Evaluation on held-out tasks: unbiased pass@k with intervals, greedy accuracy, distinct right answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from .answers import ballots
from .batcher import Batcher
from .chat import ChatFormat
from .config import EnvConfig, EvalConfig, RolloutConfig
from .engines.base import SamplingParams
from .metrics.bootstrap import bootstrap
from .metrics.passk import auc_at_k, maj_at_k, pass_at_k, pass_hat_k
from .rollout import Play, RolloutWorker
from .tasks import TaskRef, TaskSource

GREEDY_STAMP = -1


class Estimate(BaseModel):
    """A mean over tasks with its 95 % bootstrap interval; `tasks` is how many of them could be counted."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    tasks: int


class TaskOutcome(BaseModel):
    """How one task went: `scored` rollouts have a reward, `right` of them succeeded."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    prompt: str
    scored: int
    right: int
    unscored: int
    distinct_right: int
    reward: float | None
    greedy: bool | None = None


class EvalReport(BaseModel):
    """An evaluation. Rollouts that could not be scored are in no estimate and are counted in `unscored`."""

    model_config = ConfigDict(frozen=True)

    env: str
    policy: str
    step: int
    samples: int
    temperature: float
    pass_at: dict[int, Estimate]
    pass_all: dict[int, Estimate] = {}
    """pass^k: all of k samples are right."""
    majority: dict[int, Estimate] = {}
    """maj@k: the answer that most of k samples give is right; where the environment says what it read."""
    area: dict[str, Estimate] = {}
    """Area under pass@1 .. pass@K for the largest K, in the two normalisations in use."""
    greedy: Estimate | None
    reward: Estimate | None
    distinct_right: Estimate | None
    unscored: int
    rollouts: int
    mean_tokens: float
    entropy: float | None
    seconds: float
    tasks: list[TaskOutcome]

    def summary(self) -> dict[str, float]:
        """The numbers of the report under the names metrics use."""
        out = {f"eval/pass@{k}": e.value for k, e in self.pass_at.items()}
        out |= {f"eval/maj@{k}": e.value for k, e in self.majority.items() if k > 1}
        for name in ("greedy", "reward", "distinct_right"):
            estimate = getattr(self, name)
            if estimate is not None:
                out[f"eval/{name}"] = estimate.value
        return {**out, "eval/unscored": float(self.unscored), "eval/tokens": self.mean_tokens}


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean of per-task values with a bootstrap interval over tasks; None without values."""
    if not len(values):
        return None
    interval = bootstrap(list(values), draws=1000)
    return Estimate(value=float(np.mean(values)), low=interval.low, high=interval.high, tasks=len(values))


class Evaluator:
    """Evaluates an engine's policy on held-out tasks.

    Args:
        source: tasks and environments.
        chat: message rendering.
        rollout: limits of a rollout.
        config: the [eval] section.
        seed: run seed.
        end_ids: tokens that end a turn.
        tasks: which tasks; by default the first of the test split.
        prompt: transform of a task's messages before sampling.
    """

    def __init__(
        self,
        source: TaskSource,
        chat: ChatFormat,
        rollout: RolloutConfig,
        config: EvalConfig,
        seed: int,
        end_ids: tuple[int, ...],
        tasks: Sequence[TaskRef] | None = None,
        prompt: Any = None,
    ) -> None:
        self.config = config
        self.env = source.config.id
        self.end_ids = end_ids
        self.tasks = list(tasks) if tasks is not None else source.take("test", config.tasks)[0]
        self.max_new_tokens = rollout.max_new_tokens
        self.worker = RolloutWorker(source, chat, rollout, seed ^ 0x5EED, prompt)
        self.seed = seed

    def run(self, engine: Any, step: int = 0, policy: str = "") -> EvalReport:
        """Sample every task and report."""
        return self.run_with_plays(engine, step, policy)[0]

    def run_with_plays(self, engine: Any, step: int = 0, policy: str = "") -> tuple[EvalReport, list[Play]]:
        """`run`, and the played groups as well."""
        start, config = time.perf_counter(), self.config
        plays = self._play(engine, config.samples, config.temperature, config.top_p, stamp=0)
        greedy = self._play(engine, 1, 0.0, 1.0, stamp=GREEDY_STAMP) if config.greedy else None
        seconds = time.perf_counter() - start
        result = report(plays, greedy, config, env=self.env, policy=policy, step=step, seconds=seconds)
        return result, plays

    def _play(self, engine: Any, samples: int, temperature: float, top_p: float, stamp: int) -> list[Play]:
        params = SamplingParams(
            max_new_tokens=self.max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            stop_ids=self.end_ids,
            seed=self.seed,
        )
        return self.worker.play(self.tasks, samples, Batcher(engine, params), stamp, name="eval")


def report(
    plays: Sequence[Play],
    greedy: Sequence[Play] | None,
    config: EvalConfig,
    *,
    env: str,
    policy: str,
    step: int = 0,
    seconds: float = 0.0,
) -> EvalReport:
    """Count played groups.

    Args:
        plays: `config.samples` rollouts a task.
        greedy: one greedy rollout a task, in the same order, or None.
        config: success threshold and the k of pass@k.
        env: environment id.
        policy: name of the policy.
        step: training step.
        seconds: time it took.
    """
    outcomes = []
    for index, play in enumerate(plays):
        rewards = [r.reward for r in play.group.rollouts if r.reward is not None]
        right = [r for r in play.group.rollouts if r.reward is not None and r.reward >= config.success]
        first = None
        if greedy is not None:
            value = greedy[index].group.rollouts[0].reward
            first = None if value is None else value >= config.success
        outcomes.append(
            TaskOutcome(
                task_id=play.group.task.id,
                prompt="\n".join(m.text for m in play.group.task.messages)[:500],
                scored=len(rewards),
                right=len(right),
                unscored=len(play.group.rollouts) - len(rewards),
                distinct_right=len({play.keys.get(r.id, r.response.strip()) for r in right}),
                reward=float(np.mean(rewards)) if rewards else None,
                greedy=first,
            )
        )
    turns = [turn for play in plays for r in play.group.rollouts for turn in r.turns]
    sampled = sum(len(turn.completion_ids) for turn in turns)
    tokens = sampled + sum(r.metrics.get("completion_tokens", 0.0) for play in plays for r in play.group.rollouts)
    success = success_estimates(plays, outcomes, config)
    rollouts = sum(len(play.group.rollouts) for play in plays)
    return EvalReport(
        env=env,
        policy=policy,
        step=step,
        samples=config.samples,
        temperature=config.temperature,
        **success,
        greedy=estimate([float(o.greedy) for o in outcomes if o.greedy is not None]) if greedy is not None else None,
        reward=estimate([o.reward for o in outcomes if o.reward is not None]),
        distinct_right=estimate([float(o.distinct_right) for o in outcomes if o.scored]),
        unscored=sum(o.unscored for o in outcomes),
        rollouts=rollouts,
        mean_tokens=tokens / max(rollouts, 1),
        entropy=-sum(sum(turn.logprobs) for turn in turns) / sampled if sampled else None,
        seconds=seconds,
        tasks=outcomes,
    )


def success_estimates(
    plays: Sequence[Play], outcomes: Sequence[TaskOutcome], config: EvalConfig
) -> dict[str, dict[Any, Estimate]]:
    """pass@k, pass^k, maj@k and the area under pass@k, over the tasks with enough scored samples."""
    counts = [(o.scored, o.right) for o in outcomes]
    cast = [ballots(play, config.success) for play in plays]
    readable = any(play.answers or play.keys for play in plays)
    table: dict[str, dict[Any, Estimate | None]] = {"pass_at": {}, "pass_all": {}, "majority": {}, "area": {}}
    for k in config.pass_at:
        table["pass_at"][k] = estimate([pass_at_k(n, c, k) for n, c in counts if n >= k])
        table["pass_all"][k] = estimate([pass_hat_k(n, c, k) for n, c in counts if n >= k])
        if readable:
            table["majority"][k] = estimate([maj_at_k(v, right, k, draws=500) for v, right in cast if len(v) >= k])
    top = max(config.pass_at, default=1)
    if top > 1:
        curves = [[pass_at_k(n, c, k) for k in range(1, top + 1)] for n, c in counts if n >= top]
        for name in ("mean", "trapezoid"):
            table["area"][name] = estimate([auc_at_k(curve)[name] for curve in curves])
    return {name: {k: e for k, e in row.items() if e is not None} for name, row in table.items()}


def evaluator_for(
    env: EnvConfig, rollout: RolloutConfig, config: EvalConfig, policy: Any, seed: int = 0, **options: Any
) -> Evaluator:
    """An `Evaluator` of a loaded policy with an environment of its own."""
    source = TaskSource(env, options.pop("factory", None))
    chat = ChatFormat(policy.tokenizer, policy.end_ids, on_rewrite=rollout.on_template_rewrite)
    return Evaluator(source, chat, rollout, config, seed, policy.end_ids, **options)
