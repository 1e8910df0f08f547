"""Gymnasium spaces for text: any Unicode string as an action, a tuple of chat messages as an observation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from ..schema import clean_text

ROLES = ("system", "user", "assistant", "tool", "developer")

# Letters of several alphabets, punctuation, a combining mark, a right-to-left letter and an emoji: enough for samples
# that find code which assumes ASCII.
_SAMPLE_ALPHABET = "abcdefghijklmnopqrstuvwxyz ABC 0123456789 .,;:!?()[]{}<>/\\\"'`#@\n\té\u0301ßЖ中ش😀"


class UnicodeText(Space[str]):
    """All Python strings up to ``max_length`` characters, the empty one included.

    Gymnasium's own ``Text`` rejects spaces and the empty string and tests membership character by character; here
    membership is a type test and a length test.

    Args:
        max_length: longest member, in characters.
        sample_length: longest string that :meth:`sample` draws.
        seed: seed of :meth:`sample`.

    Example:
        >>> "naïve answer, with spaces" in UnicodeText()
        True
    """

    def __init__(self, max_length: int = 4_000_000, *, sample_length: int = 32, seed: int | None = None) -> None:
        if max_length < 1:
            raise ValueError(f"UnicodeText.max_length is {max_length}; give a positive number of characters")
        self.max_length = int(max_length)
        self.sample_length = min(int(sample_length), self.max_length)
        super().__init__(None, None, seed)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: None = None, probability: None = None) -> str:
        """A short random string; masks and probabilities have no meaning here and must be None."""
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample takes neither mask nor probability; leave both None")
        length = int(self.np_random.integers(0, self.sample_length + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_ALPHABET), size=length)
        return "".join(_SAMPLE_ALPHABET[int(i)] for i in picks)

    @property
    def is_np_flattenable(self) -> bool:
        """Text is not an array."""
        return False

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:  # type: ignore[override]
        """The strings themselves, with lone surrogates replaced so that they can be encoded."""
        return [clean_text(text) for text in sample_n]

    def from_jsonable(self, sample_n: list[str]) -> list[str]:
        """The inverse of :meth:`to_jsonable`."""
        return list(sample_n)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, UnicodeText) and other.max_length == self.max_length

    def __hash__(self) -> int:
        return hash(("UnicodeText", self.max_length))

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"


class Messages(Space[tuple]):
    """Chat messages in the OpenAI shape: a tuple of dicts with ``role`` and ``content``. The empty tuple is a member.

    Args:
        seed: seed of :meth:`sample`.

    Example:
        >>> ({"role": "user", "content": "What is 2 + 2?"},) in Messages()
        True
    """

    def __init__(self, *, seed: int | None = None) -> None:
        self._text = UnicodeText()
        super().__init__(None, None, seed)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a tuple of messages."""
        return isinstance(x, tuple) and all(_is_message(item) for item in x)

    def sample(self, mask: None = None, probability: None = None) -> tuple:
        """Zero to two random messages; masks and probabilities must be None."""
        if mask is not None or probability is not None:
            raise ValueError("Messages.sample takes neither mask nor probability; leave both None")
        self._text._np_random = self.np_random
        count = int(self.np_random.integers(0, 3))
        return tuple({"role": "user", "content": self._text.sample()} for _ in range(count))

    def seed(self, seed: Any = None) -> Any:
        """Seed :meth:`sample`."""
        return super().seed(seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Messages are not an array."""
        return False

    def to_jsonable(self, sample_n: Iterable[tuple]) -> list[list[dict[str, Any]]]:  # type: ignore[override]
        """Lists of dicts, ready for JSON."""
        return [[dict(message) for message in sample] for sample in sample_n]

    def from_jsonable(self, sample_n: list[list[dict[str, Any]]]) -> list[tuple]:
        """The inverse of :meth:`to_jsonable`."""
        return [tuple(dict(message) for message in sample) for sample in sample_n]

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Messages)

    def __hash__(self) -> int:
        return hash("Messages")

    def __repr__(self) -> str:
        return "Messages()"


def _is_message(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("role") not in ROLES:
        return False
    return "content" in item and isinstance(item["content"], str | list | type(None))


def as_int_seed(seed: Any) -> int:
    """``seed`` as a non-negative int; numpy integers are accepted, other types are named in the error.

    Raises:
        TypeError: ``seed`` is not an integer.
        ValueError: ``seed`` is negative.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"reset(seed={seed!r}): the seed is a {type(seed).__name__}; give a non-negative integer")
    if seed < 0:
        raise ValueError(f"reset(seed={seed}): the seed is negative; give a non-negative integer")
    return int(seed)
