"""What the verbs about environments share: imports, knobs, progress."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer


def import_all(names: list[str] | None) -> None:
    """Import modules (``my_envs``) or files (``my_envs.py``) that register environments."""
    sys.path.insert(0, str(Path.cwd()))
    for name in names or []:
        if name.endswith(".py"):
            path = Path(name)
            if not path.is_file():
                raise typer.BadParameter(f"--import {name}: no such file")
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(path.stem, module)
            spec.loader.exec_module(module)
        else:
            importlib.import_module(name)


def parse_knobs(pairs: list[str] | None) -> dict[str, Any]:
    """``["hi=999", "prompt=compact"]`` as ``{"hi": 999, "prompt": "compact"}``; a value that is no JSON is text."""
    knobs: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--set {pair}: write name=value")
        try:
            knobs[name.strip()] = json.loads(value)
        except ValueError:
            knobs[name.strip()] = value
    return knobs


@contextmanager
def progress(text: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A spinner with a changing line; nothing when ``quiet`` or not on a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda line: None
        return
    with console.status(text) as status:
        yield lambda line: status.update(f"{text}: {line}")
