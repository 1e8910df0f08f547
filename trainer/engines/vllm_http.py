"""vLLM behind HTTP: the engine of runs whose sampling has machines of its own.

Start a server like this (the last two lines only on a machine without a GPU, where seeded requests
with split prompts would end the server, and packed weights would go stale):

    VLLM_SERVER_DEV_MODE=1 python -m vllm.entrypoints.openai.api_server --model FOLDER --generation-config vllm \\
        --logprobs-mode processed_logprobs --max-logprobs -1 --dtype float32 \\
        --enforce-eager --no-enable-chunked-prefill \\
        --worker-extension-cls palaestra.trainer.engines.vllm_cpu.PlainWeights

Weights travel as a folder that both sides see (`transfer`); the development routes of the server load it. A 200 proves
nothing, so every update is checked with a log-prob probe.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import httpx
import torch

from ...schema import Turn
from .base import EngineFailed, Prompt, SamplingParams, Scored, UpdateReceipt, refuse_empty
from .probe import Probe, tensors_of
from .vllm import scored_from
from .vllm_version import check_version

_CPU_HINT = (
    "start a CPU server with --worker-extension-cls palaestra.trainer.engines.vllm_cpu.PlainWeights, and use the "
    "learner's --dtype"
)


class VLLMServerEngine:
    """Samples from a running vLLM server.

    Args:
        policy: the learner's `Policy`; the server must serve the same architecture and vocabulary.
        url: address of the server, with or without ``/v1``.
        version: weight version it starts with.
        transfer: folder for weights that server and learner both see; empty = a temporary one of this machine.
        probe_tolerance: see `Probe`.
        timeout: seconds one call may take.
        retries: attempts of a call that met a dead or overloaded server.
        concurrency: requests in flight.
        client: an ``httpx.Client``, for tests.

    Raises:
        EngineFailed: no usable server there.
        StaleWeights: it does not compute what the learner computes after an update.
    """

    def __init__(
        self,
        policy: Any,
        url: str,
        *,
        version: int = 0,
        transfer: str = "",
        probe_tolerance: float = 0.0,
        timeout: float = 600.0,
        retries: int = 4,
        concurrency: int = 64,
        client: Any = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise EngineFailed(f"rollout.url = {url!r}: engine 'vllm_http' needs the address of a vLLM server")
        self.url = url.rstrip("/").removesuffix("/v1")
        self.policy = policy
        self.version = version
        self.retries = retries
        self._unchecked: tuple[Any, int] | None = None
        self.probe = Probe(policy.model, probe_tolerance)
        self._client = client or httpx.Client(
            timeout=httpx.Timeout(timeout, connect=10.0), limits=httpx.Limits(max_connections=concurrency)
        )
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="palaestra-vllm")
        self._temporary = None if transfer else tempfile.TemporaryDirectory(prefix="palaestra-vllm-")
        self.transfer = Path(transfer or self._temporary.name)  # type: ignore[union-attr]
        try:
            check_version(str(self._call("GET", "/version").get("version")), f"at {self.url}")
            self.model = str(self._call("GET", "/v1/models")["data"][0]["id"])
            self.update_weights(None, version)
            self._require_processed()
        except BaseException:
            self.close()
            raise

    # ---- calls -------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        """One call; a server that is away or overloaded is tried again, any other refusal is final."""
        problem = ""
        for attempt in range(self.retries):
            if attempt:
                time.sleep(min(0.5 * 2**attempt, 8.0))
            try:
                reply = self._client.request(method, self.url + path, json=body, params=query)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if reply.status_code in (429, 502, 503, 504):
                problem = f"status {reply.status_code}"
                continue
            if reply.status_code != 200:
                hint = "; start it with VLLM_SERVER_DEV_MODE=1" if reply.status_code == 404 else ""
                raise EngineFailed(f"vLLM at {self.url}{path} answered {reply.status_code}: {reply.text[:300]}{hint}")
            return reply.json() if reply.content.strip() else {}
        raise EngineFailed(f"vLLM at {self.url}{path} gave no answer in {self.retries} attempts ({problem})")

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        reply = self._call("POST", "/v1/completions", {"model": self.model, **body})
        choice: dict[str, Any] = reply["choices"][0]
        return choice

    # ---- sampling and scoring ----------------------------------------------------------------------------------

    def sample(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[list[Turn]]:
        """Continue every prompt; see `Engine.sample`. One request a continuation, as each has a seed of its own."""
        refuse_empty(prompts)
        jobs = [(p.ids, p.keys[j] if p.keys else j) for p in prompts for j in range(p.n)]
        turns = iter(list(self._pool.map(lambda job: self._turn(job[0], job[1], params), jobs)))
        return [[next(turns) for _ in range(p.n)] for p in prompts]

    def _turn(self, ids: tuple[int, ...], key: int, params: SamplingParams) -> Turn:
        version = self.version
        choice = self._complete(
            {
                "prompt": list(ids),
                "max_tokens": params.max_new_tokens,
                "temperature": params.temperature,
                "top_p": params.top_p,
                "seed": (key + params.seed) % 2**63,
                "stop_token_ids": list(params.stop_ids),
                "stop": list(params.stop_strings) or None,
                "include_stop_str_in_output": True,
                "skip_special_tokens": False,
                "ignore_eos": True,
                "logprobs": 0,
                "return_token_ids": True,
            }
        )
        sampled = choice.get("token_ids")
        if sampled is None or list(choice.get("prompt_token_ids") or ids) != list(ids):
            raise EngineFailed(f"vLLM at {self.url} did not return the token ids it was asked for")
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or []
        reason: Any = choice["finish_reason"]
        return Turn(
            prompt_ids=ids,
            completion_ids=tuple(sampled),
            logprobs=tuple(logprobs),
            stop=reason if reason in ("stop", "length") else "abort",
            policy_version=version,
        )

    def score(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]], topk: int | None = None
    ) -> list[Scored]:
        """Log-probabilities of given completions at temperature 1; see `Engine.score`."""

        def one(pair: tuple[Sequence[int], Sequence[int]]) -> Scored:
            prompt, completion = pair
            body = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": topk or 0}
            choice = self._complete({"prompt": [*map(int, prompt), *map(int, completion)], **body})
            positions = choice["prompt_logprobs"][len(prompt) :]
            return scored_from([{int(t): e["logprob"] for t, e in at.items()} for at in positions], completion, topk)

        return list(self._pool.map(one, zip(prompt_ids, completion_ids, strict=True)))

    def _require_processed(self) -> None:
        """Refuse a server that reports log-probs of another distribution than the one it samples from."""
        ids, temperature = self.probe.ids[0], 2.0
        turn = self._turn(tuple(ids), 1, SamplingParams(max_new_tokens=1, temperature=temperature))
        with torch.inference_mode():
            device = next(self.policy.model.parameters()).device
            logits = self.policy.model(input_ids=torch.tensor([ids], device=device)).logits[0, -1].float()
        gaps = [
            abs(float((logits / t).log_softmax(-1)[turn.completion_ids[0]]) - turn.logprobs[0])
            for t in (temperature, 1.0)
        ]
        if gaps[0] > self.probe.tolerance and gaps[1] < gaps[0]:
            raise EngineFailed(f"vLLM at {self.url} reports raw log-probs; add --logprobs-mode processed_logprobs")

    # ---- weights -----------------------------------------------------------------------------------------------

    def update_weights(self, source: Any = None, version: int = 0) -> UpdateReceipt:
        """Hand the server new weights through a folder, drop its caches and check the result against the learner.

        Args:
            source: a module, a state dict, a Hugging Face folder, or None for the policy given at construction.
            version: version of these weights.

        Raises:
            StaleWeights: afterwards the server computes something else than the learner.
        """
        start = time.perf_counter()
        given = isinstance(source, (str, Path))
        folder = Path(source) if given else self._write(source, version)
        written = time.perf_counter()
        paused = self._call("GET", "/is_paused")["is_paused"]
        if not paused:
            self._call("POST", "/pause", mode="keep")
        try:
            body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
            self._call("POST", "/collective_rpc", body)
            reset = self._call("POST", "/reset_prefix_cache", reset_running_requests="true")
            if not reset.get("success"):
                raise EngineFailed(f"vLLM at {self.url} did not drop its prefix cache")
            self.version = version
        finally:
            if not paused:
                self._call("POST", "/resume")
            if not given:
                shutil.rmtree(folder, ignore_errors=True)
        loaded = time.perf_counter()
        self._unchecked = (source, version)
        gap = None if paused else self._check()  # a paused server is checked when it resumes
        done = time.perf_counter()
        details = {"write_ms": (written - start) * 1e3, "load_ms": (loaded - written) * 1e3}
        return UpdateReceipt(version, gap, (done - start) * 1e3, details)

    def _check(self) -> float | None:
        if self._unchecked is None:
            return None
        (source, version), self._unchecked = self._unchecked, None
        return self.probe.verify(self.score, source, version, _CPU_HINT)

    def _write(self, source: Any, version: int) -> Path:
        """The weights as a folder; it gets its final name when it is complete."""
        from safetensors.torch import save_file

        folder = self.transfer / f"version-{version}-{time.monotonic_ns()}"
        aside = folder.with_name("." + folder.name)
        aside.mkdir(parents=True)
        seen: set[int] = set()
        tensors = {}
        for name, tensor in tensors_of(source, self.policy.model).items():
            if tensor.data_ptr() not in seen:  # a tied head is the embedding again
                seen.add(tensor.data_ptr())
                tensors[name] = tensor.contiguous()
        save_file(tensors, aside / "model.safetensors")
        aside.rename(folder)
        return folder

    def pause(self, mode: Literal["keep", "wait", "abort"] = "wait") -> None:
        """Stop the server's sampling: keep unfinished turns for later, wait for them, or end them as they are."""
        self._call("POST", "/pause", mode=mode)

    def resume(self) -> None:
        """Sample again; an update made during the pause is checked now."""
        self._call("POST", "/resume")
        self._check()

    def close(self) -> None:
        """Close connections and remove the transfer folder; the server goes on."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        if self._temporary is not None:
            self._temporary.cleanup()
