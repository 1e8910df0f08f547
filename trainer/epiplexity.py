"""How much structure a learner finds in an environment's right replies: the prequential estimate (arXiv 2601.03220).

One supervised pass over demonstrations without repeats. Every reply is priced twice, in bits: at first sight, before
the learner trains on it, and at the end. What the price fell by, summed, is structure the learner took up; what is left
is noise to it. Both are relative to the learner: compare environments at one run file and one number of tasks only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from .chat import ChatFormat
from .config import RunConfig, load_config
from .demonstrations import Demonstrator
from .engines.sampling import seed_of
from .evaluation import Estimate, estimate
from .forward import Forward
from .metrics.epiplexity import prequential
from .policy import Policy, load_policy
from .rows import Row
from .tasks import TaskSource
from .warmup import demonstration_rows, reply_logps, supervised_step

STAMP = 0xE919


class EpiplexityReport(BaseModel):
    """The estimate for one environment and learner.

    Attributes:
        structure: S, bits taken up over all replies.
        structure_each: the same a reply, with its interval over replies.
        residual: H, bits a reply that are left under the final learner.
        first: bits a reply at first sight.
        replies: how many; tokens: theirs in all; parameters: of the learner.
        repeats: share of replies whose prompt and text came before. They break the estimate: the learner remembers.
    """

    model_config = ConfigDict(frozen=True)

    env: str
    structure: float
    structure_each: Estimate
    residual: Estimate
    first: Estimate
    replies: int
    tokens: int
    parameters: int
    repeats: float


def epiplexity(
    config: Any,
    tasks: int,
    *,
    env_factory: Callable[[], Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EpiplexityReport:
    """Measure the structure of an environment's right replies for the run file's policy.

    Args:
        config: a run file; [policy], [env], and of [warmup] the batch size and learning rate rule.
        tasks: training tasks, each shown once.
        env_factory: see `palaestra.trainer.train`.
        progress: called with (tasks shown, tasks in all).

    Raises:
        ConfigError: the environment does not know its right replies.
    """
    run: RunConfig = load_config(config)
    if run.train.threads:
        torch.set_num_threads(run.train.threads)
    policy = load_policy(run.policy, seed=run.seed)
    source = TaskSource(run.env, env_factory)
    demonstrator = Demonstrator(source)
    chat = ChatFormat(policy.tokenizer, policy.end_ids)
    forward = Forward(policy.model, shared_prefix=run.train.shared_prefix)
    parameters = [p for p in policy.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=run.warmup.learning_rate, betas=(0.9, 0.99), weight_decay=run.warmup.weight_decay
    )
    rows: list[Row] = []
    first: list[float] = []
    cursor = shown = 0
    while shown < tasks:
        count = min(run.warmup.batch_size, tasks - shown)
        drawn, cursor = demonstrator.draw(count, cursor, np.random.default_rng(seed_of(run.seed, STAMP, shown)))
        batch = [row for demonstration in drawn for row in demonstration_rows(demonstration.turns, chat)]
        first += _bits(policy, forward, batch, run)
        supervised_step(policy, forward, optimizer, parameters, batch, run.train)
        rows += batch
        shown += count
        if progress is not None:
            progress(shown, tasks)
    demonstrator.close()
    source.close()
    final = _bits(policy, forward, rows, run)
    known = {(row.context, tuple(row.sample.ids_T)) for row in rows}
    return EpiplexityReport(
        env=run.env.id,
        structure=prequential(first, final)["structure"],
        replies=len(rows),
        tokens=sum(row.tokens for row in rows),
        parameters=sum(p.numel() for p in parameters),
        repeats=1 - len(known) / len(rows),
        structure_each=_over_replies(np.subtract(first, final).tolist()),
        residual=_over_replies(final),
        first=_over_replies(first),
    )


def _over_replies(bits: list[float]) -> Estimate:
    found = estimate(bits)
    assert found is not None  # every task brings a reply
    return found


@torch.no_grad()
def _bits(policy: Policy, forward: Forward, rows: list[Row], run: RunConfig) -> list[float]:
    """Price of every row's reply under the learner as it is."""
    prices = np.zeros(len(rows))
    for places, collated, logp_N in reply_logps(policy, forward, rows, run.train):
        prices[list(places)] = -collated.scatter(logp_N).sum(-1).cpu().numpy() / math.log(2)
    return prices.tolist()
