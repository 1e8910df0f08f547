"""A judge model in this process, on transformers. A separate process is kinder to a GPU that also trains."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from ..lm import Completion, LMContextLengthError, LMEmptyReply, LMTimeout, Messages, Sampling, Usage
from ..schema import Message, RewardStatus


class LocalModel:
    """A Hugging Face causal model as a `LanguageModel`.

    Args:
        model: folder or id to load, or a model object.
        tokenizer: tokenizer object, when ``model`` is one.
        device: where to run; the model's own when None.
        name: name in results; the folder or id by default.

    One generation at a time: it runs in a thread under a lock, so the event loop stays free. A deadline stops the
    generation after the token at which it passes.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, device: str | None = None, name: str | None = None):
        self.name = name or (model if isinstance(model, str) else type(model).__name__)
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self._lock = threading.Lock()
        if not isinstance(model, str) and tokenizer is None:
            raise ValueError("LocalModel got a model object without a tokenizer; give both")

    async def complete(
        self,
        messages: Messages,
        sampling: Sampling = Sampling(),
        *,
        deadline_s: float | None = None,
        allow_empty: bool = False,
        may_retry: Callable[[], bool] | None = None,
    ) -> Completion:
        """Answer a conversation; see `palaestra.lm.LanguageModel.complete`."""
        stop = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(self._generate, messages, sampling, stop))
        try:
            async with asyncio.timeout(deadline_s):
                completion = await asyncio.shield(work)
        except (TimeoutError, asyncio.CancelledError) as gone:
            stop.set()
            if isinstance(gone, TimeoutError):
                raise LMTimeout(f"model {self.name!r}: no answer within {deadline_s:g} s") from None
            raise
        if not allow_empty and not completion.text.strip():
            error = LMEmptyReply(f"model {self.name!r}: the reply has no text")
            error.usage = completion.usage
            if completion.finish_reason == "length":
                error.status = RewardStatus.PARSE_ERROR
            raise error
        return completion

    def _loaded(self) -> tuple[Any, Any]:
        if isinstance(self._model, str):
            from transformers import AutoModelForCausalLM, AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self._model)
            self._model = AutoModelForCausalLM.from_pretrained(self._model).eval()
            if self._device:
                self._model = self._model.to(self._device)
        return self._model, self._tokenizer

    def _generate(self, messages: Messages, sampling: Sampling, stop: threading.Event) -> Completion:
        import torch
        from transformers import StoppingCriteria, StoppingCriteriaList

        class Stopped(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
                return torch.full((input_ids.shape[0],), stop.is_set(), dtype=torch.bool, device=input_ids.device)

        with self._lock:
            model, tokenizer = self._loaded()
            ids = self._prompt_ids(tokenizer, messages)
            limit = sampling.max_tokens or 512
            room = getattr(model.config, "max_position_embeddings", None)
            if room is not None and len(ids) + limit > room:
                raise LMContextLengthError(
                    f"model {self.name!r}: {len(ids)} + {limit} tokens, but it has room for {room}"
                )
            sample = bool(sampling.temperature)
            options: dict[str, Any] = (
                {"temperature": sampling.temperature, "top_p": sampling.top_p or 1.0} if sample else {}
            )
            # The generator of the whole process is put back afterwards: judging must not disturb a run beside it.
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                torch.manual_seed(sampling.seed or 0)
                tensor = torch.tensor([ids], device=model.device)
                out = model.generate(
                    tensor, attention_mask=torch.ones_like(tensor), max_new_tokens=limit, do_sample=sample,
                    pad_token_id=_first_id(tokenizer.pad_token_id, tokenizer.eos_token_id),
                    stopping_criteria=StoppingCriteriaList([Stopped()]), **options,
                )  # fmt: skip
        new = out[0, len(ids) :].tolist()
        text = tokenizer.decode(new, skip_special_tokens=True)
        finish = "length" if len(new) >= limit and new[-1] != tokenizer.eos_token_id else "stop"
        return Completion(text, Usage(1, len(ids), len(new)), finish, self.name, token_ids=tuple(new))

    def _prompt_ids(self, tokenizer: Any, messages: Messages) -> list[int]:
        rows = [m.to_dict() if isinstance(m, Message) else dict(m) for m in messages]
        if getattr(tokenizer, "chat_template", None):
            ids = tokenizer.apply_chat_template(rows, add_generation_prompt=True, tokenize=True)
            ids = ids["input_ids"] if hasattr(ids, "keys") else ids
        else:
            text = "\n\n".join(f"{row['role']}: {row.get('content') or ''}" for row in rows) + "\n\nassistant:"
            ids = tokenizer(text)["input_ids"]
        return [int(i) for i in ids]


def _first_id(*ids: int | None) -> int | None:
    return next((i for i in ids if i is not None), None)
