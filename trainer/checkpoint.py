"""Checkpoints that survive being killed: written aside, flushed, renamed; damaged ones are recognised and skipped.

A checkpoint is a Hugging Face folder (weights, configuration, tokenizer) plus ``trainer.pt`` (optimiser, teachers) and
``state.json`` (step, cursor, method memory, and the SHA-256 of every file). A run on several processes has its
optimiser in ``shards/`` instead, each process writing its part.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger("palaestra.trainer")

STATE, SHARDS = "state.json", "shards"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; earlier ones are intact."""


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay when a new one has been written.

    Attributes:
        newest: so many of the newest; 0 keeps all.
        every: also those of steps that this divides; 0 = none.
        best: also that of this step.
    """

    newest: int = 2
    every: int = 0
    best: int | None = None

    def drop(self, steps: Sequence[int]) -> list[int]:
        """Which of the steps go.

        Example:
            >>> Retention(newest=1, every=10, best=12).drop([5, 10, 12, 14, 15])
            [5, 14]
        """
        if not self.newest:
            return []
        old = sorted(steps)[: -self.newest]
        return [step for step in old if step != self.best and not (self.every and step % self.every == 0)]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        """Training steps done."""
        return int(self.state["step"])

    @property
    def shards(self) -> Path:
        """Where the processes of a distributed run wrote their parts."""
        return self.folder / SHARDS


def save(
    root: Path,
    step: int,
    policy: Any,
    tensors: dict[str, Any],
    state: dict[str, Any],
    keep: Retention,
    write_shards: Callable[[Path], None] | None = None,
) -> Path:
    """Write a checkpoint and drop old ones.

    Args:
        root: the run's ``checkpoints`` folder.
        step: training steps done.
        policy: a `Policy`; its `save` writes the Hugging Face part.
        tensors: what ``torch.save`` puts into ``trainer.pt``.
        state: JSON-able rest.
        keep: which of the earlier ones stay.
        write_shards: makes all processes write their parts of the optimiser into a folder.

    Raises:
        CheckpointError: the disk is full or not writable; nothing that was there is lost.
    """
    import torch

    final, aside = root / f"step-{step:06d}", root / f".writing-{step:06d}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        for unfinished in root.glob(".writing-*"):  # a kill may have left one
            shutil.rmtree(unfinished, ignore_errors=True)
        aside.mkdir()
        policy.save(aside)
        if write_shards is not None:
            write_shards(aside / SHARDS)
        with open(aside / "trainer.pt", "wb") as file:
            torch.save(tensors, file)
        files = sorted(path for path in aside.rglob("*") if path.is_file())
        digests = {path.relative_to(aside).as_posix(): _digest(path) for path in files}
        text = json.dumps({**state, "step": step, "files": digests}, indent=1)
        (aside / STATE).write_text(text, encoding="utf-8")
        for path in (*aside.rglob("*"), aside):
            _flush(path)
        if final.exists():
            shutil.rmtree(final)
        os.replace(aside, final)
        _flush(root)
    except Exception as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise _explain(error, root, step) from error
    for old in keep.drop(steps(root)):
        shutil.rmtree(root / f"step-{old:06d}", ignore_errors=True)
    return final


def recover(root: Path) -> None:
    """Finish the renames that a kill left undone; call it only while no other process writes here.

    A checkpoint replaces one of the same step by deleting that first, and a kill in between leaves the new one under
    its temporary name, complete. One that was still being written has no ``state.json`` and stays where it is.
    """
    for aside in root.glob(".writing-*"):
        final = root / f"step-{aside.name.removeprefix('.writing-')}"
        if _damage(aside) is None and (not final.exists() or _damage(final) is not None):
            shutil.rmtree(final, ignore_errors=True)
            os.replace(aside, final)


def latest(root: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all as they were written; others are reported and skipped."""
    return next((found for step in reversed(steps(root)) if (found := at(root, step)) is not None), None)


def at(root: Path, step: int) -> Checkpoint | None:
    """The checkpoint of a step, or None when it is missing or damaged (the damage is reported)."""
    folder = root / f"step-{step:06d}"
    if not folder.is_dir():
        return None
    problem = _damage(folder)
    if problem is not None:
        log.warning("checkpoint %s is damaged (%s); earlier ones are not touched", folder, problem)
        return None
    return Checkpoint(folder, json.loads((folder / STATE).read_text(encoding="utf-8")))


def steps(root: Path) -> list[int]:
    """Steps whose checkpoints are there, intact or not."""
    return [_step(folder) for folder in _folders(root)]


def load_tensors(checkpoint: Checkpoint) -> dict[str, Any]:
    """Read ``trainer.pt``; only tensors and plain containers are accepted."""
    import torch

    return torch.load(checkpoint.folder / "trainer.pt", map_location="cpu", weights_only=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a small text file so that a reader sees the old or the new one, never half of it."""
    aside = path.with_name(f".{path.name}.writing")
    aside.write_text(text, encoding="utf-8")
    _flush(aside)
    os.replace(aside, path)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("step-*") if path.is_dir())


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _damage(folder: Path) -> str | None:
    try:
        files = json.loads((folder / STATE).read_text(encoding="utf-8"))["files"]
        for name, digest in files.items():
            if _digest(folder / name) != digest:
                return f"{name} has other bytes than were written"
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(error: Exception, root: Path, step: int) -> Exception:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    full = full or "No space left" in str(error) or "unexpected pos" in str(error) or "file write failed" in str(error)
    if not full and not isinstance(error, OSError):
        return error
    earlier = _folders(root) if root.exists() else []
    kept = f"the checkpoint {earlier[-1]} is intact" if earlier else "no earlier checkpoint exists"
    free = shutil.disk_usage(root if root.exists() else root.parent).free / 2**20 if full else 0
    what = f"the disk is full ({free:.0f} MiB free)" if full else str(error)
    return CheckpointError(
        f"cannot write the checkpoint of step {step} into {root}: {what}; {kept}. "
        "Free some space and run again with --resume"
    )
