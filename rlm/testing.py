"""Models without a model, for tests, documentation and benchmarks of everything that uses `palaestra.rlm`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .types import Reply


class ScriptedLM:
    """Replies from a script.

    Args:
        turns: replies of a conversation with a REPL, one a turn (the last one repeats); or a function of
            ``(messages, tags)`` that gives a text, a `Reply`, or raises.
        leaf: reply of `llm` calls: a text or a function of the prompt.
        delay: seconds each reply takes; or a function of the tags.
        tokens: give every reply exact token ids: one id a character, log-probability -1.

    Attributes:
        requests: ``(messages, tags)`` of every request that came.
        in_flight, high_water: requests under way, now and at most.
    """

    def __init__(
        self,
        turns: Sequence[str] | Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], Any] = (),
        leaf: str | Callable[[str], Any] = "ok",
        delay: float | Callable[[Mapping[str, Any]], float] = 0.0,
        tokens: bool = False,
        name: str = "scripted",
    ) -> None:
        self.turns, self.leaf, self.delay, self.tokens, self.name = turns, leaf, delay, tokens, name
        self.requests: list[tuple[list[dict[str, Any]], dict[str, Any]]] = []
        self.in_flight = self.high_water = 0
        self.prompt_tokens = self.completion_tokens = 0

    async def __call__(
        self, messages: Sequence[Mapping[str, Any]], *, n_max_tokens: int, seed: int, tags: Mapping[str, Any]
    ) -> Reply:
        self.requests.append(([dict(m) for m in messages], dict(tags)))
        self.in_flight += 1
        self.high_water = max(self.high_water, self.in_flight)
        try:
            delay = self.delay(tags) if callable(self.delay) else self.delay
            if delay:
                await asyncio.sleep(delay)
            reply = self._reply(messages, tags)
            if asyncio.iscoroutine(reply):
                reply = await reply
        finally:
            self.in_flight -= 1
        return reply if isinstance(reply, Reply) else self._wrap(messages, str(reply))

    def _reply(self, messages: Sequence[Mapping[str, Any]], tags: Mapping[str, Any]) -> Any:
        if tags["kind"] == "llm":
            return self.leaf(messages[-1]["content"]) if callable(self.leaf) else self.leaf
        if callable(self.turns):
            return self.turns(messages, tags)
        return self.turns[min(tags["turn"], len(self.turns) - 1)]

    def _wrap(self, messages: Sequence[Mapping[str, Any]], text: str) -> Reply:
        shown = render(messages)
        self.prompt_tokens += len(shown)
        self.completion_tokens += len(text) + 1
        if not self.tokens:
            return Reply(text, prompt_tokens=len(shown), completion_tokens=len(text) + 1, model=self.name)
        ids = (*map(ord, text), 0)
        return Reply(
            text, prompt_tokens=len(shown), completion_tokens=len(ids), prompt_ids=tuple(map(ord, shown)),
            token_ids=ids, logprobs=(-1.0,) * len(ids), model=self.name,
        )  # fmt: skip


def render(messages: Sequence[Mapping[str, Any]]) -> str:
    """A chat template with the prefix property: each assistant message ends in NUL, as the sampled ids do."""
    parts = [f"<{m['role']}>{m['content']}" + ("\0" if m["role"] == "assistant" else "\n") for m in messages]
    return "".join(parts) + "<assistant>"


def block(code: str) -> str:
    """A reply that runs `code`."""
    return f"```repl\n{code}\n```"
