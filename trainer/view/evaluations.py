"""Evaluations of a run: evals/step-*.json with their intervals and numbers of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .lines import parse
from .rollouts import number_of

SINGLE = ("greedy", "reward", "distinct_right")


class Evaluations:
    """The evaluation files of one run, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self._read: dict[Path, tuple[float, dict[str, Any] | None]] = {}

    def rows(self) -> list[dict[str, Any]]:
        """One row an evaluation: step, number of tasks and unscored rollouts, and estimates by metric name."""
        self.notes = []
        found = []
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []:
            row = self._row(path)
            if row is None:
                self.notes.append(f"{path.name} cannot be read; skipped")
            else:
                found.append(row)
        return sorted(found, key=lambda row: row["step"])

    def _row(self, path: Path) -> dict[str, Any] | None:
        try:
            changed = path.stat().st_mtime
            if path not in self._read or self._read[path][0] != changed:
                self._read[path] = (changed, _row_of(parse(path.read_bytes())))
        except (OSError, ValueError):
            return None
        return self._read[path][1]


def _row_of(report: Any) -> dict[str, Any] | None:
    step = number_of(report.get("step")) if isinstance(report, dict) else None
    if step is None:
        return None
    pass_at = report.get("pass_at")
    named = {f"pass@{k}": value for k, value in pass_at.items()} if isinstance(pass_at, dict) else {}
    named |= {name: report.get(name) for name in SINGLE}
    estimates = {}
    for name, value in named.items():
        numbers = (
            {key: number_of(value.get(key)) for key in ("value", "low", "high", "tasks")}
            if isinstance(value, dict)
            else {}
        )
        if numbers.get("value") is not None:
            estimates[f"eval/{name}"] = numbers
    return {
        "step": step,
        "tasks": len(report["tasks"]) if isinstance(report.get("tasks"), list) else None,
        "samples": number_of(report.get("samples")),
        "unscored": number_of(report.get("unscored")),
        "estimates": estimates,
    }
