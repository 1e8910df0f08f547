"""Supervised warm start: learn from right replies until the policy solves some tasks but not most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from .chat import ChatFormat
from .config import RunConfig, TrainConfig
from .demonstrations import Demonstrator
from .engines.sampling import seed_of
from .evaluation import Evaluator
from .forward import Forward
from .head import LinearLogits, head
from .plan import plan
from .policy import Policy
from .rows import Collated, Row, collate
from .samples import Sample
from .tasks import TaskSource

WARMUP_STAMP = 0x3A11

Progress = Callable[[dict[str, Any]], None]


def warm_up(
    policy: Policy,
    config: RunConfig,
    source: TaskSource,
    chat: ChatFormat,
    engine: Any,
    check: Evaluator,
    prompt: Any = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train the policy in place on demonstrations of training tasks.

    Args:
        policy: the model; its weights change.
        config: the run; the [warmup] section rules.
        source: tasks and environments.
        chat: message rendering.
        engine: samples the checks.
        check: evaluation on held-out tasks with pass@1.
        prompt: transform of a task's messages.
        progress: called with each record.

    Returns:
        One record a check: step, loss, pass@1, seconds.
    """
    warmup = config.warmup
    forward = Forward(policy.model, shared_prefix=config.train.shared_prefix)
    parameters = [p for p in policy.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=warmup.learning_rate, betas=(0.9, 0.99), weight_decay=warmup.weight_decay, fused=True
    )
    demonstrator = Demonstrator(source, prompt)
    records: list[dict[str, Any]] = []
    cursor, start, loss = 0, time.perf_counter(), 0.0
    for step in range(warmup.steps):
        rng = np.random.default_rng(seed_of(config.seed, WARMUP_STAMP, step))
        shown, cursor = demonstrator.draw(warmup.batch_size, cursor, rng)
        rows = [row for demonstration in shown for row in demonstration_rows(demonstration.turns, chat)]
        for group in optimizer.param_groups:
            group["lr"] = warmup.learning_rate * min(1.0, (step + 1) / (warmup.warmup_steps + 1))
        loss = supervised_step(policy, forward, optimizer, parameters, rows, config.train)
        if (step + 1) % warmup.check_every == 0 or step + 1 == warmup.steps:
            engine.update_weights(policy.model, engine.version)
            result = check.run(engine, step + 1)
            value = result.pass_at[1].value if 1 in result.pass_at else 0.0
            record = {
                "warmup_step": step + 1,
                "loss": loss,
                "pass@1": value,
                "seconds": time.perf_counter() - start,
                "total": warmup.steps,
            }
            records.append(record)
            if progress is not None:
                progress(record)
            if value >= warmup.target:
                break
    demonstrator.close()
    return records


def demonstration_rows(turns: Any, chat: ChatFormat) -> list[Row]:
    """One row a turn: the rendered history, and the reply with its end token."""
    rows = []
    for history, reply in turns:
        ids = (*chat.encode(reply), *chat.end_ids[:1])
        sample = Sample(
            "",
            chat.first(history),
            ids,
            np.ones(len(ids), bool),
            np.zeros(len(ids), np.float32),
            np.zeros(len(ids), np.int64),
        )
        rows.append(Row(sample, np.ones(len(ids))))
    return rows


def reply_logps(
    policy: Policy, forward: Forward, rows: list[Row], config: TrainConfig
) -> Iterator[tuple[Sequence[int], Collated, torch.Tensor]]:
    """Log-probabilities of the rows' replies, a micro-batch at a time: places of its rows, the batch, values [N]."""
    shared = forward.decoder is not None
    for batch in plan([r.context for r in rows], [len(r.sample) for r in rows], config.token_budget, shared=shared):
        collated = collate([rows[i] for i in batch], policy.device)
        hidden = forward.hidden(collated.prompts, collated.index, collated.ids).flatten(0, 1)
        logits = LinearLogits(hidden.index_select(0, collated.flat_N), forward.head_weight)
        out = head(logits, collated.targets_N, chunk=config.head_chunk)
        yield batch, collated, out.logp_N


def supervised_step(
    policy: Policy, forward: Forward, optimizer: Any, parameters: list[Any], rows: list[Row], config: TrainConfig
) -> float:
    """One step on the mean negative log-probability (nats a token) of the rows' replies; returns it."""
    tokens = sum(row.tokens for row in rows)
    total = 0.0
    for _, _, logp_N in reply_logps(policy, forward, rows, config):
        loss = -logp_N.sum() / tokens
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total
