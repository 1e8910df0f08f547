"""Plays environments with a policy and records exactly what was sampled."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..schema import Feedback, Group, Message, Rollout, StopReason, Task, Turn
from .batcher import Batcher
from .chat import ChatFormat
from .children import PolicyLM
from .config import RolloutConfig
from .engines.sampling import seed_of
from .tasks import TaskRef, TaskSource


@dataclass(frozen=True)
class Play:
    """A played group, and what the environment says of its rollouts, by rollout id.

    Attributes:
        group: the group.
        keys: names of solutions (``info["solution_key"]``), where the environment gives them.
        answers: what was read as the answer (``info["extracted"]``); a rollout without one said nothing readable.
    """

    group: Group
    keys: dict[str, str]
    answers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, played: Sequence[tuple[Task, Rollout, Episode]]) -> Play:
        """A group from its rollouts."""
        task, first, _ = played[0]
        group = Group(id=first.group_id, task=task, rollouts=tuple(rollout for _, rollout, _ in played))
        keys = {rollout.id: episode.key for _, rollout, episode in played if episode.key is not None}
        answers = {rollout.id: episode.answer for _, rollout, episode in played if episode.answer is not None}
        return cls(group, keys, answers)


@dataclass
class Episode:
    """What a rollout has gathered so far."""

    messages: list[dict[str, Any]]
    turns: list[Turn]
    reward: float | None = 0.0
    scores: dict[str, float] | None = None
    feedback: tuple[Feedback, ...] = ()
    terminated: bool = False
    truncated: bool = False
    stop: StopReason = StopReason.FINISHED
    error: str | None = None
    metrics: dict[str, float] | None = None
    key: str | None = None
    answer: str | None = None
    children: tuple[Rollout, ...] = ()

    def fail(self, error: str, stop: StopReason = StopReason.ENV_ERROR) -> None:
        """End without a reward: what could not be judged is not a zero."""
        self.reward, self.error, self.stop = None, error[:1000], stop
        self.terminated, self.truncated = False, True

    def cut(self, stop: StopReason) -> None:
        """End at one of the trainer's own limits, with the rewards earned so far."""
        self.stop, self.truncated = stop, True

    def adopt(self, env: Any, rollout_id: str) -> None:
        """Take the sub-calls of an environment that nests rollouts, also when the trainer cut it short."""
        if hasattr(env, "children"):
            self.children = env.children(self.reward, rollout_id)

    def rollout(self, rollout_id: str, task_id: str, group_id: str, env_id: str) -> Rollout:
        """The finished rollout."""
        return Rollout(
            id=rollout_id,
            task_id=task_id,
            group_id=group_id,
            env_id=env_id,
            messages=tuple(Message(**m) for m in self.messages),
            turns=tuple(self.turns),
            reward=self.reward,
            scores=self.scores or {},
            feedback=self.feedback,
            terminated=self.terminated,
            truncated=self.truncated,
            stop_reason=self.stop,
            error=self.error,
            metrics={"turns": float(len(self.turns)), **(self.metrics or {})},
            children=self.children,
        )


class RolloutWorker:
    """Plays groups of rollouts, many at once.

    Args:
        source: tasks and environments.
        chat: message rendering.
        config: the [rollout] section.
        seed: run seed; every sampled token depends on (seed, step, task, sample, turn) only.
        prompt: transform of a task's messages before sampling.
    """

    def __init__(
        self,
        source: TaskSource,
        chat: ChatFormat,
        config: RolloutConfig,
        seed: int = 0,
        prompt: Callable[[tuple[Message, ...]], tuple[Message, ...]] | None = None,
    ) -> None:
        self.prompt = prompt
        self.source = source
        self.chat = chat
        self.config = config
        self.seed = seed

    def play(self, tasks: Sequence[TaskRef], count: int, batcher: Batcher, stamp: int, name: str = "") -> list[Play]:
        """Play `count` rollouts of every task and wait for them; see `groups`."""
        return asyncio.run(self.groups(tasks, count, batcher, stamp, name))

    async def groups(
        self, tasks: Sequence[TaskRef], count: int, batcher: Batcher, stamp: int, name: str = ""
    ) -> list[Play]:
        """Play `count` rollouts of every task.

        Args:
            tasks: which tasks.
            count: rollouts a task.
            batcher: the sampler.
            stamp: number that names this batch (the training step); part of every seed.
            name: prefix of the group ids.

        Returns:
            One play a task, in order.
        """
        batcher.enter(len(tasks) * count)
        attempts = [
            self._attempt(ref, f"{name or stamp}-{index}", index, j, batcher, seed_of(self.seed, stamp, index, j))
            for index, ref in enumerate(tasks)
            for j in range(count)
        ]
        runs = [asyncio.ensure_future(attempt) for attempt in attempts]
        try:
            rollouts = await asyncio.gather(*runs)
        except BaseException:
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)
            raise
        plays = []
        for index in range(len(tasks)):
            mine = rollouts[index * count : (index + 1) * count]
            plays.append(Play.of(mine))
        return plays

    async def _attempt(
        self, ref: TaskRef, group_id: str, index: int, j: int, batcher: Batcher, key: int
    ) -> tuple[Task, Rollout, Episode]:
        env = self.source.acquire()
        healthy = False
        try:
            played = await self._episode(env, ref, group_id, index, j, batcher, key)
            healthy = played[1].stop_reason is not StopReason.TIMEOUT
            return played
        finally:
            batcher.leave()
            if healthy:
                self.source.release(env)
            else:
                env.close()

    async def _episode(
        self, env: Any, ref: TaskRef, group_id: str, index: int, j: int, batcher: Batcher, key: int
    ) -> tuple[Task, Rollout, Episode]:
        inner = env.unwrapped
        if hasattr(inner, "areset"):
            observation, info = await inner.areset(seed=ref.seed, options=ref.options)
        else:
            observation, info = env.reset(seed=ref.seed, options=ref.options)
        if getattr(inner, "wants_policy", False):
            inner.use_sub(PolicyLM(self.chat, batcher, (index, j), key))
        first = [dict(message) for message in observation]
        if self.prompt is not None:
            first = [m.to_dict() for m in self.prompt(tuple(Message(**m) for m in first))]
        task_id = str(info.get("task_id") or f"{self.source.config.id}:{ref.seed}")
        episode = Episode(messages=list(first), turns=[])  # the task keeps the prompt alone
        tools = info.get("tools")
        ids = self.chat.first(first, tools)
        while True:
            if len(ids) + self.config.max_new_tokens > self.config.max_context:
                episode.cut(StopReason.LENGTH)
                break
            turn = await batcher.sample((index, j), ids, seed_of(key, len(episode.turns)))
            episode.turns.append(turn)
            text = self.chat.decode(turn.completion_ids)
            answer = {"role": "assistant", "content": text}
            history = list(episode.messages)
            episode.messages.append(answer)
            new = await step_env(env, text, episode, self.config.step_timeout, apart=batcher.eager)
            if new is None:
                break
            if len(episode.turns) >= self.config.max_turns:
                episode.cut(StopReason.TURN_LIMIT)
                break
            following = self.chat.next(ids, turn.completion_ids, history, answer, new, tools)
            episode.messages.extend(new)
            ids = following.ids
        rollout_id = f"{group_id}-{j}"
        episode.adopt(inner, rollout_id)
        rollout = episode.rollout(rollout_id, task_id, group_id, self.source.config.id)
        known = getattr(inner, "current_task", None) or getattr(inner, "task", None)
        metadata = dict(known.metadata) if isinstance(known, Task) else {}
        gold = known.answer if isinstance(known, Task) and isinstance(known.answer, (str, int, float)) else None
        task = Task(id=task_id, prompt=tuple(Message(**m) for m in first), answer=gold, metadata=metadata)
        return task, rollout, episode


async def step_env(
    env: Any, text: str, episode: Episode, timeout: float, *, apart: bool = False
) -> list[dict[str, Any]] | None:
    """Send an action and note what came of it; new messages, or None when the episode is over.

    Environments without `astep` block; `apart` lets them do so in a thread, beside other rollouts.
    """
    inner = env.unwrapped
    try:
        async with asyncio.timeout(timeout):
            if hasattr(inner, "astep"):
                observation, reward, terminated, truncated, info = await inner.astep(text)
            elif apart:
                observation, reward, terminated, truncated, info = await asyncio.to_thread(env.step, text)
            else:
                observation, reward, terminated, truncated, info = env.step(text)
    except TimeoutError:
        episode.fail(f"the environment took longer than {timeout:g} s", StopReason.TIMEOUT)
        return None
    except Exception as error:  # a broken environment is an unscored rollout, whatever it raised
        episode.fail(f"{type(error).__name__}: {error}")
        return None
    episode.feedback += tuple(f if isinstance(f, Feedback) else Feedback(**f) for f in info.get("feedback", ()))
    episode.scores = {**(episode.scores or {}), **info.get("scores", {})}
    episode.children = tuple(info.get("children", ()))
    episode.metrics = {k: float(v) for k, v in info.get("metrics", {}).items()}
    if "solution_key" in info:
        episode.key = str(info["solution_key"])
    if info.get("extracted") is not None:
        episode.answer = str(info["extracted"])
    if not math.isfinite(reward):
        episode.fail(str(info.get("error") or "the environment gave no reward"))
        return None
    assert episode.reward is not None
    episode.reward += float(reward)
    if terminated or truncated:
        episode.terminated, episode.truncated = bool(terminated), bool(truncated and not terminated)
        if info.get("stop_reason"):
            episode.stop = StopReason(info["stop_reason"])
        return None
    return [dict(message) for message in observation]
