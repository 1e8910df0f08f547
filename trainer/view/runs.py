"""Run folders: which there are, what they are about, how far they are."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .evaluations import Evaluations
from .judgements import JudgementIndex
from .lines import JsonLines
from .rollouts import RolloutIndex, number_of


def find_runs(roots: list[Path]) -> list[Path]:
    """Folders below the roots that hold metrics or a configuration, in name order; a root may be a run itself."""
    found: dict[Path, None] = {}
    for root in roots:
        if _is_run(root):
            found[root.resolve()] = None
        for marker in ("metrics.jsonl", "config.toml"):
            for path in sorted(root.glob(f"*/{marker}")) + sorted(root.glob(f"*/*/{marker}")):
                found[path.parent.resolve()] = None
    return sorted(found)


def _is_run(folder: Path) -> bool:
    return (folder / "metrics.jsonl").is_file() or (folder / "config.toml").is_file()


@dataclass
class Run:
    """One run folder, read incrementally."""

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.metrics = JsonLines(self.path / "metrics.jsonl")
        self.rollouts = RolloutIndex(self.path / "rollouts")
        self.judgements = JudgementIndex(self.path / "judgements")
        self.evaluations = Evaluations(self.path / "evals")

    @property
    def name(self) -> str:
        return self.path.name

    def refresh(self, deadline: float | None = None) -> None:
        """Read what was written since the last call; rollouts and judgements until `deadline` (of time.monotonic)."""
        before = self.metrics.generation
        rows = [clean(row) for _, _, row in self.metrics.new()]
        if self.metrics.generation != before:
            self.rows.clear()
        self.rows.extend(rows)
        self.rollouts.refresh(deadline)
        self.judgements.refresh(deadline)

    @property
    def indexed(self) -> float:
        """Share of the rollout and judgement files that has been read."""
        parts = (self.rollouts.files, self.judgements.files)
        size = sum(part.size for part in parts)
        return 1.0 - sum(part.unread for part in parts) / size if size else 1.0

    @property
    def version(self) -> str:
        """Changes whenever there is something new to show."""
        return f"{self.metrics.generation}.{self.metrics.offset}.{len(self.rollouts.entries)}.{len(self.judgements)}"

    def config(self) -> tuple[dict[str, Any], list[str]]:
        """The resolved configuration, and notes on what could not be read."""
        try:
            return tomllib.loads((self.path / "config.toml").read_text(encoding="utf-8")), []
        except FileNotFoundError:
            return {}, ["config.toml is missing"]
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            return {}, [f"config.toml cannot be read: {error}"]

    def summary(self) -> dict[str, Any]:
        """One row of the table of runs."""
        config, notes = self.config()
        last: dict[str, Any] = {}
        for row in self.rows:
            last.update({key: value for key, value in row.items() if value is not None})
        return {
            "name": self.name,
            "path": str(self.path),
            "env": _get(config, "env", "id"),
            "objective": _get(config, "objective", "name"),
            "seed": config.get("seed"),
            "steps": _get(config, "train", "steps"),
            "step": last.get("step"),
            "last": {key: value for key, value in last.items() if number_of(value) is not None},
            "rollouts": len(self.rollouts),
            "unscored": self.rollouts.unscored,
            "judgements": len(self.judgements),
            "indexed": self.indexed,
            "version": self.version,
            "report": (self.path / "report.html").is_file(),
            "notes": notes + self.metrics.notes + self.rollouts.notes + self.judgements.files.notes,
        }

    def series(self, prefix: str = "", points: int = 1000) -> dict[str, list[list[float]]]:
        """Numeric metrics as [[step, value], ...]; gaps stay gaps, and long ones are thinned (see `thinned`)."""
        found: dict[str, list[list[float]]] = {}
        for position, row in enumerate(self.rows):
            step = number_of(row.get("step", position))
            if step is None:
                continue
            for key, value in row.items():
                if key != "step" and key.startswith(prefix) and number_of(value) is not None:
                    found.setdefault(key, []).append([step, value])
        return {key: thinned(values, points) for key, values in found.items()}


def thinned(values: list[list[float]], points: int) -> list[list[float]]:
    """At most about `points` of a curve's points: the lowest and the highest of each stretch, and both ends.

    Example:
        >>> thinned([[0, 5.0], [1, 1.0], [2, 9.0], [3, 4.0], [4, 4.0], [5, 6.0]], 4)
        [[0, 5.0], [1, 1.0], [2, 9.0], [3, 4.0], [5, 6.0]]
    """
    if len(values) <= points:
        return values
    width = -(-2 * len(values) // points)
    kept = {0, len(values) - 1}
    for start in range(0, len(values), width):
        stretch = range(start, min(start + width, len(values)))
        kept |= {min(stretch, key=lambda i: values[i][1]), max(stretch, key=lambda i: values[i][1])}
    return [values[i] for i in sorted(kept)]


def clean(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested metrics to `a/b`, and turn numbers that JSON or a chart cannot carry into None."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat.update(clean(value, f"{prefix}{key}/"))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat[prefix + key] = number_of(value)
        else:
            flat[prefix + key] = value
    return flat


def _get(config: dict[str, Any], section: str, key: str) -> Any:
    value = config.get(section)
    return value.get(key) if isinstance(value, dict) else value
