"""Names of tasks, and train/test splits decided by a stable hash of the task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SPLITS = ("train", "test")


def stable_json(value: Any) -> str:
    """``value`` as canonical JSON: the same text in every process, whatever ``PYTHONHASHSEED`` is."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)


def digest(value: Any, length: int = 12) -> str:
    """The first ``length`` hexadecimal digits of the SHA-256 of :func:`stable_json`."""
    return hashlib.sha256(stable_json(value).encode("utf-8", "surrogatepass")).hexdigest()[:length]


def task_id(env_id: str, knobs: Mapping[str, Any], seed: int) -> str:
    """The identity of a generated task: environment, knobs and seed, as ``my/Mul-v0:7-3f9c0a51``."""
    return f"{env_id}:{seed}-{digest([env_id, dict(knobs), seed], 8)}"


def split_of(key: Any, test_share: float = 0.2) -> str:
    """Which side of the split a task is on: ``"test"`` for about ``test_share`` of all keys, else ``"train"``.

    Args:
        key: the prompt's messages, or whatever an environment calls the same task (``metadata["split_key"]``).
        test_share: share of the test side, between 0 and 1.

    Example:
        >>> split_of("What is 2+2?") in SPLITS
        True
    """
    return "test" if int(digest(key, 12), 16) < test_share * 16**12 else "train"


def _plain(value: Any) -> Any:
    """JSON for the things knobs are made of; objects without a stable text form get their qualified name."""
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, tuple | range):
        return list(value)
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{getattr(value, '__module__', '')}.{name}"
    text = str(value)
    return f"{type(value).__module__}.{type(value).__qualname__}" if " object at 0x" in text else text
