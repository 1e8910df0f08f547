"""The word-overlap rule DARLING uses for short texts. It merges "x = 5" with "x = 6"; for comparison only."""

from __future__ import annotations

MAX_WORDS = 5


def overlap_rule(first: str, second: str) -> bool | None:
    """Equivalent when twice the number of shared words reaches the longer length; None above five words.

    >>> overlap_rule("The answer is 8", "answer 8"), overlap_rule("one two three four five six", "x")
    (True, None)
    """
    words_a, words_b = first.split(), second.split()
    if max(len(words_a), len(words_b)) > MAX_WORDS:
        return None
    return 2 * len(set(words_a) & set(words_b)) >= max(len(words_a), len(words_b))
