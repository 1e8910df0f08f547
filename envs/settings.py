"""Settings every environment understands, next to its own difficulty knobs."""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from ..names import suggestion
from .feedback import check_level
from .splits import SPLITS

TOOL_FORMATS = ("auto", "openai", "hermes", "react", "xml", "python")


@dataclass(frozen=True)
class Settings:
    """Keyword arguments of ``make`` (and ``reset(options=...)``) that every environment has.

    Attributes:
        max_turns: replies after which an unfinished episode is truncated; None keeps the environment's own limit.
        feedback: ``none``, ``verdict``, ``reason``, ``tests`` or ``reference``; the last may tell the answer and sets
            ``info["leaky"]``.
        split: only tasks of this side, ``"train"`` or ``"test"``; None for all.
        test_share: share of tasks on the test side.
        max_chars: longest reply that is read.
        tool_format: how tool calls are written: ``auto``, ``openai``, ``hermes``, ``react``, ``xml`` or ``python``.
        tools_in_prompt: describe the tools in a system message; set it False when the chat template does that.
        lenient: repair trailing commas and single quotes in tool calls, and say so in ``info``.
        render_mode: None or ``"ansi"`` (the transcript as text).
    """

    max_turns: int | None = None
    feedback: str = "reason"
    split: str | None = None
    test_share: float = 0.2
    max_chars: int = 4_000_000
    tool_format: str = "auto"
    tools_in_prompt: bool = True
    lenient: bool = False
    render_mode: str | None = None

    def __post_init__(self) -> None:
        for name, kind, words in (
            ("max_turns", int | None, "a whole number or None"),
            ("test_share", int | float, "a number"),
            ("max_chars", int, "a whole number"),
            ("tools_in_prompt", bool, "True or False"),
            ("lenient", bool, "True or False"),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise TypeError(f"{name}={value!r:.60}: give {words}")
        check_level(self.feedback)
        if self.max_turns is not None and self.max_turns < 1:
            raise ValueError(f"max_turns={self.max_turns}: give at least 1, or None for the environment's own limit")
        if self.split is not None and self.split not in SPLITS:
            raise ValueError(f"split={self.split!r}: choose 'train', 'test' or None")
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share={self.test_share}: give a share between 0 and 1")
        if self.max_chars < 1:
            raise ValueError(f"max_chars={self.max_chars}: give a positive number of characters")
        if self.tool_format not in TOOL_FORMATS:
            raise ValueError(f"tool_format={self.tool_format!r}: choose one of {', '.join(TOOL_FORMATS)}")
        if self.render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode={self.render_mode!r}: choose None or 'ansi'")


_signature = lru_cache(maxsize=256)(inspect.signature)  # asked for at every reset; of functions, never of bound methods

SETTING_NAMES = tuple(field.name for field in fields(Settings))


def knob_defaults(function: Callable[..., Any]) -> tuple[dict[str, Any], bool]:
    """The difficulty knobs of an author's function: its parameters after the rng, with defaults.

    Returns:
        The defaults by name (``inspect.Parameter.empty`` where there is none), and whether any other name is accepted.
    """
    plain = getattr(function, "__func__", function)
    parameters = list(_signature(plain).parameters.values())[0 if plain is function else 1 :]
    named = [p for p in parameters[1:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in named}, any(p.kind is p.VAR_KEYWORD for p in parameters)


@lru_cache(maxsize=256)
def _knob_types(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """What checks the knobs that an author gave type hints; hints that cannot be resolved check nothing."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}
    found = {}
    for name in knob_defaults(function)[0]:
        with contextlib.suppress(PydanticSchemaGenerationError, KeyError):
            found[name] = TypeAdapter(hints[name])
    return found


def check_types(knobs: Mapping[str, Any], function: Callable[..., Any], where: str) -> None:
    """Refuse a knob whose value does not fit the type hint that the author's function gives it.

    Raises:
        TypeError: one does not fit; the knob, the value and the reason are named.
    """
    adapters = _knob_types(getattr(function, "__func__", function))
    for name, value in knobs.items():
        if name in adapters:
            try:
                adapters[name].validate_python(value.item() if isinstance(value, np.generic) else value)
            except ValidationError as error:
                raise TypeError(f"{where}: {name}={value!r:.60}: {error.errors()[0]['msg']}") from None


def sort_arguments(
    arguments: Mapping[str, Any], knobs: Mapping[str, Any], open_ended: bool, settings: Settings, where: str
) -> tuple[dict[str, Any], Settings]:
    """Divide keyword arguments into knobs and settings; a name that is both is a knob.

    Raises:
        TypeError: a name is neither.
    """
    own: dict[str, Any] = {}
    general: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in knobs:
            own[name] = value
        elif name in SETTING_NAMES:
            general[name] = value
        elif open_ended:
            own[name] = value
        else:
            known = [*knobs, *SETTING_NAMES]
            raise TypeError(
                f"{where} has no knob or setting {name!r}; {suggestion(name, known, 'none is close')} "
                f"knobs: {', '.join(knobs) or 'none'}; settings: {', '.join(SETTING_NAMES)}"
            )
    return own, replace(settings, **general)
