"""Run folders: which there are, what they are about, how far they are."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .lines import JsonLines
from .rollouts import RolloutIndex


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

    @property
    def name(self) -> str:
        return self.path.name

    def refresh(self) -> None:
        """Read what was written since the last call."""
        before = self.metrics.offset
        rows = [row for _, _, row in self.metrics.new()]
        if self.metrics.offset < before:
            self.rows.clear()
        self.rows.extend(clean(row) for row in rows)
        self.rollouts.refresh()

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
            "last": {key: value for key, value in last.items() if isinstance(value, (int, float))},
            "rollouts": len(self.rollouts),
            "unscored": self.rollouts.unscored,
            "report": (self.path / "report.html").is_file(),
            "notes": notes + self.metrics.notes + self.rollouts.notes,
        }

    def series(self) -> dict[str, list[list[float]]]:
        """Every numeric metric as [[step, value], ...]; gaps stay gaps."""
        found: dict[str, list[list[float]]] = {}
        for position, row in enumerate(self.rows):
            step = row.get("step", position)
            if not isinstance(step, (int, float)):
                continue
            for key, value in row.items():
                if key != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                    found.setdefault(key, []).append([step, value])
        return found


def clean(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested metrics to `a/b` and turn non-finite numbers into None, which JSON can carry."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat.update(clean(value, f"{prefix}{key}/"))
        elif isinstance(value, float) and not math.isfinite(value):
            flat[prefix + key] = None
        else:
            flat[prefix + key] = value
    return flat


def _get(config: dict[str, Any], section: str, key: str) -> Any:
    value = config.get(section)
    return value.get(key) if isinstance(value, dict) else value
