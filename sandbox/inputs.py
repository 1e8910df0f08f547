"""Checks of what callers hand in, so that a mistake is named before anything runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .guest.frames import MAX_BODY, MAX_HEADER

RESERVED = ("tmp", "shm")  # directories that are in the scratch directory already


def encodable(text: str) -> bool:
    """Whether the system takes a text as an argument, a variable or a file name.

    Example:
        >>> encodable("é"), encodable("\\ud800"), encodable("a\\0b")
        (True, False, False)
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def check_path(name: Any, where: str) -> None:
    """A relative path that stays inside the scratch directory.

    Raises:
        ValueError: it is something else.
    """
    parts = name.split("/") if isinstance(name, str) and encodable(name) else []
    plain = parts and not any(part in ("", ".", "..") or len(os.fsencode(part)) > 255 for part in parts)
    if not plain or len(os.fsencode(name)) > 1000:
        shown = repr(name) if len(repr(name)) < 100 else repr(name)[:97] + "..."
        raise ValueError(f"{where}: {shown} is not a relative path inside the scratch directory, such as 'data/in.txt'")


def check_files(files: Mapping[str, bytes | str], disk_mb: int, where: str) -> None:
    """Files that can be placed side by side, and fit.

    Raises:
        ValueError: a name, a content or the sum of the sizes will not do.
    """
    size, names = 0, set()
    for name, data in files.items():
        check_path(name, where)
        if not isinstance(data, (str, bytes)):
            raise ValueError(f"{where}[{name!r}] is {type(data).__name__}; give bytes or text")
        names.add(name)
        size += len(data)
    for name in names:
        parts = name.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts))}
        if name in RESERVED or above & names:
            other = name if name in RESERVED else sorted(above & names)[0]
            raise ValueError(f"{where}: {other!r} cannot be a file, it is a directory")
    if size > disk_mb << 20:
        raise ValueError(f"{where} are {size >> 20} MiB; raise limits.disk_mb, which is {disk_mb}")


def check_size(words: Iterable[str], parts: Mapping[str, bytes], what: str) -> None:
    """Whether a request fits a frame.

    Args:
        words: the texts of its header; those of parts' names come in addition.
        parts: its data.
        what: whose they are.

    Raises:
        ValueError: it does not.
    """
    body = sum(map(len, parts.values()))
    if body > MAX_BODY:
        raise ValueError(f"{what}: {body >> 20} MiB of data; at most {MAX_BODY >> 20} MiB cross at once")
    letters = sum(12 + len(word) for word in (*words, *parts))
    if 12 * letters > MAX_HEADER // 2:  # escaped, a letter takes up to twelve bytes
        letters = len(json.dumps([*words, *parts]))
        if letters > MAX_HEADER // 2:
            raise ValueError(f"{what}: {letters} bytes of arguments, variables and names; at most {MAX_HEADER // 2}")


def check_texts(values: Iterable[Any], where: str) -> None:
    """Texts the system takes.

    Raises:
        ValueError: one is none.
    """
    for value in values:
        if not isinstance(value, str) or not encodable(value):
            raise ValueError(f"{where}: {str(value)[:80]!r}; give text without NUL and lone surrogates")
