"""One GPU: tokens a second of rollouts and training, chunked head, weight update, memory; Qwen3 shapes, random weights.

    python benchmarks/gpu.py                              # 0.6B, 1.7B and 8B; the last needs about 100 GiB
    python benchmarks/gpu.py --sizes 0.6B --parts rollout --engines native,compiled,hf --rows 64 --new 256
    python benchmarks/gpu.py --sizes nano --device cpu    # toy shapes, to see that it runs; the numbers mean nothing

Weights are float32 and compute in bfloat16, as a run has them by default; those of 8B are bfloat16, moments too. Every
part prints one JSON line as soon as it is measured, next to the bound of `palaestra.trainer.sizing` at the peak and
bandwidth that this GPU showed at the start. A part that does not fit, or whose package is missing, says so and the rest
goes on.
"bare" is the Hugging Face model, whole logits, cross-entropy and fused AdamW on padded rows: what one writes by hand.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

SIZES: dict[str, dict[str, Any]] = {
    "0.6B": {"layers": 28, "hidden": 1024, "heads": 16, "kv": 8, "mlp": 3072, "vocabulary": 151936, "tied": True},
    "1.7B": {"layers": 28, "hidden": 2048, "heads": 16, "kv": 8, "mlp": 6144, "vocabulary": 151936, "tied": True},
    "8B": {"layers": 36, "hidden": 4096, "heads": 32, "kv": 8, "mlp": 12288, "vocabulary": 151936, "tied": False},
    "nano": {"layers": 2, "hidden": 64, "heads": 2, "kv": 1, "mlp": 96, "vocabulary": 300, "tied": True},
}
"""Qwen3's shapes (head size 128), and one that any machine can run."""
NARROW = ("8B",)
"""Sizes whose weights are kept in bfloat16: float32 weights, gradients and moments would not fit."""


def make_policy(size: str, device: str, *, narrow: bool | None = None) -> Any:
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
    narrow = size in NARROW if narrow is None else narrow
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16 if narrow else torch.float32)
        try:
            model = Qwen3ForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(torch.float32)
    if device == "cuda" and not narrow:
        model.compute_dtype = torch.bfloat16
    return Policy(model, tiny_tokenizer("0123456789"), ())


def clock(run: Callable[[], Any], device: str, repeats: int, *, warm: bool = True) -> float:
    """Median seconds, after one unmeasured call if `warm`."""
    times = []
    for _ in range(repeats + warm):
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[warm:])[repeats // 2]


def rollout(policy: Any, kind: str, options: argparse.Namespace) -> dict[str, float]:
    """Sampled tokens a second at several batch sizes, exact token counts, and the time of a weight update."""
    from palaestra.trainer.config import RolloutConfig
    from palaestra.trainer.engines import make_engine
    from palaestra.trainer.engines.base import Prompt, SamplingParams

    compiled = kind == "compiled"
    settings = RolloutConfig(
        engine="native" if compiled else kind, compile=compiled, max_context=options.prompt + options.new + 1
    )
    engine = make_engine(settings, policy)
    if hasattr(engine, "max_rows"):
        engine.max_rows = max(options.rows)
    params, vocabulary = SamplingParams(max_new_tokens=options.new), policy.model.config.vocab_size
    # The warm-up compiles kernels and takes the same memory as the measured call, and ends at the first tokens.
    soon = SamplingParams(max_new_tokens=options.new, stop_ids=tuple(range(vocabulary)))
    found: dict[str, float] = {}
    try:
        for rows in options.rows:
            generator = torch.Generator().manual_seed(rows)
            ids = torch.randint(3, vocabulary, (max(rows // 8, 1), options.prompt), generator=generator).tolist()
            prompts = [Prompt(tuple(row), min(8, rows), tuple(range(min(8, rows)))) for row in ids]
            count = sum(p.n for p in prompts) * options.new
            engine.sample(prompts, soon)
            sample = lambda prompts=prompts: engine.sample(prompts, params)  # noqa: E731
            seconds = clock(sample, options.device, 1, warm=False)
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
    settings = TrainConfig(
        token_budget=options.token_budget,
        head_chunk=options.head_chunk,
        max_ratio=1e300,
        learning_rate=1e-6,
        **train,
    )
    learner = Learner(policy, registry.get("grpo", {}), settings, 1.0)
    last: dict[str, float] = {}

    def step() -> None:
        for row in rows:
            row.scores.clear()
        last.update(learner.train(rows, 0))

    seconds = clock(step, options.device, options.repeats)
    speed = Speed.of(policy, options.peak_flops)
    step_metrics = {**last, "time/train": seconds, "tokens": 0.0}
    found = speed.metrics(step_metrics, policy.device)
    return {"seconds_a_step": seconds, **{k: v for k, v in found.items() if not k.endswith("memory_mb")}}


def bare(policy: Any, options: argparse.Namespace) -> dict[str, float]:
    """Trained tokens a second of the stock model on padded rows, as many a micro-batch as the token budget holds."""
    from palaestra.trainer.precision import computing

    model, width = policy.model, options.prompt + options.new
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    ids = torch.randint(3, model.config.vocab_size, (options.train_rows, width), device=options.device)
    rows = max(options.bare_budget // width, 1)

    def step() -> None:
        for part in ids.split(rows):
            with computing(model):
                logits = model(part, use_cache=False, logits_to_keep=options.new + 1).logits[:, :-1]
            targets = part[:, options.prompt :].flatten()
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets, reduction="sum")
            (loss / ids.numel()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = clock(step, options.device, options.repeats)
    return {"seconds_a_step": seconds, "train_tokens_per_second": options.train_rows * options.new / seconds}


def chunked_head(policy: Any, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds and extra peak memory of log-probabilities with gradient, against the whole softmax."""
    from palaestra.trainer.head import LinearLogits, head

    weight = policy.model.get_output_embeddings().weight
    narrow = weight.dtype if options.device == "cpu" else torch.bfloat16
    hidden = torch.randn(options.head_tokens, weight.shape[1], device=weight.device, dtype=narrow)
    hidden.requires_grad_()
    targets = torch.randint(0, weight.shape[0], (options.head_tokens,), device=weight.device)

    def chunked(compiled: bool = False) -> None:
        out = head(LinearLogits(hidden, weight), targets, chunk=options.head_chunk, compiled=compiled)
        out.logp_N.sum().backward()
        weight.grad = hidden.grad = None

    def whole() -> None:
        logits = (hidden @ weight.to(narrow).T).float()
        logits.log_softmax(-1).gather(1, targets[:, None]).sum().backward()
        weight.grad = hidden.grad = None

    found = {}
    ways: dict[str, Callable[[], None]] = {"chunked": chunked, "whole": whole}
    if options.device != "cpu":
        ways["compiled"] = partial(chunked, True)
    for name, run in ways.items():
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
    found = {"train_tokens_per_second": train_tokens_per_second(shape, flops, context)}
    for rows in options.rows:
        # A group reads its prompt once: the mean context that a row brings to memory is its own tokens and its share.
        read = options.prompt / min(8, rows) + options.new / 2
        found[f"rollout_{rows}_rows"] = rollout_tokens_per_second(shape, bandwidth, flops, rows, read)
    return found


def peaks(device: str) -> tuple[float, float]:
    """Operations a second of a bfloat16 product of random matrices, and bytes a second of a large copy."""
    if device == "cpu":
        return 1e11, 1e10
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn(1 << 30, device=device)
    target = torch.empty_like(source)
    product, copy = clock(lambda: a @ b, device, 9), clock(lambda: target.copy_(source), device, 9)
    return 2 * 8192**3 / product, 2 * source.numel() * 4 / copy


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


VARIANTS: dict[str, dict[str, Any]] = {
    "shared prompts": {},
    "shared prompts, compiled": {"compile": True},
    "shared prompts, checkpointed": {"gradient_checkpointing": True},
    "shared prompts, checkpointed, compiled": {"gradient_checkpointing": True, "compile": True},
    "padded": {"shared_prefix": False},
    "padded, checkpointed": {"shared_prefix": False, "gradient_checkpointing": True},
}


def measure(size: str, options: argparse.Namespace) -> None:
    """All parts of one size."""
    policy = make_policy(size, options.device)
    if "rollout" in options.parts:
        for kind in options.engines.split(","):
            attempt(size, f"rollout {kind}", partial(rollout, policy, kind, options), options.device)
    if "head" in options.parts:
        attempt(size, "chunked head", lambda: chunked_head(policy, options), options.device)
    if "training" in options.parts:
        for name, train in VARIANTS.items():
            wanted = options.variants == "all" or name in options.variants.split(";")
            if wanted and not (options.device == "cpu" and "compiled" in name):  # minutes of C++ for nothing
                attempt(size, f"training, {name}", partial(training, policy, options, **train), options.device)
                policy.model.gradient_checkpointing_disable()
                policy.model.eval()
    if "bare" in options.parts:
        attempt(size, "training, bare", lambda: bare(policy, options), options.device)
    if "lora" in options.parts:
        from palaestra.trainer.lora import add_adapters

        del policy
        gc.collect()
        policy = make_policy(size, options.device, narrow=False)
        policy.model = add_adapters(policy.model, 16, 32.0)
        attempt(
            size,
            "training, LoRA of rank 16, checkpointed",
            partial(training, policy, options, gradient_checkpointing=True),
            options.device,
        )


def main(arguments: list[str] | None = None) -> None:
    """Measure and print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="0.6B,1.7B,8B")
    parser.add_argument("--parts", default="rollout,head,training,bare,lora")
    parser.add_argument("--engines", default="native,compiled")
    parser.add_argument("--variants", default="all", help="training variants by name, separated by semicolons")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=lambda t: [int(x) for x in t.split(",")], default=[64, 512])
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=1024)
    parser.add_argument("--train-rows", type=int, default=64)
    parser.add_argument("--token-budget", type=int, default=16384)
    parser.add_argument("--bare-budget", type=int, default=8192, help="token budget of the bare loop")
    parser.add_argument("--head-chunk", type=int, default=4096)
    parser.add_argument("--head-tokens", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --sizes nano --device cpu runs the script with toy shapes")
    options.peak_flops, options.bandwidth = peaks(options.device)
    device = torch.cuda.get_device_name() if options.device != "cpu" else "cpu"
    found = {"device": device, "torch": torch.__version__, "flops": options.peak_flops, "bandwidth": options.bandwidth}
    print(json.dumps(found), flush=True)
    for size in options.sizes.split(","):
        attempt(size, "bounds", lambda size=size: bounds(make_policy(size, "meta"), options), options.device)
        measure(size, options)
        gc.collect()


if __name__ == "__main__":
    main()
