"""Does training on compositions of two functions teach compositions of more? `palaestra/Compose-v0` for a tiny policy.

    python benchmarks/compose_levels.py --out runs/compose-levels               # three seeds
    python benchmarks/compose_levels.py --seeds 0 --steps 10                    # a quick look

`lab/ComposeLevels-v0` draws tasks of `palaestra/Compose-v0` of several levels and writes them briefly:
`nopo(goge(abca))` instead of the question in words, answered by the text itself. Functions are known by name
only, as in the study (arXiv 2509.25123). The policy learns single functions supervised; then, from there, levels 1 and
2 by reinforcement (`grpo`) or training on its own right answers (`iterative_sft`), or level 1 alone by reinforcement.
Each is measured on held-out tasks of levels 1 to 6, with compositions of the training side and of the held-out side.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import palaestra as pl
from palaestra.envs.compose import compose
from palaestra.envs.turns import Result
from palaestra.schema import Task
from palaestra.trainer import RunConfig, evaluate, load_config, train, warm_start
from palaestra.trainer.metrics import over_seeds


@pl.env("lab/ComposeLevels-v0")
def compose_levels(
    rng: np.random.Generator, levels: str = "12", side: str = "train", world: int = 3512, functions: int = 6
) -> Task:
    """Nested functions on three or four letters; see the module.

    Args:
        rng: drawn from by ``reset(seed=)``.
        levels: digits; each task has one of these levels.
        side: of the composed pairs, ``train`` or ``test``.
        world: world of `palaestra/Compose-v0`.
        functions: how many functions of it.
    """
    task = compose(rng, level=_level(rng, levels), **_knobs(side, world, functions))
    judge: Any = task.answer

    def grade(response: str) -> Result:
        return judge(json.dumps({"output": response.strip()}))

    prompt = task.metadata["expression"].replace("x", task.metadata["input"])
    return Task(prompt=prompt, answer=grade, metadata=task.metadata)


@compose_levels.oracle  # type: ignore[attr-defined]
def _solve(
    rng: np.random.Generator, levels: str = "12", side: str = "train", world: int = 3512, functions: int = 6
) -> Iterator[str]:
    replies = compose._palaestra_oracle(rng, level=_level(rng, levels), **_knobs(side, world, functions))  # type: ignore[attr-defined]
    yield json.loads(next(replies))["output"]


def _level(rng: np.random.Generator, levels: str) -> int:
    return int(levels[int(rng.integers(len(levels)))])


def _knobs(side: str, world: int, functions: int) -> dict[str, Any]:
    return {
        "world": world, "side": side, "functions": functions, "alphabet": "abcd", "length": 4, "visible": False
    }  # fmt: skip


ARMS = {
    "grpo, levels 1 and 2": ("grpo", "12"),
    "own right answers, levels 1 and 2": ("iterative_sft", "12"),
    "grpo, level 1": ("grpo", "1"),
}
"""Arm -> objective, levels trained on."""


def accuracies(config: RunConfig, model: str, level: int, side: str) -> list[float]:
    """Accuracy on each held-out task of one level; kept beside the model, so that a stopped run goes on."""
    kept = Path(f"{model}-accuracy-{level}-{side}.json")
    if not kept.exists():
        config = load_config(config, [f'env.args.levels="{level}"', f'env.args.side="{side}"'])
        report = evaluate(config, model=model)
        kept.write_text(json.dumps([task.right / task.scored for task in report.tasks if task.scored]))
    return list(json.loads(kept.read_text()))


def row(label: str, config: RunConfig, models: list[str]) -> str:
    """A table row: accuracy a level, on the pairs of both sides."""
    cells = []
    for side in ("train", "test"):
        for level in range(1, 7):
            if level > 1 or side == "train":  # a single function has no pair
                cells.append(str(over_seeds([accuracies(config, model, level, side) for model in models], draws=1000)))
    return f"| {label} | " + " | ".join(cells) + " |"


def main() -> None:
    """Warm start, train the arms, print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("runs/compose-levels"))
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--steps", type=int, default=0, help="0 = as in the run file")
    arguments.add_argument("--config", default=str(Path(__file__).parent.parent / "configs" / "compose-levels.toml"))
    given = arguments.parse_args()
    config = load_config(given.config, [f"train.steps={given.steps}"] if given.steps else [])
    start = given.out / "start"
    if not start.exists():
        warm_start(load_config(config, ['env.args.levels="1"']), start, callbacks=[lambda e: print(e.metrics)])
    columns = [f"{level}" for level in range(1, 7)] + [f"{level}, held-out pairs" for level in range(2, 7)]
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines.append(row("start: level 1, supervised", config, [str(start)]))
    for label, (objective, levels) in ARMS.items():
        models = []
        for seed in (int(part) for part in given.seeds.split(",")):
            folder = given.out / label.replace(", ", "-").replace(" ", "-") / f"seed-{seed}"
            cell = load_config(
                config,
                [f'policy.model="{start}"', f'env.args.levels="{levels}"', f'objective.name="{objective}"',
                 f"seed={seed}", f'out="{folder}"', "warmup.steps=0", "eval.start=false"],
            )  # fmt: skip
            result = train(cell, resume=(folder / "config.toml").exists())
            if result.interrupted:
                raise SystemExit(128 + result.interrupted)  # the checkpoint is written; the same command goes on
            models.append(str(result.checkpoint))
        lines.append(row(label, config, models))
    (given.out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
