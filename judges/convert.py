"""From the trainer's nouns (`Group`, `Rollout`) to the judge server's wire schema, matched by rollout id."""

from __future__ import annotations

from typing import Any

from ..schema import Group, Message, Rollout, Task
from .types import Item, Response, ResponseGroup


def prompt_of(task: Task) -> str | tuple[Message, ...]:
    """What the policy was asked."""
    return task.prompt


def response_of(task: Task, rollout: Rollout) -> str | tuple[Message, ...]:
    """What the policy did after the prompt: its text, or the conversation when there was more than one turn."""
    prompt = [(m.role, m.text) for m in task.messages]
    messages = rollout.messages
    head = [(m.role, m.text) for m in messages[: len(prompt)]]
    rest = messages[len(prompt) :] if head == prompt else tuple(m for m in messages if m.role != "system")
    written = [m for m in rest if m.role == "assistant"]
    if len(written) == 1 and rest and rest[-1] is written[0]:
        return written[0].text
    return rest if len(written) > 1 or any(m.role == "tool" for m in rest) else rollout.response


def items_of(group: Group) -> list[Item]:
    """Every rollout as an item; the task's answer is the reference."""
    task = group.task
    return [
        Item(id=r.id, prompt=prompt_of(task), response=response_of(task, r), reference=plain(task.answer))
        for r in group.rollouts
    ]


def responses_of(group: Group) -> ResponseGroup:
    """The rollouts as one group of responses."""
    task = group.task
    return ResponseGroup(
        id=group.id,
        prompt=prompt_of(task),
        reference=plain(task.answer),
        responses=[Response(id=r.id, response=response_of(task, r)) for r in group.rollouts],
    )


def plain(value: Any) -> Any:
    """A value as JSON knows it; what JSON does not know as text."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    return str(value)
