"""Long-context tasks generated offline with exact ground truth.

One family is one function that streams a context in chunks and, when it is done, says what is asked and what the gold
answer is, so that 10^8 characters need no memory beyond the text itself. `generate` is the way in:

    >>> task = generate("needle", seed=1, length_chars=2_000)
    >>> len(task.context) <= 2_000, task.kind
    (True, 'exact')

Families: ``needle`` (F1), ``linear`` (F2), ``pairs`` (F3), ``multihop`` (F4), ``code`` (F5), and the extras of F6
``anomaly``, ``longest_run``, ``interval_join``, ``json_sum``, ``contradiction``, ``copy_edit``. `check` measures which
of them really need sub-calls (F7).
"""

from __future__ import annotations

from .base import FAMILIES, LongTask, family, generate, stream
from .code import code
from .extras import anomaly, contradiction, copy_edit, interval_join, json_sum, longest_run
from .linear import linear
from .multihop import multihop
from .needle import needle
from .pairs import pairs

__all__ = [
    "FAMILIES",
    "LongTask",
    "anomaly",
    "code",
    "contradiction",
    "copy_edit",
    "family",
    "generate",
    "interval_join",
    "json_sum",
    "linear",
    "longest_run",
    "multihop",
    "needle",
    "pairs",
    "stream",
]
