"""Out of memory: recognised on every device, and answered with what to lower."""

from __future__ import annotations

from .config import RunConfig


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python ran out of memory (torch raises a plain RuntimeError on a CPU)."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def advice(error: BaseException, config: RunConfig, step: int) -> str:
    """What happened, what to lower and how to go on.

    Args:
        error: what was raised.
        config: the run.
        step: steps done.
    """
    train, rollout = config.train, config.rollout
    lower = [f"train.token_budget (now {train.token_budget})", f"train.head_chunk (now {train.head_chunk})"]
    if not train.gradient_checkpointing:
        lower.append("or set train.gradient_checkpointing = true")
    size = rollout.group_size * rollout.prompts_per_step
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"out of memory in step {step + 1} ({first[:200]}): lower {', '.join(lower)}; if sampling itself does not fit "
        f"({size} rollouts a step of {rollout.max_new_tokens} tokens), that needs a new run with fewer. Continue from "
        f"the last checkpoint with --resume --set train.token_budget={max(64, train.token_budget // 2)}"
    )
