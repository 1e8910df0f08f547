"""The fallback engine: any Hugging Face architecture through its own forward pass and cache. Slower, same promises."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from ...schema import Turn
from ..precision import computing
from .base import Prompt, SamplingParams, Scored, UpdateReceipt, refuse_empty
from .sampling import draw, hits_string, refuse_nan, uniforms


class HuggingFaceEngine:
    """Samples from any causal language model of transformers.

    Args:
        model: the module; the learner may keep training it.
        tokenizer: needed only for stop strings.
        max_rows: rows sampled at once.
        version: weight version it starts with.
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, max_rows: int = 256, version: int = 0) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.version = version
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters or hasattr(
            model, "peft_config"
        )

    def sample(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[list[Turn]]:
        """Continue every prompt; see `Engine.sample`."""
        refuse_empty(prompts)
        rows = [(i, j) for i, prompt in enumerate(prompts) for j in range(prompt.n)]
        rows.sort(key=lambda row: (len(prompts[row[0]].ids), row))
        results: list[list[Turn | None]] = [[None] * prompt.n for prompt in prompts]
        for start in range(0, len(rows), self.max_rows):
            part = rows[start : start + self.max_rows]
            for (i, j), turn in zip(part, self._sample([(prompts[i], j) for i, j in part], params), strict=True):
                results[i][j] = turn
        return [[turn for turn in turns if turn is not None] for turns in results]

    @torch.inference_mode()
    def _sample(self, rows: list[tuple[Prompt, int]], params: SamplingParams) -> list[Turn]:
        device, limit = self.model.device, params.max_new_tokens
        width = max(len(prompt.ids) for prompt, _ in rows)
        ids = torch.tensor([(0,) * (width - len(p.ids)) + p.ids for p, _ in rows], device=device)
        mask = torch.tensor([[0] * (width - len(p.ids)) + [1] * len(p.ids) for p, _ in rows], device=device)
        keys = np.array([p.keys[j] if p.keys else j for p, j in rows], dtype=np.uint64)
        with np.errstate(over="ignore"):
            random = torch.from_numpy(uniforms(keys + np.uint64(params.seed & (2**64 - 1)), limit)).to(device)
        stop_ids = torch.tensor(params.stop_ids, dtype=torch.long, device=device)
        alive = torch.ones(len(rows), dtype=torch.bool, device=device)
        lengths = torch.full((len(rows),), limit, device=device)
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        sampled, logps = [], []
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        cache = None
        inputs = ids
        for step in range(limit):
            extra = {"position_ids": positions} if self._takes_positions else {}
            with computing(self.model):
                out = self.model(
                    input_ids=inputs,
                    attention_mask=mask,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                    **extra,
                )
            cache = out.past_key_values
            chosen, logp = draw(out.logits[:, -1], random[:, step], params.temperature, params.top_p)
            sampled.append(chosen)
            logps.append(logp)
            done = (chosen[:, None] == stop_ids).any(-1)
            if params.stop_strings:
                texts = torch.stack(sampled, 1).tolist()
                done |= torch.tensor(hits_string(self.tokenizer, texts, params.stop_strings), device=device)
            done &= alive
            lengths[done] = step + 1
            ended |= done
            alive &= ~done
            if not bool(alive.any()):
                break
            inputs, positions = chosen[:, None], positions[:, -1:] + 1
            mask = torch.cat((mask, mask.new_ones(len(rows), 1)), dim=-1)
        refuse_nan(torch.stack(logps))
        ids_out, logp_out = torch.stack(sampled, 1).tolist(), torch.stack(logps, 1).tolist()
        return [
            Turn(
                prompt_ids=prompt.ids,
                completion_ids=tuple(ids_out[r][: int(lengths[r])]),
                logprobs=tuple(logp_out[r][: int(lengths[r])]),
                stop="stop" if bool(ended[r]) else "length",
                policy_version=self.version,
            )
            for r, (prompt, _) in enumerate(rows)
        ]

    @torch.inference_mode()
    def score(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]], topk: int | None = None
    ) -> list[Scored]:
        """Log-probabilities of given completions at temperature 1; see `Engine.score`."""
        results = []
        for prompt, completion in zip(prompt_ids, completion_ids, strict=True):
            ids = torch.tensor([[*prompt, *completion]], device=self.model.device)
            with computing(self.model):
                logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits[0, len(prompt) - 1 :]
            logp = logits.float().log_softmax(-1)
            taken = logp.gather(1, ids[0, len(prompt) :, None])[:, 0].cpu().numpy()
            if topk:
                top = logp.topk(min(topk, logp.shape[1]), dim=-1)
                results.append(Scored(taken, top.indices.cpu().numpy(), top.values.cpu().numpy()))
            else:
                results.append(Scored(taken))
        return results

    def update_weights(self, source: Any = None, version: int = 0) -> UpdateReceipt:
        """The module is the learner's own, so there is nothing to copy unless another one or a state dict comes."""
        start = time.perf_counter()
        if isinstance(source, dict):
            self.model.load_state_dict(source)
        elif source is not None:
            self.model = source
        self.version = version
        return UpdateReceipt(version=version, ms=(time.perf_counter() - start) * 1e3)

    def pause(self, mode: Literal["keep", "wait", "abort"] = "wait") -> None:
        """Nothing to do: `sample` never runs beside `update_weights`."""

    def resume(self) -> None:
        """Nothing to do; see `pause`."""

    def close(self) -> None:
        """Nothing is held."""
