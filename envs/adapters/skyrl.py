"""Our environments inside SkyRL: a class for ``skyrl_gym.register``."""

from __future__ import annotations

import math
from typing import Any

from ..registry import find, make


class NotScored(RuntimeError):
    """The environment's grader failed. SkyRL has no word for "not scored", and a failure is never a reward."""


def skyrl_environment(env_id: str, **knobs: Any) -> type:
    """A ``BaseTextEnv`` of skyrl-gym that plays one of our environments.

    Register it with ``skyrl_gym.register(id="sort", entry_point=skyrl_environment("palaestra/Sort-v0"))`` and give the
    rows of the data set a column ``seed``: rollouts of a row then share one task. The environment's own prompt replaces
    the row's.

    Args:
        env_id: a registered environment.
        **knobs: handed to ``palaestra.make``.

    Returns:
        The class.

    Raises:
        UnknownEnvironment: no such id.
        ModuleNotFoundError: skyrl-gym is not installed.
    """
    from skyrl_gym.envs.base_text_env import BaseTextEnv

    find(env_id)

    class SkyRLEnvironment(BaseTextEnv):
        def __init__(self, env_config: Any = None, extras: dict[str, Any] | None = None) -> None:
            super().__init__()
            self._env = make(env_id, **knobs)
            self._seed = (extras or {}).get("seed")

        def init(self, prompt: Any) -> tuple[list[dict[str, str]], dict[str, Any]]:
            messages, info = self._env.reset(seed=None if self._seed is None else int(self._seed))
            return _said(messages), {"task_id": info.get("task_id")}

        def step(self, action: str) -> dict[str, Any]:
            messages, reward, terminated, truncated, info = self._env.step(action)
            if math.isnan(reward):
                raise NotScored(f"{env_id}: {info.get('error') or 'the environment gave no reward'}")
            self.turns += 1
            feedback = [note.text for note in info["feedback"]]
            return {
                "observations": _said(messages),
                "reward": float(reward),
                "done": terminated or truncated,
                "metadata": {"feedback": feedback, "truncated": truncated},
            }

        def close(self) -> None:
            self._env.close()

    return SkyRLEnvironment


def _said(messages: Any) -> list[dict[str, str]]:
    return [{"role": str(message["role"]), "content": str(message.get("content") or "")} for message in messages]
