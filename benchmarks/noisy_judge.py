"""Training on a noisy judge whose pointwise scores collapse: ranks (`arena`) against scores (`grpo`), over HTTP.

    python benchmarks/noisy_judge.py --out runs/noisy-judge                 # three seeds
    python benchmarks/noisy_judge.py --seeds 0 --steps 20                   # a quick look

The policy sorts six digits (`configs/noisy-judge.toml`); it is trained on the judge's word alone and measured by the
environment's exact check. The judge is a simulated reader behind a real judge server. Its liking of a reply is the
share of digits in their right place plus Gaussian noise, drawn afresh for every question. From that liking it answers:

- a comparison: whichever of the two it likes more;
- a pointwise score, scale `wide`: the liking itself, from 0 to 10;
- a pointwise score, scale `squeezed`: 7 for most replies and 8 for good ones, as judges that never use their scale do;
- a pointwise score, `squeezed, many looks`: the mean of as many squeezed scores as a ranking asks questions a reply.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from palaestra.judges.base import Judge, PairQuestion
from palaestra.judges.context import Context, RawVerdict
from palaestra.judges.rubric import Rubric
from palaestra.judges.service import JudgeService
from palaestra.judges.testing import judge_server
from palaestra.judges.types import Item, ItemResult, as_text
from palaestra.schema import RewardStatus
from palaestra.trainer import load_config
from palaestra.trainer.compare import Plan, compare

NOISE = 0.25
"""Standard deviation of the noise in a liking; one digit in six is worth 0.17."""
LOOKS = 14
"""Questions about one reply in a balanced ranking of eight, both orders of seven pairs."""


def quality(prompt: str, reply: str) -> float:
    """Share of digits in their right place; 0 for a reply of another length."""
    right = "".join(sorted(prompt))
    text = reply.strip()
    return sum(a == b for a, b in zip(text, right, strict=True)) / len(right) if len(text) == len(right) else 0.0


class Reader(Judge):
    """The simulated reader; see the module.

    Args:
        name: also the scale of its pointwise scores.
        noise: standard deviation of a liking.
        looks: scores averaged into one.
    """

    kind = "simulated"
    capabilities = ("score", "compare")
    graded = False

    def __init__(self, name: str, noise: float = NOISE, looks: int = 1):
        super().__init__(name)
        self.noise, self.looks = noise, looks
        self.asked = 0
        self.scores: dict[float, int] = {}

    def liking(self, prompt: str, reply: str, *question: str) -> float:
        """Quality plus the noise of this question; asking the same again gives the same."""
        self.asked += 1
        digest = hashlib.sha256("\0".join((self.name, prompt, reply, *question)).encode()).digest()
        return quality(prompt, reply) + self.noise * np.random.default_rng(list(digest[:16])).standard_normal()

    async def score_item(self, item: Item, rubric: Rubric, context: Context, *, sample: int = 0) -> ItemResult:
        """A score from 0 to 10 on this reader's scale."""
        prompt, reply = as_text(item.prompt), as_text(item.response)
        likings = [self.liking(prompt, reply, "score", item.id, str(look)) for look in range(self.looks)]
        if self.name == "wide":
            score = float(np.clip(10 * likings[0], 0, 10))
        else:
            score = float(np.mean([7.0 + (liking > 1.0) for liking in likings]))
        self.scores[score] = self.scores.get(score, 0) + 1
        return ItemResult(id=item.id, status=RewardStatus.OK, score=score, reward=score / 10)

    async def compare(self, question: PairQuestion, context: Context) -> RawVerdict:
        """The reply that is liked more."""
        texts = (question.first, question.second)
        first, second = (self.liking(question.prompt, text, str(slot), *texts) for slot, text in enumerate(texts))
        return RawVerdict(RewardStatus.OK, {"winner": "first" if first > second else "second"})


ARMS = {
    "arena": ("arena", "squeezed", False),
    "scores, squeezed": ("grpo", "squeezed", True),
    "scores, squeezed, many looks": ("grpo", "many", True),
    "scores, wide": ("grpo", "wide", True),
}
"""Arm -> objective, judge, whether pointwise scores are the reward."""


def main() -> None:
    """Train the four arms and print one table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("runs/noisy-judge"))
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--steps", type=int, default=0, help="0 = as in the run file")
    arguments.add_argument("--config", default=str(Path(__file__).parent.parent / "configs" / "noisy-judge.toml"))
    given = arguments.parse_args()
    seeds = tuple(int(seed) for seed in given.seeds.split(","))
    readers = [Reader("squeezed"), Reader("many", looks=LOOKS), Reader("wide")]
    settings = [f"train.steps={given.steps}"] if given.steps else []
    start = ""
    for arm, (objective, judge, scored) in ARMS.items():
        with judge_server(JudgeService(readers)) as url:
            changes: list[str] = [*settings, f"judge.judge={judge}", f"judge.reward={str(scored).lower()}"]
            config: Any = load_config(given.config, changes)
            config = config.model_copy(update={"judge": config.judge.model_copy(update={"url": url})})
            if start:
                config = load_config(config, [f'policy.model="{start}"', "warmup.steps=0"])
            for reader in readers:
                reader.asked, reader.scores = 0, {}
            folder = given.out / arm.replace(", ", "-").replace(" ", "-")
            found = compare(config, Plan(objectives=(objective,), seeds=seeds), folder, progress=print)
            start = start or str(folder / "start")
        reader = next(r for r in readers if r.name == judge)
        counts = dict(sorted(reader.scores.items(), key=lambda item: -item[1])[:4])
        print(
            f"\n## {arm}: {reader.asked} likings asked for; commonest scores {counts}\n\n{found.markdown()}", flush=True
        )


if __name__ == "__main__":
    main()
