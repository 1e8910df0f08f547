"""Many environments stepped at once: their cells and sub-calls overlap."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ..core import Observation, Step
from .env import RecursiveREPL


class VectorREPL:
    """`n` environments with the same knobs. An environment that is over is left alone until it is reset.

    Args:
        n: environments.
        **knobs: of `RecursiveREPL`.
    """

    def __init__(self, n: int, **knobs: Any) -> None:
        if n < 1:
            raise ValueError(f"n is {n}; give at least 1")
        self.envs = [RecursiveREPL(**knobs) for _ in range(n)]
        for env in self.envs:
            env.env_id = "palaestra/RecursiveREPL-v0"

    async def areset(self, seeds: Sequence[int]) -> list[tuple[Observation, dict[str, Any]]]:
        """Reset all, one seed each. Equal seeds share their context's process."""
        if len(seeds) != len(self.envs):
            raise ValueError(f"{len(seeds)} seeds for {len(self.envs)} environments; give one each")
        return list(await asyncio.gather(*(env.areset(seed=s) for env, s in zip(self.envs, seeds, strict=True))))

    async def astep(self, actions: Sequence[str | None]) -> list[Step | None]:
        """Step all at once; None leaves an environment alone and comes back as None."""
        if len(actions) != len(self.envs):
            raise ValueError(f"{len(actions)} actions for {len(self.envs)} environments; give one each")

        async def one(env: RecursiveREPL, action: str | None) -> Step | None:
            return None if action is None else await env.astep(action)

        return list(await asyncio.gather(*(one(e, a) for e, a in zip(self.envs, actions, strict=True))))

    def reset(self, seeds: Sequence[int]) -> list[tuple[Observation, dict[str, Any]]]:
        """`areset` for code without an event loop."""
        return asyncio.run(self.areset(seeds))

    def step(self, actions: Sequence[str | None]) -> list[Step | None]:
        """`astep` for code without an event loop."""
        return asyncio.run(self.astep(actions))

    def close(self) -> None:
        """Close all; twice is safe."""
        for env in self.envs:
            env.close()
