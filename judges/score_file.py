"""Scoring a JSONL file, through a judge server or with programmatic checks in this process."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..schema import RewardResult
from .client import JudgeClient
from .results import scored
from .rubric import Rubric
from .types import ScoreRequest

CHUNK = 64


def read_items(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; those without an id get their line number.

    Raises:
        ValueError: naming the line that is not a JSON object, or an id that occurs twice.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{number}: a JSON object is needed, this is {type(row).__name__}")
        row["id"] = str(row.get("id", number))
        if row["id"] in seen:
            raise ValueError(f"{path}:{number}: id {row['id']!r} is also on line {seen[row['id']]}; ids must be unique")
        seen[row["id"]] = number
        known = ("id", "prompt", "response", "reference", "metadata")
        rows.append({key: row[key] for key in known if key in row})
    if not rows:
        raise ValueError(f"{path} holds no items; give one JSON object a line")
    return rows


def score_items(
    rows: Sequence[dict[str, Any]],
    rubric: str | Rubric,
    *,
    url: str | None = None,
    judge: str | None = None,
    token_env: str = "PALAESTRA_TOKEN",
) -> list[RewardResult]:
    """Score rows with a progress bar, in requests of a size that shows progress."""
    from rich.console import Console
    from rich.progress import Progress

    ask = _remote(rubric, url, judge, os.environ.get(token_env)) if url else _local(rubric)
    results: list[RewardResult] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("scoring", total=len(rows))
        for start in range(0, len(rows), CHUNK):
            results += ask(list(rows[start : start + CHUNK]))
            progress.update(bar, completed=len(results))
    return results


def _remote(rubric: str | Rubric, url: str, judge: str | None, token: str | None) -> Any:
    client = JudgeClient(url, judge=judge, token=token)
    return lambda rows: client.score_sync(rows, rubric)


def _local(rubric: str | Rubric) -> Any:
    from .service import JudgeService

    service = JudgeService()

    def ask(rows: list[dict[str, Any]]) -> list[RewardResult]:
        reply = asyncio.run(service.score(ScoreRequest(items=rows, rubric=rubric)))  # type: ignore[arg-type]
        return [scored(result.id, result) for result in reply.results]

    return ask
