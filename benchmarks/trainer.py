"""Seconds a training step: ours, TRL's GRPOTrainer when it is installed, and a bare torch loop, interleaved.

    python benchmarks/trainer.py                          # three shapes, medians of three rounds, some minutes
    python benchmarks/trainer.py --shapes 1M:16x8:32+64 --rounds 1 --force

A shape is MODEL:PROMPTSxGROUP:PROMPT+NEW in tokens. All contenders sample and train exactly that many tokens with one
optimiser step, each in a process of its own; the first step of each is thrown away. "bare" is only forward, backward
and fused AdamW on padded rows, with the allocator set as ours: what no framework that trains padded rows can beat.
"padded" is our trainer with shared prompts switched off; "torch's products" is our trainer where the matrix products
are the ones that PyTorch, and so everybody else, uses (`trainer/products.py` has another way on AMD processors).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from shapes import SIZES, policy, prompts, refuse_when_busy

SHAPES = "1M:16x8:32+64,10M:16x8:32+64,10M:8x8:256+64"
Step = dict[str, float]


def ours(
    size: str, count: int, group: int, prompt: int, new: int, steps: int, padded: bool = False, plain: bool = False
) -> list[Step]:
    """Whole steps of the real trainer: environment, rollouts, decisions, optimiser, records."""
    import numpy as np
    import torch
    from shapes import CHARACTERS

    from palaestra.envs import make
    from palaestra.trainer.config import load_config
    from palaestra.trainer.loop import Trainer
    from palaestra.trainer.runfolder import RunFolder

    if plain:
        torch._C._set_mkldnn_enabled(False)  # for all of this process

    class Luck:
        """A given prompt, and a reward from a coin that all environments share, so that groups differ inside."""

        coin = np.random.default_rng(0)

        def __init__(self) -> None:
            self.unwrapped, self.env = self, make("palaestra/Sort-v0")

        def reset(self, *, seed: int = 0, options: Any = None) -> Any:
            return ({"role": "user", "content": prompts(1, prompt, seed)[0]},), {"task_id": str(seed)}

        def step(self, text: str) -> Any:
            return (), float(self.coin.random() < 0.5), True, False, {}

        def close(self) -> None:
            self.env.close()

    folder = Path(tempfile.mkdtemp())
    config = load_config(
        {
            "out": str(folder / "run"),
            "policy": {"characters": CHARACTERS, **SIZES[size]},
            "env": {"id": "bench", "split": False},
            "rollout": {"group_size": group, "prompts_per_step": count, "max_new_tokens": new},
            "train": {"steps": steps + 1, "shared_prefix": not padded},
            "log": {"tensorboard": False},
        }
    )
    trainer = Trainer(config, RunFolder(config), factory=Luck)
    trainer.open()
    trainer.policy.end_ids = ()
    learn, learning = trainer.learner.train, [0.0]

    def timed_learn(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        out = learn(*args, **options)
        learning[0] = time.process_time() - start
        return out

    trainer.learner.train = timed_learn  # type: ignore[method-assign]

    def step() -> Step:
        last = trainer.train_step()
        assert last["tokens"] == count * group * new
        assert last["zero_advantage"] < 0.2, "rows that are skipped would flatter the numbers"
        rest = last["time/step"] - last["time/sampling"] - last["time/train"]
        return {
            "train_cpu": learning[0],
            "update_ms": 1e3 * last["time/update"],
            "overhead": rest / last["time/step"],
            "utilisation": last["flops_utilisation"],
        }

    times = timed(step, steps)
    start = time.process_time()
    trainer.save()
    for row in times:
        row["checkpoint_cpu"] = time.process_time() - start
    trainer.close()
    shutil.rmtree(folder)
    return times


def bare(size: str, count: int, group: int, prompt: int, new: int, steps: int) -> list[Step]:
    """Forward, backward and optimiser on rows of the same length, without sampling."""
    import torch

    from palaestra.trainer.allocator import keep_freed_memory

    keep_freed_memory()
    model = policy(size).model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    ids = torch.randint(3, 512, (count * group, prompt + new))

    def step() -> None:
        logits = model(ids, use_cache=False, logits_to_keep=new + 1).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, prompt:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return timed(step, steps)


def trl(size: str, count: int, group: int, prompt: int, new: int, steps: int) -> list[Step]:
    """TRL's GRPOTrainer with beta 0 and one optimiser step a generation."""
    import random

    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    p = policy(size)
    times: list[Step] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *a: Any, **k: Any) -> None:
            self.start = time.perf_counter(), time.process_time()

        def on_step_end(self, *a: Any, **k: Any) -> None:
            wall, cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
            times.append({"wall": wall, "cpu": cpu})

    folder = tempfile.mkdtemp()
    settings = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=count * group,
        num_generations=group,
        max_completion_length=new,
        max_steps=steps + 1,
        beta=0.0,
        learning_rate=1e-5,
        temperature=1.0,
        generation_kwargs={"min_new_tokens": new},
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=p.model,
        processing_class=p.tokenizer,
        reward_funcs=lambda completions, **k: [float(random.random() < 0.5) for _ in completions],
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": [t + ">" for t in prompts(count * (steps + 1), prompt)]}),
        callbacks=[Clock()],
    )
    trainer.train()
    shutil.rmtree(folder)
    return times[1:]


def timed(step: Callable[[], Step | None], steps: int) -> list[Step]:
    """Wall and CPU seconds of each step after the first, and what the step says itself."""
    times = []
    for _ in range(steps + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        more = step() or {}
        times.append({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, **more})
    return times[1:]


CONTENDERS = {
    "palaestra": ours,
    "TRL": trl,
    "bare torch": bare,
    "palaestra, padded": partial(ours, padded=True),
    "palaestra, torch's products": partial(ours, plain=True),
}


def apart(name: str, shape: str, steps: int, threads: int) -> list[Step]:
    """The steps of one contender, in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--shapes", shape, "--steps", str(steps)]
    done = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: list[Step] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print one table a shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="timed steps a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        import torch

        torch.set_num_threads(options.threads)
        size, batch, tokens = options.shapes.split(":")
        numbers = [*map(int, batch.split("x")), *map(int, tokens.split("+"))]
        print(json.dumps(CONTENDERS[options.one](size, *numbers, options.steps)))
        return
    refuse_when_busy(options.force)
    import importlib.util

    contenders = [name for name in CONTENDERS if name != "TRL" or importlib.util.find_spec("trl")]
    for shape in options.shapes.split(","):
        rows: dict[str, list[Step]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name in contenders:
                rows[name] += apart(name, shape, options.steps, options.threads)
        report(shape, {n: {k: statistics.median(r[k] for r in found) for k in found[0]} for n, found in rows.items()})


def report(shape: str, medians: dict[str, Step]) -> None:
    """Print what was found about one shape."""
    mine, padded, bare_cpu = medians["palaestra"], medians["palaestra, padded"], medians["bare torch"]["cpu"]
    print(
        f"\n{shape}\n\n| who | s/step wall | s/step CPU | wall, times ours | CPU, times ours |\n|---|---|---|---|---|"
    )
    for name, row in medians.items():
        ratios = f"{row['wall'] / mine['wall']:.2f} | {row['cpu'] / mine['cpu']:.2f}"
        print(f"| {name} | {row['wall']:.2f} | {row['cpu']:.2f} | {ratios} |")
    print(
        f"\ntraining, CPU-seconds: shared prompts {mine['train_cpu']:.2f}, padded {padded['train_cpu']:.2f}, "
        f"bare {bare_cpu:.2f} (bare over padded {bare_cpu / padded['train_cpu']:.2f}); "
        f"share of the matrix-product peak {mine['utilisation']:.2f}, padded {padded['utilisation']:.2f}; "
        f"outside sampling and training {mine['overhead']:.1%} of a step; "
        f"checkpoint {mine['checkpoint_cpu']:.2f} CPU-s; weight update {mine['update_ms']:.1f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
