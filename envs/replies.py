"""The part of a reply that counts: what stands outside ``<think>`` blocks."""

from __future__ import annotations


def visible(reply: str, limit: int | None = None) -> str:
    """A reply without its thoughts: what follows the last ``</think>``, up to a ``<think>`` that is never closed.

    Args:
        reply: the whole reply.
        limit: only so many characters of the end are kept.

    Example:
        >>> visible("<think>5?</think>The answer is 6.<think>or")
        'The answer is 6.'
    """
    text = reply.rpartition("</think>")[2].partition("<think>")[0]
    return text if limit is None else text[-limit:]
