"""Environments: text worlds that are real ``gymnasium.Env``s, their verifiers, server and client.

The interface in full:

    env(id, *, max_turns=None, max_reward=1.0, feedback_bits=3.0, blocking=False, local_only=(), oracle=None)  decorates
    register(id, class_or_function_or_"module:name", **kwargs)
    make(id, **knobs_and_settings) -> TextEnv           list_envs() -> list[Entry]  (also `envs.list`)
    make_vec(id, num_envs, *, mode="sync"|"async", **knobs) -> gymnasium.vector.VectorEnv
    Ask(text, tools=(), feedback=(), reward=0.0, reason="", scores={}, info={})
    Result(reward, feedback=(), reason="", scores={}, error=None, truncated=False, stop=None, info={})

    TextEnv.reset(*, seed=None, options=None) -> (messages, info)
    TextEnv.step(text) -> (messages, reward, terminated, truncated, info)
    await TextEnv.areset(...), await TextEnv.astep(text)     the same, slow work off the event loop
    TextEnv.fork() -> TextEnv                                a second environment in the same state, by replay
    TextEnv.oracle() -> iterator of right replies            TextEnv.close()  (twice is safe)
    TextEnv.messages, .current_task (host only), .knobs, .settings, .max_reward

``messages`` is a tuple of dicts ``{"role", "content", ...}``: only those since the last action. ``options`` of
``reset`` overrides knobs and settings for one episode. ``info`` always has:

    feedback      list[Feedback]            scores        dict[str, float]         reason        str
    task_id       str                       episode_seed  int
    metrics       counters (tool calls, faults), when there are any
    tools         OpenAI tool schemas, in turns that offer tools
    stop_reason   on the last step: a value of ``StopReason``
    error         on the last step, when the environment or grader failed: reward is nan, truncated is True
    leaky         True when feedback="reference" was asked for
    extracted     what the verifier read as the answer, when it read one
    solution_key  (Countdown) the expression in normal form; solution_class ignores order and grouping as well

The task is (env_id, knobs, seed). ``reset()`` without a seed draws the next one from the stream of the last seeded
reset. Settings every environment has, as keywords of ``make``: max_turns, feedback ("none", "verdict", "reason",
"tests", "reference"), split ("train", "test", None), test_share (0.2), max_chars, tool_format, tools_in_prompt,
lenient, render_mode. ``split`` is decided by a hash of the prompt (or of what the environment calls the same task), by
redrawing inside ``reset``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .registry import (
    Entry,
    UnknownEnvironment,
    env,
    find,
    list_envs,
    make,
    make_vec,
    register,
    register_gymnasium,
)

_LAZY = {
    "Ask": ".turns",
    "Gold": ".turns",
    "HttpEnv": ".client",
    "Messages": ".spaces",
    "MultiTurnEnv": ".forms",
    "Result": ".turns",
    "SingleTurnEnv": ".forms",
    "TextEnv": ".core",
    "Tool": ".tools",
    "ToolBroken": ".tools",
    "ToolEnv": ".forms",
    "UnicodeText": ".spaces",
    "register_grader": ".golds",
    "tasks": ".data",
}

__all__ = [
    "Ask",
    "Entry",
    "Gold",
    "HttpEnv",
    "Messages",
    "MultiTurnEnv",
    "Result",
    "SingleTurnEnv",
    "TextEnv",
    "Tool",
    "ToolBroken",
    "ToolEnv",
    "UnicodeText",
    "UnknownEnvironment",
    "env",
    "find",
    "list_envs",
    "make",
    "make_vec",
    "register",
    "register_grader",
    "register_gymnasium",
    "tasks",
]

if TYPE_CHECKING:
    from .client import HttpEnv
    from .core import TextEnv
    from .data import tasks
    from .forms import MultiTurnEnv, SingleTurnEnv, ToolEnv
    from .golds import register_grader
    from .spaces import Messages, UnicodeText
    from .tools import Tool, ToolBroken
    from .turns import Ask, Gold, Result

# So that after `import palaestra.envs` every environment is also found by `gymnasium.make`.
register_gymnasium()


def __getattr__(name: str) -> Any:
    if name == "list":
        value = import_module(".registry", __name__).list_envs
    elif name in _LAZY:
        value = getattr(import_module(_LAZY[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> Any:
    return [*__all__, "list"]
