"""The nouns of recursive language models: replies, limits, usage, statuses and the two errors a REPL may show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Status(StrEnum):
    """How a run ended. Only `answered` means that the model submitted an answer."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    TURN_LIMIT = "turn_limit"
    BUDGET = "budget"
    TIMEOUT = "timeout"
    LM_ERROR = "lm_error"
    REPL_DEAD = "repl_dead"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Reply:
    """What a language model sent back.

    Attributes:
        text: the reply as text.
        finish_reason: ``stop``, ``length`` or whatever the server said.
        prompt_tokens: tokens the server counted in the prompt; None when it did not say.
        completion_tokens: tokens the server counted in the reply; None when it did not say.
        cost: money the server charged; None when it did not say.
        prompt_ids: exact token ids of the prompt, when the engine gives them.
        token_ids: exact sampled ids, when the engine gives them; never made again from text.
        logprobs: natural-log probability of each sampled id.
        policy_version: version of the weights that sampled the first token.
        model: name of the model that answered.
    """

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    prompt_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    policy_version: int = 0
    model: str = ""

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.logprobs):
            raise ValueError(
                f"Reply.logprobs has {len(self.logprobs)} entries for {len(self.token_ids)} token_ids; "
                "give exactly one log-probability per sampled token"
            )


class LM(Protocol):
    """Any async callable that continues a chat. `tags` names the node and the depth, for logs and for routing."""

    async def __call__(
        self, messages: Sequence[Mapping[str, Any]], *, n_max_tokens: int, seed: int, tags: Mapping[str, Any]
    ) -> Reply: ...


class BudgetExceeded(RuntimeError):
    """A call was refused before it was sent because it would pass a limit of the tree.

    Attributes:
        field: name of the `Limits` field.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Limits:
    """Limits of one tree: one object shared by the root and all its descendants.

    Attributes:
        max_turns: turns of each conversation with a REPL (root or child).
        max_depth: deepest level at which `rlm` still opens a REPL; below it acts as `llm`. 0: no recursion.
        max_calls: sub-calls (`llm`, `rlm`, each item of a batch) in the whole tree.
        max_calls_per_batch: items of one batch.
        max_concurrency: language-model requests of the tree in flight at once.
        max_prompt_chars: characters of one sub-call's prompt.
        max_total_tokens: prompt plus completion tokens of the tree; None means no limit.
        max_cost: money spent by the tree; None means no limit.
        wall_s: seconds for the whole tree.
        cell_s: seconds for one cell.
        cell_s_includes_subcalls: whether waiting for sub-calls counts towards `cell_s`.
        output_chars: characters of a cell's output shown to the model (3/4 head, 1/4 tail).
        answer_chars: longest answer that can be submitted.
        mem_bytes: memory of one REPL; None sets no limit (some libraries reserve more addresses than they use).
        procs: processes of one REPL.
        reply_tokens: cap on the tokens of one reply of a model with a REPL.
        sub_reply_tokens: cap on the tokens of one `llm` reply.
        idle_turns: turns in a row without code after which the run ends as `no_answer`.
        refusals_per_cell: refused calls after which a cell is killed.
    """

    max_turns: int = 20
    max_depth: int = 1
    max_calls: int = 200
    max_calls_per_batch: int = 256
    max_concurrency: int = 32
    max_prompt_chars: int = 400_000
    max_total_tokens: int | None = None
    max_cost: float | None = None
    wall_s: float = 600.0
    cell_s: float = 60.0
    cell_s_includes_subcalls: bool = False
    output_chars: int = 8_192
    answer_chars: int = 1_000_000
    mem_bytes: int | None = 2 << 30
    procs: int = 16
    reply_tokens: int = 4_096
    sub_reply_tokens: int = 2_048
    idle_turns: int = 3
    refusals_per_cell: int = 20

    def __post_init__(self) -> None:
        for name in ("max_turns", "max_concurrency", "output_chars", "answer_chars", "reply_tokens", "idle_turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"Limits.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("max_depth", "max_calls", "max_calls_per_batch", "max_prompt_chars"):
            if getattr(self, name) < 0:
                raise ValueError(f"Limits.{name} is {getattr(self, name)}; it must not be negative")
        for name in ("wall_s", "cell_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"Limits.{name} is {value}; give a positive number of seconds")


@dataclass
class Usage:
    """Counters of language-model requests, as the host saw them.

    Attributes:
        calls: requests answered.
        failed: requests that ended in an error.
        prompt_tokens, completion_tokens: as reported by the server.
        cost: as reported by the server.
        unreported: answered requests whose server gave no token counts (they are not in the token sums).
    """

    calls: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    unreported: int = 0

    @property
    def tokens(self) -> int:
        """Prompt plus completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def add(self, reply: Reply) -> None:
        """Count one answered request."""
        self.calls += 1
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            self.unreported += 1
        self.prompt_tokens += reply.prompt_tokens or 0
        self.completion_tokens += reply.completion_tokens or 0
        self.cost += reply.cost or 0.0


@dataclass
class TreeUsage:
    """Usage of a tree: total, by depth (root 0) and by model."""

    total: Usage = field(default_factory=Usage)
    by_depth: dict[int, Usage] = field(default_factory=dict)
    by_model: dict[str, Usage] = field(default_factory=dict)

    def _rows(self, depth: int, model: str) -> tuple[Usage, Usage, Usage]:
        return self.total, self.by_depth.setdefault(depth, Usage()), self.by_model.setdefault(model, Usage())

    def add(self, reply: Reply, depth: int) -> None:
        """Count one answered request."""
        for row in self._rows(depth, reply.model):
            row.add(reply)

    def fail(self, depth: int, model: str) -> None:
        """Count one request that ended in an error."""
        for row in self._rows(depth, model):
            row.failed += 1
