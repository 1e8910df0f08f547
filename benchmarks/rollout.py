"""Tokens per second of the engines: native (grouped and not) against stock transformers, exact token counts.

python benchmarks/rollout.py                         # 1M and 10M, medians of three interleaved rounds
python benchmarks/rollout.py --sizes 1M --rounds 1 --force
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from shapes import SIZES, policy, prompts, refuse_when_busy


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1M,10M", help=f"some of {','.join(SIZES)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128, help="rows decoded together")
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    refuse_when_busy(options.force)

    import torch

    from palaestra.trainer.engines.base import Prompt, SamplingParams
    from palaestra.trainer.engines.hf import HuggingFaceEngine
    from palaestra.trainer.engines.native import NativeEngine

    torch.set_num_threads(options.threads)
    print("| model | engine | tok/s wall | tok per CPU-s |\n|---|---|---|---|")
    for size in options.sizes.split(","):
        p = policy(size)
        params = SamplingParams(max_new_tokens=options.new)
        ids = [tuple(p.tokenizer(t + ">")["input_ids"]) for t in prompts(options.batch, options.prompt)]
        alone = [Prompt(i, 1, (k,)) for k, i in enumerate(ids)]
        groups = [Prompt(i, 8, tuple(range(8))) for i in ids[: options.batch // 8]]
        native, stock = NativeEngine(p.model), HuggingFaceEngine(p.model)

        def generate(p=p, ids=ids) -> None:
            with torch.inference_mode():
                out = p.model.generate(
                    torch.tensor(ids), do_sample=True, max_new_tokens=options.new, min_new_tokens=options.new
                )
            assert out.shape[1] == options.prompt + options.new

        contenders = {
            "native": partial(native.sample, alone, params),
            "native, groups of 8": partial(native.sample, groups, params),
            "hf engine": partial(stock.sample, alone, params),
            "transformers generate": generate,
        }
        wall: dict[str, list[float]] = {name: [] for name in contenders}
        used: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(options.rounds + 1):  # the first round warms up
            for name, run in contenders.items():
                start, cpu = time.perf_counter(), time.process_time()
                run()
                if turn:
                    wall[name].append(time.perf_counter() - start)
                    used[name].append(time.process_time() - cpu)
        tokens = options.batch * options.new
        for name in contenders:
            fast, cheap = tokens / statistics.median(wall[name]), tokens / statistics.median(used[name])
            print(f"| {size} | {name} | {fast:,.0f} | {cheap:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
