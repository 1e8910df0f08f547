"""Which prompt the teacher reads: the task, plus what the group and the environment revealed. Pure, no torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...schema import Message, Rollout
from .types import RolloutBatch, TeacherContext

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)

SOLUTION = "Here is a correct solution of this task:"
FEEDBACK = "An earlier attempt at this task failed. This is the feedback it received:"
CLOSING = "Solve the task correctly."


@dataclass(frozen=True)
class Reprompt:
    """What goes into a self-teacher's prompt.

    Attributes:
        success: reward from which a sibling counts as a solution.
        self_success: a successful rollout may be shown to itself.
        feedback: use the environment's feedback.
        feedback_only_without_solution: drop the feedback whenever a solution is shown.
        remove_thinking: cut ``<think>...</think>`` from the sibling.
        max_chars: bound on each block; what is too long is cut inside the block, never the closing instruction.
        solution_text: heading of the solution.
        feedback_text: heading of the feedback.
        closing_text: last line of the prompt; empty for none.
    """

    success: float = 0.5
    self_success: bool = False
    feedback: bool = True
    feedback_only_without_solution: bool = True
    remove_thinking: bool = True
    max_chars: int = 20_000
    solution_text: str = SOLUTION
    feedback_text: str = FEEDBACK
    closing_text: str = CLOSING


def prompt_messages(rollout: Rollout) -> tuple[Message, ...]:
    """The messages before the first turn the policy wrote; earlier assistant messages are few-shot examples."""
    written = [i for i, message in enumerate(rollout.messages) if message.role == "assistant"]
    turns = max(len(rollout.turns), 1)
    return rollout.messages[: written[-turns]] if len(written) >= turns else rollout.messages


def feedback_text(rollout: Rollout) -> str:
    """What the environment told the policy about a failed attempt; praise and blank texts are left out."""
    texts = [item.text for item in rollout.feedback if item.kind != "correct" and item.text.strip()]
    return "\n".join(texts)


def solutions(batch: RolloutBatch, how: Reprompt) -> list[str | None]:
    """For each rollout the text of the first successful sibling of its group, in batch order; None without one.

    Siblings that wrote nothing are no solutions.
    """
    found: list[str | None] = [None] * len(batch)
    for index in batch.groups():
        good = [
            j for j in index if np.nan_to_num(batch.accuracy_B[j], nan=-np.inf) >= how.success and _text(batch, j, how)
        ]
        for i in index:
            others = [j for j in good if how.self_success or j != i]
            if others:
                found[i] = _text(batch, others[0], how)
    return found


def _text(batch: RolloutBatch, i: int, how: Reprompt) -> str:
    text = batch.rollouts[i].response
    return (_THINKING.sub("", text) if how.remove_thinking else text).strip()


def reprompt(prompt: tuple[Message, ...], solution: str | None, feedback: str, how: Reprompt) -> tuple[Message, ...]:
    """The prompt with its last user turn extended by a solution and feedback; earlier turns stay as they are."""
    users = [i for i, message in enumerate(prompt) if message.role == "user"]
    place = users[-1] if users else len(prompt)
    blocks = [prompt[place].text] if users else []
    if solution:
        blocks.append(f"{how.solution_text}\n\n{_cut(solution, how.max_chars)}")
    if feedback:
        blocks.append(f"{how.feedback_text}\n\n{_cut(feedback, how.max_chars)}")
    blocks.append(how.closing_text)
    turn = Message(role="user", content="\n\n".join(block for block in blocks if block))
    return (*prompt[:place], turn, *prompt[place + 1 :])


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]} [...]"


def self_teacher(how: Reprompt | None = None) -> Callable[[RolloutBatch], TeacherContext]:
    """Contexts for SDPO: each rollout's prompt plus a sibling's solution and/or its own feedback.

    A rollout with neither has no teacher signal (None), nor has one that sampled nothing or could not be scored.
    """
    rules = how or Reprompt()

    def contexts(batch: RolloutBatch) -> TeacherContext:
        if len(batch.rollouts) != len(batch):
            raise ValueError("a self-teacher needs RolloutBatch.rollouts: it reads texts and feedback")
        messages: list[tuple[Message, ...] | None] = []
        for i, solution in enumerate(solutions(batch, rules)):
            rollout = batch.rollouts[i]
            feedback = feedback_text(rollout) if rules.feedback else ""
            if solution and rules.feedback_only_without_solution:
                feedback = ""
            valid = bool(batch.scored_B[i]) and (batch.lengths_B is None or batch.lengths_B[i] > 0)
            useful = valid and bool(solution or feedback)
            messages.append(reprompt(prompt_messages(rollout), solution, feedback, rules) if useful else None)
        return TeacherContext(tuple(messages))

    return contexts
