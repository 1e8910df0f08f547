"""Prompt transforms: pure functions on messages, and a wrapper that applies one to the first turn.

Prompt repetition (Leviathan et al., December 2025) lets every token of the question be attended to by every token of
its second copy. It is meant for answers without reasoning, costs prompt length, and must not be used silently in
training: the wrapper says so in ``info["transform"]``.
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
    Repetition doubles the prompt; with ``context`` a prompt that would not fit any more stays as it is, and
    ``info["transform_skipped"]`` names the transform.

    Args:
        env: the environment.
        name: one of `TRANSFORMS`.
        context: tokens the model can hold.
        reply: tokens of it that the reply may take.
        count: tokens of the messages, as the model's tokenizer counts them; by default one for each byte, which no
            tokenizer exceeds.

    Raises:
        ValueError: no such transform, or ``reply`` leaves no room in ``context``.
    """

    def __init__(
        self,
        env: gym.Env,
        name: str,
        *,
        context: int | None = None,
        reply: int = 0,
        count: Callable[[Sequence[Message]], int] | None = None,
    ) -> None:
        super().__init__(env)
        if name not in TRANSFORMS:
            raise ValueError(f"transform {name!r}: choose one of {', '.join(TRANSFORMS)}")
        if context is not None and not 0 <= reply < context:
            raise ValueError(f"reply={reply} leaves no room for a prompt in context={context}")
        self.name, self.context, self.reply, self.count = name, context, reply, count or _bytes

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
        changed = TRANSFORMS[self.name](observation)
        if self.context is not None and self.count(changed) + self.reply > self.context:
            return observation, {**info, "transform_skipped": [*info.get("transform_skipped", []), self.name]}
        return changed, {**info, "transform": [*applied, self.name]}


def _bytes(messages: Sequence[Message]) -> int:
    return sum(len(str(message["content"]).encode()) for message in messages)


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
