"""Evaluation of a model behind an OpenAI-compatible server: messages in, text out, nothing assumed about tokens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..lm import LMError, Sampling
from ..schema import Message, Rollout, StopReason, Task
from .config import ConfigError, EnvConfig, EvalConfig, RolloutConfig
from .engines.sampling import seed_of
from .evaluation import EvalReport, report
from .rollout import Episode, Play, step_env
from .tasks import TaskRef, TaskSource


def evaluate_server(
    env: EnvConfig,
    model: Any,
    config: EvalConfig,
    rollout: RolloutConfig,
    *,
    tasks: Sequence[TaskRef] | None = None,
    seed: int = 0,
    concurrency: int = 32,
    factory: Callable[[], Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[EvalReport, list[Play]]:
    """Evaluate a `LanguageModel` on an environment.

    Args:
        env: which environment.
        model: a `palaestra.lm.LanguageModel`, such as `OpenAIModel`.
        config: samples a task, temperature, k of pass@k.
        rollout: limits of a rollout.
        tasks: which tasks; by default the first of the test split (or of all, when the environment does not split).
        seed: run seed; sent to the server, one a sample.
        concurrency: rollouts played at once.
        factory: makes environments; by default ``palaestra.make``.
        progress: called with (rollouts done, rollouts in all).

    Returns:
        The report, and the played groups. A rollout whose model call failed has no reward: it is counted as unscored.
    """
    source = TaskSource(env, factory)
    refs = list(tasks) if tasks is not None else source.take("test", config.tasks)[0]
    jobs = [(i, j, config.temperature, config.top_p) for i in range(len(refs)) for j in range(config.samples)]
    if config.greedy:
        jobs += [(i, -1, 0.0, 1.0) for i in range(len(refs))]
    start, done = time.perf_counter(), 0

    async def run() -> list[tuple[Task, Rollout, Episode]]:
        gate = asyncio.Semaphore(concurrency)

        async def one(i: int, j: int, temperature: float, top_p: float) -> tuple[Task, Rollout, Episode]:
            nonlocal done
            sampling = Sampling(
                temperature=temperature,
                top_p=None if top_p == 1 else top_p,
                max_tokens=rollout.max_new_tokens,
                seed=seed_of(seed, i, j) % 2**31,
            )
            async with gate:
                played = await _play(source, refs[i], f"eval-{i}", j, model, sampling, rollout)
            done += 1
            if progress is not None:
                progress(done, len(jobs))
            return played

        try:
            return list(await asyncio.gather(*(one(*job) for job in jobs)))
        finally:
            await model.aclose()

    played = asyncio.run(run())
    source.close()
    plays = _groups(played[: len(refs) * config.samples], config.samples)
    greedy = _groups(played[len(refs) * config.samples :], 1) if config.greedy else None
    name = getattr(model, "name", type(model).__name__)
    result = report(plays, greedy, config, env=env.id, policy=name, seconds=time.perf_counter() - start)
    return result, plays


def _groups(played: list[tuple[Task, Rollout, Episode]], size: int) -> list[Play]:
    return [Play.of(played[start : start + size]) for start in range(0, len(played), size)]


async def _play(
    source: TaskSource, ref: TaskRef, group_id: str, j: int, model: Any, sampling: Sampling, limits: RolloutConfig
) -> tuple[Task, Rollout, Episode]:
    env = source.acquire()
    inner = env.unwrapped
    if hasattr(inner, "areset"):
        observation, info = await inner.areset(seed=ref.seed, options=ref.options)
    else:
        observation, info = env.reset(seed=ref.seed, options=ref.options)
    if getattr(inner, "wants_policy", False):
        inner.use_sub(model)
    first = [dict(message) for message in observation]
    episode = Episode(messages=list(first), turns=[])
    tokens = turns = 0
    while True:
        try:
            answer = await model.complete(episode.messages, sampling, allow_empty=True)
        except LMError as error:
            episode.fail(f"{type(error).__name__}: {error}", StopReason.ENV_ERROR)
            break
        tokens += answer.usage.completion_tokens
        turns += 1
        episode.messages.append({"role": "assistant", "content": answer.text})
        new = await step_env(env, answer.text, episode, limits.step_timeout)
        if new is None:
            break
        if turns >= limits.max_turns:
            episode.cut(StopReason.TURN_LIMIT)
            break
        episode.messages.extend(new)
    rollout_id = f"{group_id}-{j}"
    episode.adopt(inner, rollout_id)
    if episode.stop is StopReason.TIMEOUT:
        env.close()
    else:
        source.release(env)
    task_id = str(info.get("task_id") or f"{source.config.id}:{ref.seed}")
    rollout = episode.rollout(rollout_id, task_id, group_id, source.config.id)
    rollout = rollout.model_copy(update={"metrics": {**rollout.metrics, "completion_tokens": float(tokens)}})
    return Task(id=task_id, prompt=tuple(Message(**m) for m in first)), rollout, episode


def cover(source: TaskSource, count: int) -> list[TaskRef]:
    """Seeds that between them draw each of an environment's `count` tasks once.

    Environments over a task file draw from it by seed; trying seeds in order finds every task after about
    count * log(count) draws.

    Raises:
        ConfigError: fewer tasks turn up than expected.
    """
    env = source.acquire()
    found: dict[str, TaskRef] = {}
    for seed in range(200 + 60 * count):
        _, info = env.reset(seed=seed)
        found.setdefault(str(info["task_id"]), TaskRef(seed))
        if len(found) == count:
            break
    source.release(env)
    if len(found) < count:
        raise ConfigError(f"{source.config.id}: only {len(found)} of {count} tasks turned up; are their ids distinct?")
    return list(found.values())
