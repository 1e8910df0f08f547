"""From chat messages to token ids, without ever making sampled ids again from text.

The first prompt is rendered by the tokenizer's chat template. After a turn, the next prompt is the exact ids so far
plus the ids of what the template puts between that answer and the next one. When the template would have written the
past differently (thinking removed, tool calls normalised), past and rendering disagree: a *prefix break*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, Any]]

_MARK = "\u2063\u2061answer\u2061\u2063"  # invisible separators: no answer contains them


@dataclass(frozen=True)
class NextPrompt:
    """The ids to sample from next; `broken` says that they do not continue the earlier ids."""

    ids: tuple[int, ...]
    broken: bool = False


class ChatFormat:
    """Renders conversations for one tokenizer.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        end_ids: tokens that end a turn.
        on_rewrite: ``branch`` renders the conversation again on a prefix break, ``append`` keeps the exact past.
        options: variables for the template, such as ``enable_thinking``.
    """

    def __init__(
        self,
        tokenizer: Any,
        end_ids: Sequence[int],
        *,
        on_rewrite: str = "branch",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.end_ids = tuple(end_ids)
        self.on_rewrite = on_rewrite
        self.options = options or {}
        self._first: dict[str, tuple[int, ...]] = {}

    def render(self, messages: Messages, tools: list[dict[str, Any]] | None = None, prompt: bool = True) -> str:
        """The conversation as the template writes it."""
        return self.tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=prompt, **self.options
        )

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of template text; the template has written the special tokens itself."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, special tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def first(self, messages: Messages, tools: list[dict[str, Any]] | None = None) -> tuple[int, ...]:
        """Ids of the first prompt."""
        key = repr((messages, tools))  # all rollouts of a group ask for the same prompt
        if key not in self._first:
            if len(self._first) >= 4096:
                self._first.clear()
            self._first[key] = self.encode(self.render(messages, tools))
        return self._first[key]

    def first_of(self, messages: Any) -> tuple[int, ...]:
        """Ids of a prompt made of `Message` objects or dicts."""
        return self.first([m if isinstance(m, dict) else m.to_dict() for m in messages])

    def next(
        self,
        past_ids: Sequence[int],
        completion_ids: Sequence[int],
        history: Messages,
        answer: dict[str, Any],
        new: Messages,
        tools: list[dict[str, Any]] | None = None,
    ) -> NextPrompt:
        """The prompt after an answer.

        Args:
            past_ids: the prompt of the last turn.
            completion_ids: what was sampled then, exactly.
            history: messages before the answer.
            answer: the assistant message.
            new: what the environment said since.
            tools: tool schemas now on offer.
        """
        marked = self.render([*history, {**answer, "content": _MARK}, *new], tools)
        head, found, tail = marked.rpartition(_MARK)
        text = self.tokenizer.decode(list(completion_ids))
        ended = bool(completion_ids) and completion_ids[-1] in self.end_ids
        said = text
        if ended:
            end = self.tokenizer.decode([completion_ids[-1]])
            said = text.removesuffix(end)
            tail = tail.removeprefix(end)
        full = self.render([*history, answer, *new], tools)
        faithful = bool(found) and full == f"{head}{said}{end}{tail}" if ended else full == f"{head}{said}{tail}"
        faithful = faithful and head == self.render(history, tools)
        if faithful or (self.on_rewrite == "append" and found):
            return NextPrompt((*past_ids, *completion_ids, *self.encode(tail)))
        return NextPrompt(self.encode(full), broken=True)
