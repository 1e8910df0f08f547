"""ArenaRL on travel plans: no rule knows a good plan, but a judge can say which of two is better.

Each step, the judge server plays a tournament inside every group of plans; the rank is the reward (objective `arena`).

    python examples/arena_travel.py                                                      # a scripted model, offline
    python examples/arena_travel.py --model Qwen/Qwen3-8B --base-url http://127.0.0.1:8000/v1

The tiny policy writes a plan as letters: M museum, P park, F food, W walk. The scripted model likes six visits that
differ within each half; the policy never sees that taste, only ranks.
"""

import argparse
import contextlib
import json

import palaestra as pl
from palaestra.judges import JudgeService, LLMJudge
from palaestra.judges.testing import FakeOpenAI, Oracle, judge_server
from palaestra.lm import OpenAIModel
from palaestra.trainer import RunResult, train

PLACES = "MPFW"


@pl.env("example/Travel-v0")
def travel(rng, visits=6):
    """What a rule can tell: is it a plan at all. The judge does the rest."""
    town = "".join(rng.choice(list(PLACES), 3))

    def grade(reply):
        return float(bool(reply) and set(reply) <= set(PLACES)), "" if reply else "Plan at least one visit."

    return town, grade


def taste(plan: str) -> float:
    """What the scripted model likes: different visits before and after noon, and six of them."""
    return len(set(plan[:3])) + len(set(plan[3:6])) - abs(len(plan) - 6)


def main(arguments: list[str] | None = None) -> tuple[RunResult, list[float]]:
    """Train; also returns the mean taste of the plans of each step."""
    options = argparse.ArgumentParser()
    options.add_argument("--model", default="scripted")
    options.add_argument("--base-url")
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--out", default="runs/arena-travel")
    chosen = options.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        opinions = Oracle(quality=taste, noise=0.5)
        base_url = chosen.base_url or stack.enter_context(FakeOpenAI(opinions)).url
        judge = LLMJudge("traveller", OpenAIModel(chosen.model, base_url=base_url))
        url = stack.enter_context(judge_server(JudgeService([judge])))
        run = {
            "out": chosen.out,
            "policy": {"model": "tiny", "characters": PLACES, "layers": 1, "hidden": 32},
            "env": {"id": "example/Travel-v0"},
            "rollout": {"group_size": 6, "prompts_per_step": 3, "max_new_tokens": 8},
            "objective": {"name": "arena"},
            "judge": {"url": url},
            "train": {"steps": chosen.steps, "learning_rate": 1e-2, "warmup_steps": 0},
            "eval": {"tasks": 8, "samples": 2},
            "log": {"tensorboard": False, "rollouts": 3},
        }
        result = train(run)
    tastes = []
    for path in sorted((result.folder / "rollouts").glob("step-*.jsonl")):
        plans = [json.loads(line)["messages"][-1]["content"] for line in path.read_text().splitlines()]
        tastes.append(sum(map(taste, plans)) / len(plans))
    print(f"mean taste: {tastes[0]:.2f} in the first step, {tastes[-1]:.2f} in the last; for instance", plans[:3])
    return result, tastes


if __name__ == "__main__":
    main()
