"""Which tasks a run sees: seeds of an environment, split into a training and a held-out side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..envs.splits import split_of
from .config import EnvConfig

EVAL_SEEDS = 1_000_000_007  # held-out tasks are drawn from here on, so that both sides also differ in seed


@dataclass(frozen=True)
class TaskRef:
    """A task by name: the environment seed that makes it, and the options of its reset."""

    seed: int
    options: dict[str, Any] = field(default_factory=dict)


class TaskSource:
    """Gives tasks and environments that play them.

    Environments of this framework split their tasks themselves (a stable hash of the prompt). For other gymnasium
    environments the same hash of the first messages decides, by drawing again.

    Args:
        config: the [env] section.
        factory: makes one environment; by default ``palaestra.make`` with the section's id and arguments.
    """

    def __init__(self, config: EnvConfig, factory: Callable[[], Any] | None = None) -> None:
        self.config = config
        self._factory = factory or self._make
        self._idle: list[Any] = []
        probe = self.acquire()
        self.splits_itself = hasattr(probe.unwrapped, "settings") and hasattr(probe.unwrapped, "oracle")
        self.release(probe)

    def acquire(self) -> Any:
        """An environment nobody uses."""
        try:
            return self._idle.pop()  # one step, so that threads may ask at the same time
        except IndexError:
            return self._factory()

    def _make(self) -> Any:
        from ..envs import HttpEnv, make

        if self.config.url:
            return HttpEnv(self.config.url, self.config.id, token=self.config.token or None, **self.config.args)
        return make(self.config.id, **self.config.args)

    def release(self, env: Any) -> None:
        """Hand an environment back for later episodes."""
        self._idle.append(env)

    def close(self) -> None:
        """Close all idle environments."""
        while self._idle:
            self._idle.pop().close()

    def tasks(self, split: str, start: int = 0) -> Iterator[tuple[int, TaskRef]]:
        """Endless tasks of one side.

        Args:
            split: ``train`` or ``test``.
            start: cursor to continue from.

        Yields:
            The cursor after this task, and the task.
        """
        base = self.config.seed + (EVAL_SEEDS if split == "test" else 0)
        options = {"split": split} if self.config.split and self.splits_itself else {}
        cursor = start
        while True:
            ref = TaskRef(base + cursor, options)
            cursor += 1
            if self.config.split and not self.splits_itself and self._side(ref) != split:
                continue
            yield cursor, ref

    def take(self, split: str, count: int, start: int = 0) -> tuple[list[TaskRef], int]:
        """The next `count` tasks, and the cursor after them."""
        refs, cursor = [], start
        stream = self.tasks(split, start)
        for _ in range(count):
            cursor, ref = next(stream)
            refs.append(ref)
        return refs, cursor

    def side(self, env: Any, observation: Any) -> str:
        """The side of a task that was drawn without a split, decided as environments of this framework do."""
        task = getattr(env.unwrapped, "current_task", None)
        key = [message["content"] for message in observation]
        if task is not None:
            key = task.metadata.get("split_key", key)
        settings = getattr(env.unwrapped, "settings", None)
        return split_of(key, settings.test_share if settings is not None else 0.2)

    def task_type(self, ref: TaskRef) -> str:
        """The family a task belongs to: ``metadata["task_type"]``, or the environment's id where it names none."""
        env = self.acquire()
        env.reset(seed=ref.seed, options=ref.options)
        task = getattr(env.unwrapped, "current_task", None)
        self.release(env)
        return str(task.metadata.get("task_type", self.config.id)) if task is not None else self.config.id

    def _side(self, ref: TaskRef) -> str:
        env = self.acquire()
        observation, _ = env.reset(seed=ref.seed)
        self.release(env)
        return self.side(env, observation)
