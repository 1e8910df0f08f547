"""What authors often get wrong, named when an environment is registered or made, with the way to mend it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any


def check_function(id: str, function: Any) -> None:
    """Refuse a function that cannot be an environment.

    Args:
        id: the environment's id, named in the error.
        function: what stands below ``@env(id)``.

    Raises:
        TypeError: it is no function, is asynchronous, or has no parameter for the random generator.
    """
    if not callable(function):
        raise TypeError(f"{id}: {function!r} is no function; write a function of rng, or register a class")
    name = getattr(function, "__name__", type(function).__name__)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{id}: {name} is an async function; write a plain `def` (tools, graders, `verify` and `reply` may be "
            "async) and pass blocking=True if it takes long"
        )
    parameters = list(inspect.signature(function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in (*positional, inspect.Parameter.VAR_POSITIONAL):
        raise TypeError(
            f"{id}: {name}({', '.join(p.name for p in parameters)}) has no parameter for the random generator; write "
            f"{name}(rng, ...)"
        )


def check_instance(id: str, made: Any) -> None:
    """Refuse what a class made when it is no environment of ours.

    Raises:
        TypeError: it does not derive from one of the forms, or its ``__init__`` does not call theirs.
    """
    from .core import TextEnv

    name = type(made).__name__
    if not isinstance(made, TextEnv):
        raise TypeError(f"{id}: {name} is no text environment; derive it from SingleTurnEnv, MultiTurnEnv or ToolEnv")
    if not hasattr(made, "settings"):
        raise TypeError(
            f"{id}: {name}.__init__ does not call super().__init__(**arguments); call it, or leave __init__ out and "
            "set what an episode needs in start(self, rng) or task(self, rng)"
        )


def check_knobs(knobs: Mapping[str, Any], where: str, defaults: Mapping[str, Any]) -> None:
    """Refuse an episode whose author's function would miss an argument.

    Raises:
        TypeError: a knob without a default was not given.
    """
    for name, default in defaults.items():
        if default is inspect.Parameter.empty and name not in knobs:
            raise TypeError(f"{where}: the knob {name!r} has no default and was not given; pass {name}=...")


def no_task(value: Any, where: str) -> TypeError:
    """The error for a single turn's return value that is no task."""
    shown = f"{type(value).__name__} {str(value)[:60]!r}"
    if isinstance(value, str):
        fix = "it returned the prompt alone; return prompt, answer"
    elif value is None:
        fix = "it returned nothing; return prompt, answer"
    elif isinstance(value, tuple):
        fix = f"it returned {len(value)} values; return prompt, answer (more belongs into palaestra.Task(metadata=...))"
    elif isinstance(value, list | dict):
        fix = "return a tuple: prompt, answer"
    elif isinstance(value, int | float):
        fix = "a function that ends with a reward needs a `yield prompt` first; a single turn returns prompt, answer"
    else:
        fix = "return prompt, answer"
    return TypeError(f"{where}: a task is (prompt, answer) or palaestra.Task(...), not {shown}: {fix}")
