"""Right replies that environments can produce, as conversations for the supervised warm start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .config import ConfigError
from .tasks import TaskRef, TaskSource

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Demonstration:
    """A conversation with right replies: (history, reply) of every turn."""

    turns: tuple[tuple[Messages, str], ...]


def _countdown(env: Any, rng: np.random.Generator) -> list[str]:
    """A random solution in a random order of writing it; the oracle alone would teach a single style."""
    from ..envs.arithmetic import parse, show

    task, knobs = env.current_task, env.knobs
    numbers, target = tuple(sorted(task.metadata["numbers"])), task.metadata["target"]
    found = _all_solutions(numbers, knobs.get("ops", "+-*/"), knobs.get("use_all", False))(target)
    return [show(_reordered(parse(found[int(rng.integers(len(found)))]), rng))]


def _reordered(tree: Any, rng: np.random.Generator) -> Any:
    """An expression tree with the operands of sums and products swapped at random."""
    if tree[0] == "num":
        return tree
    parts = [_reordered(part, rng) for part in tree[1:]]
    if tree[0] in "+*" and rng.random() < 0.5:
        parts.reverse()
    return (tree[0], *parts)


@lru_cache(maxsize=1024)  # the solver does all targets of some numbers at once, so its work is kept by numbers
def _all_solutions(numbers: tuple[int, ...], ops: str, use_all: bool) -> Callable[[int], tuple[str, ...]]:
    from ..envs.countdown import solutions

    return lru_cache(maxsize=None)(lambda target: tuple(solutions(numbers, target, ops, use_all)))


RANDOM_SOLUTIONS: dict[str, Callable[[Any, np.random.Generator], list[str]]] = {"palaestra/Countdown-v0": _countdown}
"""Environments with many right answers: env id -> a random one for the current task."""


class Demonstrator:
    """Draws demonstrations of training tasks.

    An oracle replays a seed without redrawing, so the side of the split is checked here and not inside ``reset``.

    Args:
        source: tasks and environments.
        prompt: transform of a task's messages, the same as in sampling.
    """

    def __init__(self, source: TaskSource, prompt: Any = None) -> None:
        self.source = source
        self.prompt = prompt
        self.env = source.acquire()

    def draw(self, count: int, cursor: int, rng: np.random.Generator) -> tuple[list[Demonstration], int]:
        """Demonstrations of the next training tasks, and the cursor after them."""
        shown: list[Demonstration] = []
        while len(shown) < count:
            ref = TaskRef(self.source.config.seed + cursor)
            cursor += 1
            demonstration = self.show(ref, rng)
            if demonstration is not None:
                shown.append(demonstration)
        return shown, cursor

    def show(self, ref: TaskRef, rng: np.random.Generator) -> Demonstration | None:
        """Play a task with its own right replies; None when it is held out.

        Raises:
            ConfigError: the environment does not know its answers.
        """
        env = self.env.unwrapped
        observation, _ = env.reset(seed=ref.seed, options=ref.options)
        if self.source.config.split and self.source.side(env, observation) != "train":
            return None
        chosen = RANDOM_SOLUTIONS.get(self.source.config.id)
        try:
            replies = iter(chosen(env, rng) if chosen else env.oracle())
            history = [dict(message) for message in observation]
            if self.prompt is not None:
                from ..schema import Message

                history = [m.to_dict() for m in self.prompt(tuple(Message(**m) for m in history))]
            turns = []
            for reply in replies:
                turns.append((list(history), reply))
                observation, _, terminated, truncated, _ = env.step(reply)
                history += [{"role": "assistant", "content": reply}, *(dict(m) for m in observation)]
                if terminated or truncated:
                    break
        except NotImplementedError:
            raise ConfigError(
                f"warmup.steps is set, but {self.source.config.id} does not know right answers (no oracle); set "
                "warmup.steps = 0 and start from a trained policy.model"
            ) from None
        return Demonstration(tuple(turns))

    def close(self) -> None:
        """Hand the environment back."""
        self.source.release(self.env)
