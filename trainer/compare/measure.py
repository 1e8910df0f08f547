"""What is measured of a policy: success, distinct solutions, entropy, distance to the start, other tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..config import EnvConfig, RunConfig
from ..metrics import effective_number, kl_estimates, pass_at_k


class TaskMeasure(BaseModel):
    """One held-out task: `n` scored samples, `c` right ones, and how many samples found each right solution."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    n: int
    c: int
    unscored: int
    solutions: dict[str, int]


class Measurement(BaseModel):
    """A policy measured on fixed held-out tasks.

    Attributes:
        tasks: one entry a task, the same tasks in the same order for every policy of a comparison.
        entropy: minus the mean log-probability of sampled tokens (nats); the sampled form, at temperature 1.
        kl_to_start: KL(policy || start) a response (nats), from the policy's samples by the k3 estimator, which is
            unbiased and never negative; log-ratios are limited to 20. None for the start itself.
        kl_to_start_token: the same a token.
        forward_kl: KL(start || policy) a response, from the start's samples, estimated in the same way.
        prior: accuracy on each prior environment.
        mean_tokens: tokens a response.
    """

    model_config = ConfigDict(frozen=True)

    tasks: list[TaskMeasure]
    entropy: float | None
    kl_to_start: float | None = None
    kl_to_start_token: float | None = None
    forward_kl: float | None = None
    prior: dict[str, float] = {}
    mean_tokens: float = 0.0

    def pass_at(self, k: int) -> list[float]:
        """pass@k of every task; nan where too few samples were scored."""
        return [pass_at_k(t.n, t.c, k) if t.n >= k else float("nan") for t in self.tasks]

    def distinct(self) -> list[float]:
        """Distinct right solutions of every task."""
        return [float(len(t.solutions)) for t in self.tasks]

    def clusters(self) -> list[float]:
        """Effective number of right solutions of every task (exp of their entropy); nan where none was right."""
        return [_effective(t.solutions) for t in self.tasks]


def _effective(solutions: dict[str, int]) -> float:
    labels = [key for key, count in solutions.items() for _ in range(count)]
    return effective_number(labels)["exp_entropy"] if labels else float("nan")


def measure(
    config: RunConfig,
    model: str,
    *,
    tasks: int,
    samples: int,
    start: str | None = None,
    prior: tuple[EnvConfig, ...] = (),
    kl_tasks: int = 64,
    seed: int = 12345,
    env_factory: Callable[[], Any] | None = None,
) -> Measurement:
    """Measure a policy at temperature 1.

    Args:
        config: the [env] and [rollout] limits of the comparison.
        model: folder of the policy.
        tasks: held-out tasks; samples: rollouts of each.
        start: folder of the start, for the KLs; None leaves them out.
        prior: environments for forgetting, `samples` // 4 rollouts of each of `tasks` // 2 tasks.
        kl_tasks: tasks whose first rollouts give the KLs.
        seed: of the sampling, the same for every policy.
        env_factory: see `palaestra.trainer.train`.
    """
    from ..engines import make_engine
    from ..policy import load_policy

    policy = load_policy(config.policy.model_copy(update={"model": model, "lora_rank": 0}))
    engine = make_engine("native", policy)
    plays = _play(config, config.env, policy, engine, tasks, samples, seed, env_factory)
    turns = [turn for play in plays for rollout in play.group.rollouts for turn in rollout.turns]
    tokens = sum(len(turn.completion_ids) for turn in turns)
    kls: dict[str, float] = {}
    if start is not None:
        base = load_policy(config.policy.model_copy(update={"model": start, "lora_rank": 0}))
        base_engine = make_engine("native", base)
        shown = _play(config, config.env, base, base_engine, min(kl_tasks, tasks), 1, seed, env_factory)
        kls = _divergences(_turns(plays[:kl_tasks]), _turns(shown), base_engine, engine)
    accuracy = {}
    for other in prior:
        few = _play(config, other, policy, engine, max(tasks // 2, 1), max(samples // 4, 1), seed, None)
        rewards = [r.reward for play in few for r in play.group.rollouts if r.reward is not None]
        accuracy[other.id] = float(np.mean([r >= config.eval.success for r in rewards])) if rewards else float("nan")
    return Measurement(
        tasks=[_count(play, config.eval.success) for play in plays],
        entropy=-sum(sum(turn.logprobs) for turn in turns) / tokens if tokens else None,
        prior=accuracy,
        mean_tokens=tokens / max(len(turns), 1),
        **kls,
    )


def _play(
    config: RunConfig, env: EnvConfig, policy: Any, engine: Any, tasks: int, samples: int, seed: int, factory: Any
):
    from ..batcher import Batcher
    from ..engines.base import SamplingParams
    from ..evaluation import evaluator_for
    from ..objectives import get

    settings = config.eval.model_copy(update={"tasks": tasks, "samples": samples, "pass_at": (1,), "greedy": False})
    prompt = get(config.objective.name, config.objective.params).prompt
    evaluator = evaluator_for(env, config.rollout, settings, policy, seed, factory=factory, prompt=prompt)
    params = SamplingParams(max_new_tokens=config.rollout.max_new_tokens, stop_ids=policy.end_ids, seed=seed)
    return evaluator.worker.play(evaluator.tasks, samples, Batcher(engine, params), 0, name="measure")


def _count(play: Any, success: float) -> TaskMeasure:
    scored = [r for r in play.group.rollouts if r.reward is not None]
    right = [r for r in scored if r.reward >= success]
    found = Counter(play.keys.get(r.id, r.response.strip()) for r in right)
    unscored = len(play.group.rollouts) - len(scored)
    return TaskMeasure(
        task_id=play.group.task.id, n=len(scored), c=len(right), unscored=unscored, solutions=dict(found)
    )


def _turns(plays: Any) -> list[Any]:
    """The turns of each task's first rollout that sampled something."""
    return [turn for play in plays for turn in play.group.rollouts[0].turns if turn.completion_ids]


def _divergences(mine: list[Any], theirs: list[Any], base_engine: Any, engine: Any) -> dict[str, float]:
    if not mine or not theirs:
        return {}

    def scores(scorer: Any, turns: list[Any]) -> list[np.ndarray]:
        found = scorer.score([t.prompt_ids for t in turns], [t.completion_ids for t in turns])
        return [np.asarray(scored.logp, float) for scored in found]

    def divergence(ours: list[np.ndarray], others: list[np.ndarray]) -> float:
        return kl_estimates(np.concatenate(ours), np.concatenate(others))["k3"]

    backward = divergence(scores(engine, mine), scores(base_engine, mine))
    forward = divergence(scores(base_engine, theirs), scores(engine, theirs))
    return {
        "kl_to_start": backward * sum(len(t.completion_ids) for t in mine) / len(mine),
        "kl_to_start_token": backward,
        "forward_kl": forward * sum(len(t.completion_ids) for t in theirs) / len(theirs),
    }
