"""Palaestra: register an environment, run a judge server, train an agent against both.

Importing this package is cheap: torch, Docker and the network are touched only by the rooms that need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import envs  # enters every environment into Gymnasium's registry: gymnasium.make finds them from here on
from .schema import Feedback, Group, Message, RewardResult, Rollout, StopReason, Task, Turn

__version__ = "0.1.0"

# Public name -> the module that defines it; loaded on first use so that `import palaestra` stays fast.
_LAZY = {
    "env": ".envs",
    "make": ".envs",
    "make_vec": ".envs",
    "register": ".envs",
    "Ask": ".envs",
    "Result": ".envs",
    "SingleTurnEnv": ".envs",
    "MultiTurnEnv": ".envs",
    "ToolEnv": ".envs",
    "Sandbox": ".sandbox",
}

__all__ = [
    "Ask",
    "Feedback",
    "Group",
    "Message",
    "MultiTurnEnv",
    "Result",
    "RewardResult",
    "Rollout",
    "Sandbox",
    "SingleTurnEnv",
    "StopReason",
    "Task",
    "ToolEnv",
    "Turn",
    "__version__",
    "env",
    "envs",
    "make",
    "make_vec",
    "register",
]

if TYPE_CHECKING:
    from .envs import Ask, MultiTurnEnv, Result, SingleTurnEnv, ToolEnv, env, make, make_vec, register
    from .sandbox import Sandbox


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name], __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
