"""Recursive language models: a model works on a long context through a REPL and asks sub-models from code.

    rlm = RLM(root, sub=None, limits=Limits(), repl="fork", prompt=Prompt(), fences=("repl", "python"))
    result = await rlm.run(context, question, seed=0, trace_path=None)      # or rlm.run_sync(...), rlm.run_many(jobs)
    result.answer, result.status, result.partial, result.usage, result.trace
    await rlm.drain("wait" | "cancel"); rlm.resume(); await rlm.cancel(); await rlm.close()

    to_samples(trace, advantage, child_weight="mean", train_depths=None) -> list[TreeSample]
    to_rollout(trace, reward, task_id) -> Rollout with children
    replay(rlm, trace, context, overrides=None, fallback=None) -> Result;  difference_reward(...)
    generate(family, seed, length_chars, **knobs) -> LongTask;  score(kind, gold, answer) -> Score
    write_html(trace, path)

A model is any async callable ``(messages, *, n_max_tokens, seed, tags) -> Reply``, or a `palaestra.lm.LanguageModel`.
Runs end with a `Status`; nothing that model code, a context, a sub-model or the network does raises.
"""

from __future__ import annotations

from .context import Context
from .engine import RLM, Result
from .html import write_html
from .lms import ChatLM, as_lm
from .prompt import Prompt
from .replay import ReplayLM, ReplayMismatch, difference_reward, replay
from .rollouts import to_rollout
from .samples import TreeSample, node_weights, to_samples
from .score import Score, best_constant, score
from .tasks import LongTask, generate
from .trace import Node, Trace
from .types import LM, BudgetExceeded, Limits, Reply, Status, TreeUsage, Usage
from .worker import Worker

__all__ = [
    "LM",
    "RLM",
    "BudgetExceeded",
    "ChatLM",
    "Context",
    "Limits",
    "LongTask",
    "Node",
    "Prompt",
    "ReplayLM",
    "ReplayMismatch",
    "Reply",
    "Result",
    "Score",
    "Status",
    "Trace",
    "TreeSample",
    "TreeUsage",
    "Usage",
    "Worker",
    "as_lm",
    "best_constant",
    "difference_reward",
    "generate",
    "node_weights",
    "replay",
    "score",
    "to_rollout",
    "to_samples",
    "write_html",
]
