"""One GPU: tokens a second of rollouts and training, chunked head, weight update, memory; Qwen3 shapes, random weights.

    python benchmarks/gpu.py                              # 0.6B, 1.7B and 8B in bfloat16; needs about 80 GiB for 8B
    python benchmarks/gpu.py --sizes 0.6B --engines native
    python benchmarks/gpu.py --sizes nano --device cpu    # toy shapes, to see that it runs; the numbers mean nothing

Every part prints one JSON line as soon as it is measured, next to the bound of `palaestra.trainer.sizing`. A part that
does not fit, or needs a package that is missing, says so and the rest goes on. No number of this script has been
published yet: it has only run with toy shapes on a CPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from typing import Any

import torch

SIZES: dict[str, dict[str, Any]] = {
    "0.6B": {"layers": 28, "hidden": 1024, "heads": 16, "kv": 8, "mlp": 3072, "vocabulary": 151936, "tied": True},
    "1.7B": {"layers": 28, "hidden": 2048, "heads": 16, "kv": 8, "mlp": 6144, "vocabulary": 151936, "tied": True},
    "8B": {"layers": 36, "hidden": 4096, "heads": 32, "kv": 8, "mlp": 12288, "vocabulary": 151936, "tied": False},
    "nano": {"layers": 2, "hidden": 64, "heads": 2, "kv": 1, "mlp": 96, "vocabulary": 300, "tied": True},
}
"""Qwen3's shapes (head size 128), and one that any machine can run."""


def make_policy(size: str, device: str) -> Any:
    """A policy of a shape with random weights; its tokenizer knows a few characters and is only there for its form."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from palaestra.trainer.policy import Policy
    from palaestra.trainer.tiny import tiny_tokenizer

    s = SIZES[size]
    config = Qwen3Config(
        vocab_size=s["vocabulary"],
        hidden_size=s["hidden"],
        intermediate_size=s["mlp"],
        num_hidden_layers=s["layers"],
        num_attention_heads=s["heads"],
        num_key_value_heads=s["kv"],
        head_dim=32 if size == "nano" else 128,
        max_position_embeddings=40960,
        tie_word_embeddings=s["tied"],
        pad_token_id=None,
    )
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen3ForCausalLM(config).to(dtype).eval()
    return Policy(model, tiny_tokenizer("0123456789"), ())


def clock(run: Callable[[], Any], device: str, repeats: int) -> float:
    """Median seconds after one unmeasured call."""
    times = []
    for _ in range(repeats + 1):
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def rollout(policy: Any, kind: str, options: argparse.Namespace) -> dict[str, float]:
    """Sampled tokens a second at several batch sizes, exact token counts, and the time of a weight update."""
    from palaestra.trainer.config import RolloutConfig
    from palaestra.trainer.engines import make_engine
    from palaestra.trainer.engines.base import Prompt, SamplingParams

    engine = make_engine(RolloutConfig(engine=kind, max_context=options.prompt + options.new + 1), policy)
    params = SamplingParams(max_new_tokens=options.new)
    vocabulary = policy.model.config.vocab_size
    found: dict[str, float] = {}
    try:
        for rows in options.rows:
            generator = torch.Generator().manual_seed(rows)
            ids = torch.randint(3, vocabulary, (max(rows // 8, 1), options.prompt), generator=generator).tolist()
            prompts = [Prompt(tuple(row), min(8, rows), tuple(range(min(8, rows)))) for row in ids]
            count = sum(p.n for p in prompts) * options.new
            seconds = clock(lambda prompts=prompts: engine.sample(prompts, params), options.device, options.repeats)
            found[f"tokens_per_second_{rows}_rows"] = count / seconds
        seconds = clock(lambda: engine.update_weights(policy.model, 1), options.device, options.repeats)
        found["weight_update_ms"] = 1e3 * seconds
    finally:
        engine.close()
    return found


def training(policy: Any, options: argparse.Namespace, **train: Any) -> dict[str, float]:
    """Trained tokens a second of whole optimiser steps, groups of 8, and the share of the measured peak."""
    import numpy as np

    from palaestra.trainer.config import TrainConfig
    from palaestra.trainer.learner import Learner
    from palaestra.trainer.objectives import registry
    from palaestra.trainer.rows import Row
    from palaestra.trainer.samples import Sample
    from palaestra.trainer.speed import Speed

    rng, vocabulary, new = np.random.default_rng(0), policy.model.config.vocab_size, options.new
    rows = []
    for group in range(max(options.train_rows // 8, 1)):
        prompt = tuple(rng.integers(3, vocabulary, options.prompt).tolist())
        for j in range(8):
            ids, sampled = tuple(rng.integers(3, vocabulary, new).tolist()), np.ones(new, bool)
            logp = np.full(new, -float(np.log(vocabulary)), np.float32)
            sample = Sample(f"{group}-{j}", prompt, ids, sampled, logp, np.zeros(new, int))
            rows.append(Row(sample, np.full(new, 1.0 if j % 2 else -1.0), group=group))
    settings = TrainConfig(token_budget=options.token_budget, max_ratio=1e300, learning_rate=1e-6, **train)
    learner = Learner(policy, registry.get("grpo", {}), settings, 1.0)
    last: dict[str, float] = {}

    def step() -> None:
        for row in rows:
            row.scores.clear()
        last.update(learner.train(rows, 0))

    seconds = clock(step, options.device, options.repeats)
    speed = Speed.of(policy)
    step_metrics = {**last, "time/train": seconds, "tokens": 0.0}
    return {**speed.metrics(step_metrics, policy.device), "matmul_peak": speed.peak}


def chunked_head(policy: Any, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds and extra peak memory of log-probabilities with gradient, against the whole softmax."""
    from palaestra.trainer.head import LinearLogits, head

    weight = policy.model.get_output_embeddings().weight
    hidden = torch.randn(options.head_tokens, weight.shape[1], device=weight.device, dtype=weight.dtype)
    hidden.requires_grad_()
    targets = torch.randint(0, weight.shape[0], (options.head_tokens,), device=weight.device)

    def chunked() -> None:
        head(LinearLogits(hidden, weight), targets).logp_N.sum().backward()
        weight.grad = hidden.grad = None

    def whole() -> None:
        logits = (hidden @ weight.T).float()
        logits.log_softmax(-1).gather(1, targets[:, None]).sum().backward()
        weight.grad = hidden.grad = None

    found = {}
    for name, run in (("chunked", chunked), ("whole", whole)):
        if options.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        found[f"{name}_ms"] = 1e3 * clock(run, options.device, options.repeats)
        if options.device != "cpu":
            found[f"{name}_extra_gib"] = (torch.cuda.max_memory_allocated() - before) / 2**30
    return found


def bounds(policy: Any, options: argparse.Namespace) -> dict[str, float]:
    """What the arithmetic of the sizing model allows on this device."""
    from palaestra.trainer.sizing import Shape, rollout_tokens_per_second, train_tokens_per_second

    shape = Shape.of(policy.model.config.to_dict())
    flops, bandwidth = options.peak_flops, options.bandwidth
    context = options.prompt + options.new / 2
    each = next(policy.model.parameters()).element_size()
    found = {"train_tokens_per_second": train_tokens_per_second(shape, flops, context)}
    for rows in options.rows:
        found[f"rollout_{rows}_rows"] = rollout_tokens_per_second(shape, bandwidth, flops, rows, context, each)
    return found


def attempt(size: str, part: str, run: Callable[[], dict[str, float]], device: str) -> None:
    """Print what a part found, or why there is nothing."""
    start, line = time.perf_counter(), {"size": size, "part": part}
    try:
        line |= {key: round(value, 4) for key, value in run().items()}  # type: ignore[assignment]
    except (RuntimeError, ValueError, ImportError) as error:  # out of memory, a missing package, a refusing engine
        line["failed"] = f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
    gc.collect()
    if device != "cpu":
        line["peak_gib"] = str(round(torch.cuda.max_memory_allocated() / 2**30, 2))
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    print(json.dumps({**line, "seconds": round(time.perf_counter() - start, 1)}), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="0.6B,1.7B,8B")
    parser.add_argument("--engines", default="native,vllm")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=lambda t: [int(x) for x in t.split(",")], default=[64, 512])
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=1024)
    parser.add_argument("--train-rows", type=int, default=64)
    parser.add_argument("--token-budget", type=int, default=32768)
    parser.add_argument("--head-tokens", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak-flops", type=float, default=989e12, help="of the data sheet, for the bounds (H200)")
    parser.add_argument("--bandwidth", type=float, default=4.8e12, help="bytes a second, for the bounds (H200)")
    options = parser.parse_args(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --sizes nano --device cpu runs the script with toy shapes")
    if options.device != "cpu":
        print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__}), flush=True)
    for size in options.sizes.split(","):
        attempt(size, "bounds", lambda size=size: bounds(make_policy(size, "meta"), options), options.device)
        policy = make_policy(size, options.device)
        for kind in options.engines.split(","):
            attempt(size, f"rollout {kind}", lambda p=policy, k=kind: rollout(p, k, options), options.device)
        attempt(size, "chunked head", lambda p=policy: chunked_head(p, options), options.device)
        variants: dict[str, dict[str, Any]] = {
            "shared prompts": {},
            "padded": {"shared_prefix": False},
            "padded, checkpointed": {"gradient_checkpointing": True},
            "shared prompts, compiled": {"compile": True},
        }
        if options.device == "cpu":
            variants.pop("shared prompts, compiled")  # minutes of C++ for nothing
        for name, train in variants.items():
            run = lambda p=policy, t=train: training(p, options, **t)  # noqa: E731
            attempt(size, f"training, {name}", run, options.device)
        del policy


if __name__ == "__main__":
    main()
