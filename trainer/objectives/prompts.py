"""Prompt transforms: pure functions from a task's messages to the messages the policy sees."""

from __future__ import annotations

from typing import Literal

from ...schema import Message
from .types import PromptTransform

Repeat = Literal["none", "twice", "verbose", "thrice", "pad"]
BRIDGE = "\nLet me repeat that:\n"


def prompt_repetition(mode: Repeat) -> PromptTransform:
    """Repeat the last user turn, so that its early tokens can be attended to with all of it in sight.

    Args:
        mode: ``twice`` q+q, ``verbose`` with a bridging sentence, ``thrice`` q+q+q, ``pad``: the control, as long as
            ``twice`` but filled with dots.

    System messages and earlier turns stay single. A text that is its own repetition already is left alone, so the
    transform can be applied twice. Prefix caches see another prompt, and prompts double in length.
    """

    def transform(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        users = [i for i, message in enumerate(messages) if message.role == "user"]
        if mode == "none" or not users or not isinstance(messages[users[-1]].content, str):
            return messages
        text = messages[users[-1]].text
        if any(_repeated(text[: _half(text, kind)], kind) == text for kind in ("twice", "verbose", "thrice", "pad")):
            return messages
        marked = messages[users[-1]].model_copy(update={"content": _repeated(text, mode)})
        return (*messages[: users[-1]], marked, *messages[users[-1] + 1 :])

    return transform


def _repeated(text: str, mode: Repeat) -> str:
    parts = {
        "verbose": f"{text}{BRIDGE}{text}",
        "thrice": f"{text}\n{text}\n{text}",
        "pad": f"{text}\n{'.' * len(text)}",
    }
    return parts.get(mode, f"{text}\n{text}")


def _half(text: str, mode: Repeat) -> int:
    """Length of the original if `text` were its repetition."""
    copies, glue = {"verbose": (2, len(BRIDGE)), "thrice": (3, 2)}.get(mode, (2, 1))
    return max(len(text) - glue, 0) // copies


def visible_pairs(n: int) -> tuple[float, float]:
    """Share of the pairs of n prompt tokens that causal attention sees: in the first copy and in the second."""
    return (n + 1) / (2 * n), 1.0


def prefixed(text: str) -> PromptTransform:
    """Put a control text in front of the last user turn (reward conditioning, Quark)."""

    def transform(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        users = [i for i, message in enumerate(messages) if message.role == "user"]
        if not users:
            return (*messages, Message(role="user", content=text))
        message = messages[users[-1]]
        marked = message.model_copy(update={"content": f"{text}{message.text}"})
        return (*messages[: users[-1]], marked, *messages[users[-1] + 1 :])

    return transform
