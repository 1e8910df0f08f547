"""Steps with the same number of tasks of every type (`Objective.balance_task_types`), for multi-task environments."""

from __future__ import annotations

from typing import Any

from .config import ConfigError
from .tasks import TaskRef, TaskSource

SURVEY = 256
PATIENCE = 50


class Balanced:
    """Draws tasks of a source by type.

    The types are those of the first `survey` training tasks; a task says its type in ``metadata["task_type"]``, and an
    environment that names none has a single type and nothing to balance. Seeds of types that are full are passed over,
    so nothing is borrowed from another type.

    Args:
        source: tasks.
        survey: how many tasks are looked at to learn the types.
    """

    def __init__(self, source: TaskSource, survey: int = SURVEY) -> None:
        self.source = source
        refs, _ = source.take("train", survey)
        self.types = sorted({source.task_type(ref) for ref in refs})

    def quotas(self, count: int, turn: int) -> dict[str, int]:
        """How many tasks of each type the step takes; a remainder rotates over the types with `turn`."""
        share, extra = divmod(count, len(self.types))
        lucky = {self.types[(turn * extra + i) % len(self.types)] for i in range(extra)}
        return {name: share + (name in lucky) for name in self.types}

    def take(self, count: int, cursor: int, turn: int = 0, skip: Any = ()) -> tuple[list[TaskRef], int]:
        """The next `count` tasks with every type at its quota, and the cursor after them.

        Raises:
            ConfigError: a type did not come for too long.
        """
        if len(self.types) == 1:
            refs: list[TaskRef] = []
            while len(refs) < count:
                found, cursor = self.source.take("train", count - len(refs), cursor)
                refs += [ref for ref in found if ref.seed not in skip]
            return refs, cursor
        left = self.quotas(count, turn)
        refs, patience = [], PATIENCE * SURVEY
        while len(refs) < count:
            (ref,), cursor = self.source.take("train", 1, cursor)
            kind = self.source.task_type(ref)
            patience -= 1
            if left.get(kind, 0) and ref.seed not in skip:
                left[kind] -= 1
                refs.append(ref)
            elif not patience:
                missing = ", ".join(name for name, wanted in left.items() if wanted)
                raise ConfigError(
                    f"env {self.source.config.id}: {PATIENCE * SURVEY} tasks brought too few of type {missing} to "
                    "balance a step; make them more frequent or set objective.balance_task_types = false"
                )
        return refs, cursor
