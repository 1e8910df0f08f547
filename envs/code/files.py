"""Files of published code problems: every row that can be used, and the reason for every one that cannot."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache

from ..datafiles import rows_of
from .formats import load_problem
from .problem import Problem

log = logging.getLogger("palaestra.envs")


@dataclass(frozen=True)
class LoadedProblems:
    """The problems of a file, and the rows that were left out as (row number, reason).

    APPS has rows without tests, for instance; they are no reason to refuse the rest.
    """

    problems: tuple[Problem, ...]
    dropped: tuple[tuple[int, str], ...]


@lru_cache(maxsize=8)
def load_file(path: str, public: int = 1, shown: float = 0.0) -> LoadedProblems:
    """The problems of a file of APPS, TACO, LiveCodeBench, HumanEval or MBPP rows; the columns tell the format.

    Args:
        path: JSON, JSONL, CSV or Parquet, a folder of shards, or the id of a cached Hugging Face data set.
        public: tests of a problem that stand in the prompt, where the format does not say.
        shown: share of the other tests that may be shown when they fail.

    Raises:
        ValueError: no row can be used; the first reason is told.
    """
    found: list[Problem] = []
    dropped: list[tuple[int, str]] = []
    for number, row in enumerate(rows_of(path)):
        try:
            found.append(load_problem(row, public, shown))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            dropped.append((number, str(error) if isinstance(error, ValueError) else f"malformed: {error!r}"))
    if not found:
        number, reason = dropped[0] if dropped else (0, "the file is empty")
        raise ValueError(f"tasks={path!r} holds no usable problem; row {number}: {reason}")
    if dropped:
        number, reason = dropped[0]
        rows = len(dropped) + len(found)
        log.warning("%s: %d of %d rows left out; row %d: %s", path, len(dropped), rows, number, reason)
    return LoadedProblems(tuple(found), tuple(dropped))
