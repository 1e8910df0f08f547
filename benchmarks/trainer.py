"""Seconds a training step: ours, TRL's GRPOTrainer when it is installed, and a bare torch loop, interleaved.

    python benchmarks/trainer.py                          # three shapes, medians of three rounds, some minutes
    python benchmarks/trainer.py --shapes 1M:16x8:32+64 --rounds 1 --force

A shape is MODEL:PROMPTSxGROUP:PROMPT+NEW in tokens. All contenders sample and train exactly that many tokens with one
optimiser step; the first step of each round is thrown away. "bare" is only forward, backward and fused AdamW on padded
rows: what no framework that trains padded rows can beat.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from shapes import SIZES, policy, prompts, refuse_when_busy

SHAPES = "1M:16x8:32+64,10M:16x8:32+64,10M:8x8:256+64"
Times = list[tuple[float, float]]


def ours(size: str, count: int, group: int, prompt: int, new: int, steps: int) -> Times:
    """Whole steps of the real trainer: environment, rollouts, decisions, optimiser, records."""
    import numpy as np
    from shapes import CHARACTERS

    from palaestra.envs import make
    from palaestra.trainer.config import load_config
    from palaestra.trainer.loop import Trainer
    from palaestra.trainer.runfolder import RunFolder

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
            "train": {"steps": steps + 1},
            "log": {"tensorboard": False},
        }
    )
    trainer = Trainer(config, RunFolder(config), factory=Luck)
    trainer.open()
    trainer.policy.end_ids = ()
    times = timed(trainer.train_step, steps)
    assert trainer.last["tokens"] == count * group * new
    assert trainer.last["zero_advantage"] < 0.2, "rows that are skipped would flatter the numbers"
    trainer.close()
    shutil.rmtree(folder)
    return times


def bare(size: str, count: int, group: int, prompt: int, new: int, steps: int) -> Times:
    """Forward, backward and optimiser on rows of the same length, without sampling."""
    import torch

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


def trl(size: str, count: int, group: int, prompt: int, new: int, steps: int) -> Times:
    """TRL's GRPOTrainer with beta 0 and one optimiser step a generation."""
    import random

    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    p = policy(size)
    times: Times = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *a: Any, **k: Any) -> None:
            self.start = time.perf_counter(), time.process_time()

        def on_step_end(self, *a: Any, **k: Any) -> None:
            times.append((time.perf_counter() - self.start[0], time.process_time() - self.start[1]))

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


def timed(step: Callable[[], Any], steps: int) -> Times:
    """Wall and CPU seconds of each step after the first."""
    times = []
    for _ in range(steps + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return times[1:]


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="timed steps a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    refuse_when_busy(options.force)
    import importlib.util

    import torch

    torch.set_num_threads(options.threads)
    contenders = {"palaestra": ours, "bare torch": bare}
    if importlib.util.find_spec("trl"):
        contenders = {"palaestra": ours, "TRL": trl, "bare torch": bare}
    print("| shape | who | s/step wall | s/step CPU | wall, times palaestra |\n|---|---|---|---|---|")
    for shape in options.shapes.split(","):
        size, batch, tokens = shape.split(":")
        count, group = map(int, batch.split("x"))
        prompt, new = map(int, tokens.split("+"))
        found: dict[str, Times] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, run in contenders.items():
                found[name] += run(size, count, group, prompt, new, options.steps)
        medians = {n: tuple(statistics.median(column) for column in zip(*t, strict=True)) for n, t in found.items()}
        for name, (wall, cpu) in medians.items():
            ratio = wall / medians["palaestra"][0]
            print(f"| {shape} | {name} | {wall:.2f} | {cpu:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
