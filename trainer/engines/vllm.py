"""vLLM in the learner's process: its scheduler and kernels, our token ids, seeds, versions and verified updates.

Weights are copied from the learner after every step and the copy is checked with a log-prob probe; the prefix cache is
dropped each time, because vLLM would otherwise go on reading keys of the old weights. The engine drives vLLM's steps
itself, so a pause takes effect between two tokens.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...schema import Turn
from .base import EngineFailed, Prompt, SamplingParams, Scored, UpdateReceipt, refuse_empty
from .gate import Gate
from .probe import Probe, tensors_of
from .vllm_version import require_vllm

_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the model lives in this process, where its weights can be written
    "VLLM_NO_USAGE_STATS": "1",  # nothing is uploaded
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # by default one core would idle
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the learner shares these threads
}


class VLLMEngine:
    """Samples with vLLM in this process.

    Args:
        policy: the learner's `Policy`; its weights are copied.
        version: weight version it starts with.
        max_context: longest prompt plus completion.
        probe_tolerance: see `Probe`.
        engine_args: further arguments of ``vllm.LLM``, such as ``gpu_memory_utilization``.

    Raises:
        EngineFailed: vLLM is missing, of an untested version, or cannot start.
        StaleWeights: it does not compute what the learner computes.
    """

    def __init__(
        self,
        policy: Any,
        *,
        version: int = 0,
        max_context: int = 4096,
        probe_tolerance: float = 0.0,
        engine_args: dict[str, Any] | None = None,
    ) -> None:
        require_vllm()
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        self.policy = policy
        self.version = version
        self.probe = Probe(policy.model, probe_tolerance)
        self.max_len = min(max_context + 1, _longest(policy.model))
        self._ids = (str(number) for number in itertools.count())
        self._sampling = threading.Lock()  # one call of sample or score at a time
        self._gate = Gate()
        self._unchecked: tuple[Any, int] | None = None
        with tempfile.TemporaryDirectory(prefix="palaestra-vllm-") as folder, _undisturbed():
            policy.save(Path(folder))
            self.llm = _start(folder, policy, self.max_len, engine_args or {})
        try:
            self._check(None, version)
        except EngineFailed:
            self.close()
            raise
        except (RuntimeError, ValueError) as error:  # such as a head size its attention kernel does not know
            self.close()
            raise EngineFailed(f"vLLM cannot run this policy: {type(error).__name__}: {error}") from error

    # ---- sampling ----------------------------------------------------------------------------------------------

    def sample(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[list[Turn]]:
        """Continue every prompt; see `Engine.sample`. A pause with ``abort`` returns what was sampled so far."""
        refuse_empty(prompts)
        with self._sampling:
            self._gate.wait()
            _settle_threads()
            rows = [self._add(p, j, params) for p in prompts for j in range(p.n)]
            self._drive({row.id: row for row in rows})
            if self._unchecked is not None and not self._gate.closed:  # weights changed under these turns
                self._check_alone(*self._unchecked)
        turns = iter(rows)
        return [[next(turns).turn() for _ in range(p.n)] for p in prompts]

    def _add(self, prompt: Prompt, j: int, params: SamplingParams) -> _Row:
        from vllm import SamplingParams as Wanted
        from vllm.sampling_params import RequestOutputKind

        if len(prompt.ids) >= self.max_len:
            raise ValueError(f"a prompt of {len(prompt.ids)} tokens fills the context of {self.max_len} tokens")
        key = prompt.keys[j] if prompt.keys else j
        wanted = Wanted(
            max_tokens=min(params.max_new_tokens, self.max_len - len(prompt.ids)),
            temperature=params.temperature,
            top_p=params.top_p,
            seed=(key + params.seed) % 2**63,
            stop_token_ids=list(params.stop_ids),
            stop=list(params.stop_strings) or None,
            include_stop_str_in_output=True,
            detokenize=bool(params.stop_strings),
            skip_special_tokens=False,
            ignore_eos=True,  # the policy's own end tokens decide
            logprobs=0,
            output_kind=RequestOutputKind.DELTA,
        )
        row = _Row(next(self._ids), prompt.ids, self.version)
        self._request(row.id, prompt.ids, wanted)
        return row

    def _request(self, name: str, ids: Sequence[int], wanted: Any) -> None:
        from vllm.inputs.engine import tokens_input

        self.llm.llm_engine.add_request(name, tokens_input(list(ids)), wanted)

    def _drive(self, rows: dict[str, _Row]) -> None:
        """Run vLLM until all rows are finished, stopping between steps while paused."""
        engine = self.llm.llm_engine
        try:
            while engine.has_unfinished_requests():
                with self._gate.step() as aborted:
                    if aborted:
                        engine.abort_request([name for name, row in rows.items() if row.stop is None])
                        break
                    for output in engine.step():
                        rows[output.request_id].add(output.outputs[0])
        except BaseException:
            engine.abort_request([name for name, row in rows.items() if row.stop is None])
            raise

    # ---- scoring -----------------------------------------------------------------------------------------------

    def score(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]], topk: int | None = None
    ) -> list[Scored]:
        """Log-probabilities of given completions at temperature 1; see `Engine.score`."""
        with self._sampling:
            self._gate.wait()
            _settle_threads()
            return self._score(prompt_ids, completion_ids, topk)

    def _score(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]], topk: int | None = None
    ) -> list[Scored]:
        from vllm import SamplingParams as Wanted
        from vllm.sampling_params import RequestOutputKind

        for prompt, completion in zip(prompt_ids, completion_ids, strict=True):
            length = len(prompt) + len(completion)
            if length >= self.max_len:
                raise ValueError(f"{length} tokens cannot be scored in a context of {self.max_len}; one stays free")
        wanted = Wanted(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=topk or 0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        names, found = [], {}
        for prompt, completion in zip(prompt_ids, completion_ids, strict=True):
            names.append(next(self._ids))
            self._request(names[-1], [*prompt, *completion], wanted)
        while self.llm.llm_engine.has_unfinished_requests():
            for output in self.llm.llm_engine.step():
                found[output.request_id] = output.prompt_logprobs
        scored = []
        for name, prompt, completion in zip(names, prompt_ids, completion_ids, strict=True):
            positions = [{t: e.logprob for t, e in at.items()} for at in found[name][len(prompt) :]]
            scored.append(scored_from(positions, completion, topk))
        return scored

    # ---- weights -----------------------------------------------------------------------------------------------

    def update_weights(self, source: Any = None, version: int = 0) -> UpdateReceipt:
        """Copy weights into vLLM, drop its caches and check the result against the learner.

        Args:
            source: a module, a state dict, a Hugging Face folder, or None for the policy given at construction.
            version: version of these weights.

        Raises:
            StaleWeights: afterwards vLLM computes something else than the learner.
        """
        start = time.perf_counter()
        with self._gate.hold():
            if isinstance(source, (str, Path)):
                self.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(source)})
            else:
                self._load(tensors_of(source, self.policy.model))
            if not self.llm.reset_prefix_cache(reset_running_requests=True):
                raise EngineFailed("vLLM did not drop its prefix cache, so keys of old weights might be used")
            self.version = version
        copied = time.perf_counter()
        self._unchecked = (source, version)
        gap = None if self._gate.closed else self._check(source, version)  # a paused engine is checked after the pause
        done = time.perf_counter()
        return UpdateReceipt(version, gap, (done - start) * 1e3, {"copy_ms": (copied - start) * 1e3})

    def _load(self, tensors: dict[str, Any]) -> None:
        try:
            self.llm.apply_model(lambda model: len(model.load_weights(iter(tensors.items()))))
        except (AttributeError, KeyError, ValueError, RuntimeError, AssertionError) as error:
            raise EngineFailed(f"vLLM does not take these weights: {type(error).__name__}: {error}") from error

    def _check(self, source: Any, version: int) -> float:
        with self._sampling:
            return self._check_alone(source, version)

    def _check_alone(self, source: Any, version: int) -> float:
        self._unchecked = None
        return self.probe.verify(self._score, source, version)

    def pause(self, mode: Literal["keep", "wait", "abort"] = "wait") -> None:
        """Stop sampling: keep unfinished turns for later, wait for them, or end them as they are."""
        self._gate.close(abort=mode == "abort", wait_for=None if mode == "keep" else self._sampling)

    def resume(self) -> None:
        """Sample again; kept turns go on, with the weights that are there now."""
        self._gate.open()

    def close(self) -> None:
        """Stop vLLM and free its memory."""
        if getattr(self, "llm", None) is not None:
            self.llm.llm_engine.engine_core.shutdown()
            del self.llm


@dataclass
class _Row:
    """One turn while it is sampled."""

    id: str
    prompt_ids: tuple[int, ...]
    version: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stop: str | None = None

    def add(self, output: Any) -> None:
        """Take what one step sampled."""
        self.ids += output.token_ids
        self.logprobs += [at[t].logprob for t, at in zip(output.token_ids, output.logprobs or (), strict=True)]
        if output.finish_reason is not None:
            self.stop = output.finish_reason

    def turn(self) -> Turn:
        stop: Any = self.stop if self.stop in ("stop", "length") else "abort"
        return Turn(
            prompt_ids=self.prompt_ids,
            completion_ids=tuple(self.ids),
            logprobs=tuple(self.logprobs),
            stop=stop,
            policy_version=self.version,
        )


def scored_from(logprobs: list[dict[int, float]], completion: Sequence[int], topk: int | None) -> Scored:
    """Arrays from one ``{token id: log-prob}`` a position; the completion's own token is always among them."""
    logp = np.array([at[token] for at, token in zip(logprobs, completion, strict=True)], dtype=np.float32)
    if not topk:
        return Scored(logp)
    best = [sorted(at.items(), key=lambda item: -item[1])[:topk] for at in logprobs]
    return Scored(
        logp,
        np.array([[token for token, _ in row] for row in best], dtype=np.int64).reshape(len(logp), -1),
        np.array([[value for _, value in row] for row in best], dtype=np.float32).reshape(len(logp), -1),
    )


def _settle_threads() -> None:
    """Give the calling thread torch's thread count: OpenMP counts a thread, and vLLM's CPU attention insists on one."""
    import torch

    torch.set_num_threads(torch.get_num_threads())


def _longest(model: Any) -> int:
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31)


def _start(folder: str, policy: Any, max_len: int, engine_args: dict[str, Any]) -> Any:
    import vllm

    from ..precision import dtype_of
    from .vllm_cpu import keep_plain_weights

    on_cpu = keep_plain_weights()
    args = {
        "dtype": str(dtype_of(policy.model)).removeprefix("torch."),
        "max_model_len": max_len,
        "enforce_eager": on_cpu,
        "generation_config": "vllm",  # none of the folder's sampling defaults
        "logprobs_mode": "processed_logprobs",  # of the distribution that was sampled from
        "max_logprobs": -1,
        "enable_prefix_caching": True,  # a group encodes its prompt once
        "distributed_executor_backend": "uni",
        "disable_log_stats": True,
        # A seeded request whose prompt is split over steps makes the CPU build fail (its generators cannot rewind).
        **({"enable_chunked_prefill": False} if on_cpu else {"gpu_memory_utilization": 0.4}),
        **engine_args,
    }
    try:
        return vllm.LLM(model=folder, **args)
    except (RuntimeError, ValueError, OSError, AssertionError) as error:
        raise EngineFailed(f"vLLM cannot start with this policy: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """vLLM seeds the global generators and takes over torch's thread setting; the learner needs both as they were."""
    import random

    import torch

    python, numpy_state, setter, threads = (
        random.getstate(),
        np.random.get_state(),
        torch.set_num_threads,
        torch.get_num_threads(),
    )
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)
            torch.set_num_threads = setter
            torch.set_num_threads(threads)
