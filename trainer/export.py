"""A checkpoint without the trainer's own files: a Hugging Face folder to publish, serve or train on."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import checkpoint as ckpt

_OURS = (ckpt.STATE, ckpt.SHARDS, "trainer.pt")


def export(run: str | Path, out: str | Path, step: int | None = None) -> Path:
    """Copy a run's weights, configuration and tokenizer into a folder that transformers and vLLM open.

    Args:
        run: run folder.
        out: folder to make.
        step: which checkpoint; None = the newest intact one.

    Returns:
        `out`.

    Raises:
        CheckpointError: there is no such checkpoint, it is damaged, or `out` exists.
    """
    root, target = Path(run) / "checkpoints", Path(out)
    if target.exists():
        raise ckpt.CheckpointError(f"{target} exists; choose another folder or remove it")
    found = ckpt.latest(root) if step is None else ckpt.at(root, step)
    if found is None:
        there = ", ".join(str(s) for s in ckpt.steps(root)) or "none"
        wanted = "intact checkpoint" if step is None else f"intact checkpoint of step {step}"
        raise ckpt.CheckpointError(f"{root} has no {wanted}; steps there: {there}")
    aside = target.with_name(f".{target.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(found.folder, aside, ignore=shutil.ignore_patterns(*_OURS))
    aside.rename(target)
    return target
