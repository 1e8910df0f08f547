"""Prompt transforms: pure functions on messages, and a wrapper that applies one to the first turn.

Prompt repetition (Leviathan et al., December 2025) lets every token of the question be attended to by every token of
its
second copy. It is meant for answers without reasoning, costs prompt length, and must not be used silently in training:
the wrapper says so in ``info["transform"]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

Message = dict[str, Any]
Transform = Callable[[Sequence[Message]], tuple[Message, ...]]

JOIN = "\n\nLet me repeat that:\n\n"


def repeat(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The last user message twice."""
    return _last_user(messages, lambda text: f"{text}\n\n{text}")


def repeat_verbose(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The last user message twice, with a sentence between the copies."""
    return _last_user(messages, lambda text: f"{text}{JOIN}{text}")


def repeat_thrice(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The last user message three times."""
    return _last_user(messages, lambda text: "\n\n".join([text] * 3))


def pad(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The control: the last user message followed by as many neutral characters as a second copy would have."""
    return _last_user(messages, lambda text: f"{text}\n\n{'.' * len(text)}")


def react(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Ask for thoughts and actions in turn; thoughts do not touch the environment."""
    how = "Think in lines that start with `Thought:`. Act in the last line of your reply."
    return _last_user(messages, lambda text: f"{text}\n\n{how}")


TRANSFORMS: dict[str, Transform] = {
    "repeat": repeat,
    "repeat_verbose": repeat_verbose,
    "repeat_thrice": repeat_thrice,
    "pad": pad,
    "react": react,
}


class TransformPrompt(gym.Wrapper):
    """Apply a transform to the messages of ``reset``; later turns stay as they are.

    Wrapping twice with the same transform changes nothing more, and ``info["transform"]`` names what was applied.

    Args:
        env: the environment.
        name: one of `TRANSFORMS`.

    Raises:
        ValueError: no such transform.
    """

    def __init__(self, env: gym.Env, name: str) -> None:
        super().__init__(env)
        if name not in TRANSFORMS:
            raise ValueError(f"transform {name!r}: choose one of {', '.join(TRANSFORMS)}")
        self.name = name

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, with the transformed prompt."""
        return self._changed(*self.env.reset(seed=seed, options=options))

    async def areset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The async twin of :meth:`reset`."""
        return self._changed(*await self.env.get_wrapper_attr("areset")(seed=seed, options=options))

    async def astep(self, action: str) -> Any:
        """The async twin of ``step``, which is passed on."""
        return await self.env.get_wrapper_attr("astep")(action)

    def _changed(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        applied = list(info.get("transform", []))
        if self.name in applied:
            return observation, info
        return TRANSFORMS[self.name](observation), {**info, "transform": [*applied, self.name]}


def visible_pairs(n: int) -> float:
    """Share of the ordered pairs of ``n`` prompt tokens that causal attention sees: (n + 1) / 2n.

    Example:
        >>> round(visible_pairs(6), 3)
        0.583
    """
    if n < 1:
        raise ValueError(f"n={n}: give at least one token")
    return (n + 1) / (2 * n)


def _last_user(messages: Sequence[Message], change: Callable[[str], str]) -> tuple[Message, ...]:
    """Copies of ``messages`` with the text of the last user message changed; system and tool messages stay."""
    copies = [dict(message) for message in messages]
    for message in reversed(copies):
        if message["role"] == "user" and isinstance(message["content"], str):
            message["content"] = change(message["content"])
            break
    return tuple(copies)
