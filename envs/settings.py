"""Settings every environment understands, next to its own difficulty knobs."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

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


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"``, or nothing when no known name is close."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def knob_defaults(function: Callable[..., Any]) -> tuple[dict[str, Any], bool]:
    """The difficulty knobs of an author's function: its parameters after the rng, with defaults.

    Returns:
        The defaults by name (``inspect.Parameter.empty`` where there is none), and whether any other name is accepted.
    """
    plain = getattr(function, "__func__", function)
    parameters = list(_signature(plain).parameters.values())[0 if plain is function else 1 :]
    named = [p for p in parameters[1:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p.default for p in named}, any(p.kind is p.VAR_KEYWORD for p in parameters)


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
                f"{where} has no knob or setting {name!r}.{nearest(name, known)} Knobs: {', '.join(knobs) or 'none'}; "
                f"settings: {', '.join(SETTING_NAMES)}"
            )
    return own, replace(settings, **general)
