"""Our environments inside TRL's ``GRPOTrainer(environment_factory=...)``."""

from __future__ import annotations

import math
from typing import Any

from ..registry import find, make


def trl_environment(env_id: str, **knobs: Any) -> type:
    """A class for TRL's ``environment_factory``; TRL makes one instance a rollout.

    The policy acts through one tool, ``reply``. Give the trainer a data set whose rows have a column ``seed``: the
    rollouts of a row then share one task, which a group needs. What could not be judged, and an episode that was not
    finished, has the reward None, which TRL leaves out.

    Args:
        env_id: a registered environment.
        **knobs: handed to ``palaestra.make``.

    Returns:
        The class, with ``reset``, ``reply`` and ``get_reward``.

    Raises:
        UnknownEnvironment: no such id.

    Example:
        >>> TRLEnvironment = trl_environment("palaestra/Sort-v0", digits=3)
        >>> episode = TRLEnvironment()
        >>> episode.reset(seed=3).isdigit()
        True
    """
    find(env_id)

    class TRLEnvironment:
        def __init__(self) -> None:
            self._env = make(env_id, **knobs)
            self._reward: float | None = None
            self._over = True

        def reset(self, seed: int | None = None, **row: Any) -> str:
            messages, _ = self._env.reset(seed=None if seed is None else int(seed))
            self._reward, self._over = None, False
            return _said(messages)

        def reply(self, text: str) -> str:
            """Send a message to the environment and read what it says.

            Args:
                text: the whole message.
            """
            if self._over:
                return "The episode is over."
            messages, reward, terminated, truncated, info = self._env.step(text)
            total = (self._reward or 0.0) + reward
            self._reward = None if math.isnan(total) else total
            self._over = terminated or truncated
            notes = "\n".join(note.text for note in info["feedback"])
            return "\n".join(part for part in (_said(messages), notes) if part) or "Received."

        def get_reward(self) -> float | None:
            return self._reward if self._over else None

    return TRLEnvironment


def _said(messages: Any) -> str:
    return "\n\n".join(str(message.get("content") or "") for message in messages)
