"""Training on a noisy judge whose pointwise scores collapse: ranks (`arena`) against scores (`grpo`), over HTTP.

    python benchmarks/noisy_judge.py --out runs/noisy-judge                 # three seeds
    python benchmarks/noisy_judge.py --seeds 0 --steps 20                   # a quick look

The policy sorts six digits (`configs/noisy-judge.toml`); it is trained on the judge's word alone and measured by the
environment's exact check. The judge is a simulated reader behind a real judge server. What it thinks of a reply, in
points of ten, is 7 plus 0.8 times the share of digits in their right place, plus its mood of this call, plus a slip for
this reply: it hardly uses its scale, and its mood moves it more than replies differ. From that it answers:

- a pointwise score: the thought rounded to a whole number, one reply a call, so the mood stays in it;
- a pointwise score with two looks: the mean of two such scores, which costs no fewer calls than a ranking, where
  identical replies are judged once;
- a comparison: whichever of two replies it thinks better of, both seen in one call, so the mood cancels.

Before it trains, the script measures on replies of the start how far each answer agrees with the truth.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from palaestra.judges import JudgeClient
from palaestra.judges.base import Judge, PairQuestion
from palaestra.judges.context import Context, RawVerdict
from palaestra.judges.rubric import Rubric
from palaestra.judges.service import JudgeService
from palaestra.judges.testing import judge_server
from palaestra.judges.types import Item, ItemResult, as_text
from palaestra.schema import Group, RewardStatus
from palaestra.trainer import load_config
from palaestra.trainer.compare import Plan, compare
from palaestra.trainer.engines import make_engine
from palaestra.trainer.evaluation import evaluator_for
from palaestra.trainer.policy import load_policy

USED, MOOD, SLIP = 0.8, 0.5, 0.12
"""Points between the worst reply and the best; standard deviations, in points."""
LOOKS = 2


def quality(prompt: str, reply: str) -> float:
    """Share of digits in their right place; 0 for a reply of another length."""
    right = "".join(sorted(prompt))
    text = reply.strip()
    return sum(a == b for a, b in zip(text, right, strict=True)) / len(right) if len(text) == len(right) else 0.0


class Reader(Judge):
    """The simulated reader; see the module.

    Args:
        name: of the judge on the server.
        looks: scores averaged into one.
    """

    kind = "simulated"
    capabilities = ("score", "compare")
    graded = False

    def __init__(self, name: str, looks: int = 1):
        super().__init__(name)
        self.looks = looks
        self.calls = 0

    def thoughts(self, prompt: str, replies: tuple[str, ...], *question: str) -> list[float]:
        """Points for replies seen in one call; asking the same again gives the same."""
        self.calls += 1
        digest = hashlib.sha256("\0".join((self.name, prompt, *replies, *question)).encode()).digest()
        noise = np.random.default_rng(list(digest[:16])).standard_normal(len(replies) + 1)
        slips = MOOD * noise[0] + SLIP * noise[1:]
        return [7 + USED * quality(prompt, r) + float(s) for r, s in zip(replies, slips, strict=True)]

    async def score_item(self, item: Item, rubric: Rubric, context: Context, *, sample: int = 0) -> ItemResult:
        """A whole number of points, or the mean of several."""
        prompt, reply = as_text(item.prompt), as_text(item.response)
        looks = [self.thoughts(prompt, (reply,), item.id, str(look))[0] for look in range(self.looks)]
        score = float(np.mean(np.clip(np.round(looks), 0, 10)))
        return ItemResult(id=item.id, status=RewardStatus.OK, score=score, reward=score / 10)

    async def compare(self, question: PairQuestion, context: Context) -> RawVerdict:
        """The reply that it thinks better of."""
        first, second = self.thoughts(question.prompt, (question.first, question.second))
        return RawVerdict(RewardStatus.OK, {"winner": "first" if first > second else "second"})


def agreement(groups: list[Group], rewards: dict[str, float | None]) -> tuple[float, float]:
    """Mean correlation with the truth inside a group (0 where all rewards are equal), and how often they are equal."""
    found, equal = [], 0
    for group in groups:
        prompt = group.task.messages[-1].text
        truth = np.array([quality(prompt, r.response) for r in group.rollouts])
        given = np.array([rewards[r.id] for r in group.rollouts], float)
        if np.ptp(truth) == 0:
            continue  # nothing to agree on
        equal += bool(np.ptp(given) == 0)
        found.append(float(np.corrcoef(truth, given)[0, 1]) if np.ptp(given) else 0.0)
    return float(np.mean(found)), equal / len(found)


def examine(config: Any, start: str, readers: list[Reader], url: str) -> str:
    """What each answer of the judge is worth on replies of the start: do scores collapse, and ranks not?"""
    policy = load_policy(config.policy.model_copy(update={"model": start}))
    settings = config.eval.model_copy(update={"tasks": 64, "samples": 8, "pass_at": (1,), "greedy": False})
    evaluator = evaluator_for(config.env, config.rollout, settings, policy, 1)
    groups = [play.group for play in evaluator.run_with_plays(make_engine("native", policy))[1]]
    lines = ["| answer | agreement with the truth | groups of equal rewards | calls a group |", "|---|---|---|---|"]
    for reader in readers:
        client = JudgeClient(url, judge=reader.name)
        before = reader.calls
        scores = {r.rollout_id: r.reward for r in client.score_sync(groups)}
        calls = (reader.calls - before) / len(groups)
        value, equal = agreement(groups, scores)
        lines.append(f"| {reader.name} | {value:.3f} | {equal:.3f} | {calls:.1f} |")
        if reader.looks == 1:
            common, count = Counter(scores.values()).most_common(1)[0]
            lines[-1] += f" {count / len(scores):.0%} of the scores are {10 * (common or 0):.0f}"
    before = readers[0].calls
    ranks = {r.rollout_id: r.reward for r in JudgeClient(url, judge=readers[0].name).rank_sync(groups)}
    calls = (readers[0].calls - before) / len(groups)
    value, equal = agreement(groups, ranks)
    return "\n".join([*lines, f"| ranks | {value:.3f} | {equal:.3f} | {calls:.1f} |"]) + "\n"


ARMS = {
    "ranks": ("arena", "one-look", False),
    "scores": ("grpo", "one-look", True),
    "scores-two-looks": ("grpo", "two-looks", True),
}
"""Arm -> objective, judge, whether pointwise scores are the reward."""


def main() -> None:
    """Examine the judge, train the arms, write one table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("runs/noisy-judge"))
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--steps", type=int, default=0, help="0 = as in the run file")
    arguments.add_argument("--config", default=str(Path(__file__).parent.parent / "configs" / "noisy-judge.toml"))
    given = arguments.parse_args()
    seeds = tuple(int(seed) for seed in given.seeds.split(","))
    readers = [Reader("one-look"), Reader("two-looks", LOOKS)]
    settings = [f"train.steps={given.steps}"] if given.steps else []
    start, report = "", ""
    with judge_server(JudgeService(readers)) as url:
        for arm, (objective, judge, scored) in ARMS.items():
            changes = [*settings, f"judge.judge={judge}", f"judge.reward={str(scored).lower()}", f'judge.url="{url}"']
            config: Any = load_config(given.config, changes)
            if start:
                config = load_config(config, [f'policy.model="{start}"', "warmup.steps=0"])
            folder = given.out / arm
            reader = next(r for r in readers if r.name == judge)
            before = reader.calls
            found = compare(config, Plan(objectives=(objective,), seeds=seeds), folder, progress=print)
            if not start:
                start = str(folder / "start")
                report += examine(config, start, readers, url)
            report += f"\n## {arm}\n\nCalls of the judge in this process: {reader.calls - before}\n\n{found.markdown()}"
    (given.out / "report.md").write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
