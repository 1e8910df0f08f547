"""What is measured of a policy: success, distinct solutions, entropy, distance to the start, other tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..config import EnvConfig, RunConfig
from ..metrics import effective_number, kl_estimates, pass_at_k, top1_flip_rate


class TaskMeasure(BaseModel):
    """One held-out task.

    Attributes:
        n: scored samples; c: right ones among them; unscored: the others.
        solutions: how many samples found each right solution.
        surprisal: minus the mean log-probability of the sampled tokens (nats); None when nothing was sampled.
    """

    model_config = ConfigDict(frozen=True)

    task_id: str
    n: int
    c: int
    unscored: int
    solutions: dict[str, int]
    surprisal: float | None = None


class Measurement(BaseModel):
    """A policy measured on fixed held-out tasks, at temperature 1.

    Attributes:
        tasks: one entry a task, the same tasks in the same order for every policy of a comparison.
        kl: KL(policy || start) of one response a task (nats), from the policy's samples by the k3 estimator, which is
            unbiased and never negative; log-ratios are limited to 20. Empty for the start itself, None for a task whose
            response is empty.
        forward_kl: KL(start || policy), from the start's samples, in the same way.
        flips: share of the tokens of the start's samples at which the most likely token is another one now.
        prior: environment -> accuracy on each of its tasks, for forgetting; nan where nothing was scored.
        mean_tokens: tokens a response.
    """

    model_config = ConfigDict(frozen=True)

    tasks: list[TaskMeasure]
    kl: list[float | None] = []
    forward_kl: list[float | None] = []
    flips: list[float | None] = []
    prior: dict[str, list[float | None]] = {}
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

    def entropy(self) -> list[float]:
        """Sampled entropy of every task (nats a token); unbiased at temperature 1."""
        return [float("nan") if t.surprisal is None else t.surprisal for t in self.tasks]

    def accuracies(self) -> dict[str, list[float]]:
        """`prior` as numbers."""
        return {env: [float("nan") if a is None else a for a in values] for env, values in self.prior.items()}


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
    moved: dict[str, list[float | None]] = {}
    if start is not None:
        base = load_policy(config.policy.model_copy(update={"model": start, "lora_rank": 0}))
        base_engine = make_engine("native", base)
        shown = _play(config, config.env, base, base_engine, min(kl_tasks, tasks), 1, seed, env_factory)
        moved["kl"], _ = _divergence(plays[:kl_tasks], engine, base_engine)
        moved["forward_kl"], moved["flips"] = _divergence(shown, base_engine, engine)
    accuracy: dict[str, list[float | None]] = {}
    for other in prior:
        few = _play(config, other, policy, engine, max(tasks // 2, 1), max(samples // 4, 1), seed, None)
        accuracy[name_of(other)] = [_accuracy(play, config.eval.success) for play in few]
    turns = [turn for play in plays for rollout in play.group.rollouts for turn in rollout.turns]
    return Measurement(
        tasks=[_count(play, config.eval.success) for play in plays],
        prior=accuracy,
        mean_tokens=sum(len(turn.completion_ids) for turn in turns) / max(len(turns), 1),
        **moved,
    )


def name_of(env: EnvConfig) -> str:
    """An environment with its knobs, as the report calls it."""
    return env.id + "".join(f":{key}={value}" for key, value in env.args.items())


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
    logprobs = [logp for r in play.group.rollouts for turn in r.turns for logp in turn.logprobs]
    return TaskMeasure(
        task_id=play.group.task.id,
        n=len(scored),
        c=len(right),
        unscored=len(play.group.rollouts) - len(scored),
        solutions=dict(Counter(play.keys.get(r.id, r.response.strip()) for r in right)),
        surprisal=-float(np.mean(logprobs)) if logprobs else None,
    )


def _accuracy(play: Any, success: float) -> float | None:
    rewards = [r.reward for r in play.group.rollouts if r.reward is not None]
    return float(np.mean([reward >= success for reward in rewards])) if rewards else None


def _divergence(plays: Any, ours: Any, theirs: Any) -> tuple[list[float | None], list[float | None]]:
    """KL(ours || theirs) of each task's first rollout, sampled by `ours`, and the share of its tokens at which the two
    policies' favourites differ; None for a rollout without tokens."""
    divergences: list[float | None] = []
    flips: list[float | None] = []
    for play in plays:
        turns = [turn for turn in play.group.rollouts[0].turns if turn.completion_ids]
        if not turns:
            divergences.append(None)
            flips.append(None)
            continue
        asked = [t.prompt_ids for t in turns], [t.completion_ids for t in turns]
        pairs = list(zip(ours.score(*asked, topk=1), theirs.score(*asked, topk=1), strict=True))
        divergences.append(sum(kl_estimates(a.logp, b.logp)["k3"] * len(a.logp) for a, b in pairs))
        tops = [np.concatenate([scored.top_ids[:, 0] for scored in side]) for side in zip(*pairs, strict=True)]
        flips.append(top1_flip_rate(tops[0].tolist(), tops[1].tolist()))
    return divergences, flips
