"""Our single-turn environments as tasksets of Prime Intellect's verifiers (0.4, its ``verifiers.v1``).

A module of yours exports one, and verifiers' programs find it by the module's name::

    # my_sort.py
    from palaestra.envs.adapters.verifiers import taskset

    Sort = taskset("palaestra/Sort-v0", count=100, digits=4)
    __all__ = ["Sort"]

    vf-validate my_sort
    vf-eval my_sort -n 20 -r 4 --no-push
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..registry import find, make


def taskset(env_id: str, *, count: int = 100, first_seed: int = 0, **knobs: Any) -> type:
    """A verifiers ``Taskset`` class over the tasks of an environment.

    Task data holds the seed and the prompt, not the answer; grading plays the reply on the environment. What could not
    be judged raises, which verifiers records as an error of the rollout and not as a reward.

    Args:
        env_id: a registered environment whose episodes take one reply.
        count: number of tasks, from consecutive seeds.
        first_seed: the first of them.
        **knobs: handed to ``palaestra.make``.

    Raises:
        UnknownEnvironment: no such id.
        ImportError: verifiers is not installed.
    """
    import verifiers.v1 as vf
    from verifiers.v1.utils.decorators import reward

    find(env_id)

    class Data(vf.TaskData):
        seed: int

    def graded(seed: int, reply: str) -> float:
        env = make(env_id, **knobs)
        try:
            env.reset(seed=seed)
            _, value, terminated, truncated, info = env.step(reply)
        finally:
            env.close()
        if math.isnan(value):
            raise RuntimeError(f"{env_id} seed {seed} could not be judged: {info.get('error')}")
        if not (terminated or truncated):
            raise RuntimeError(f"{env_id} wants more than one reply; verifiers' single-agent tasks give one")
        return value

    class Task(vf.Task[Data]):
        @reward
        async def palaestra(self, trace: Any) -> float:
            return graded(self.data.seed, trace.last_reply or "")

        async def validate(self, runtime: Any) -> bool | None:
            env = make(env_id, **knobs)
            env.reset(seed=self.data.seed)
            reply = next(iter(env.unwrapped.oracle()), None)
            best = env.unwrapped.max_reward
            env.close()
            return None if reply is None else graded(self.data.seed, reply) >= best

    class Taskset(vf.Taskset[Task, vf.TasksetConfig]):
        def load(self) -> Iterable[Task]:
            env = make(env_id, **knobs)
            for seed in range(first_seed, first_seed + count):
                messages, info = env.reset(seed=seed)
                prompt = [{"role": m["role"], "content": m["content"]} for m in messages]
                yield Task(Data(seed=seed, id=info["task_id"], prompt=prompt), self.config.task)

    return Taskset
