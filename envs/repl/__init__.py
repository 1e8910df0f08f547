"""`palaestra/RecursiveREPL-v0`: a long context in a REPL; actions are replies with code, sub-calls are nested rollouts.

    env = palaestra.make("palaestra/RecursiveREPL-v0", family="linear", length=100_000, tier="T1", sub="oracle")
    messages, info = env.reset(seed=0)
    messages, reward, terminated, truncated, info = env.step("```repl\\nprint(context[:200])\\n```")

The reward comes with the last step and is the score of the submitted answer; a run that ends without one has 0. When
the machinery failed there is no reward (nan) and `info["error"]`. The last `info` holds `status`, `children` (the
sub-calls as `Rollout`s) and budgets; every `info` has `metrics` with counters.
"""

from __future__ import annotations

from ..registry import register
from .env import RecursiveREPL
from .vector import VectorREPL

__all__ = ["RecursiveREPL", "VectorREPL"]

register("palaestra/RecursiveREPL-v0", RecursiveREPL)
