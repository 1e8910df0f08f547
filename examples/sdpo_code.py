"""SDPO on code: the sandbox's error messages teach, reward or no reward.

The policy completes a one-line function. Its code runs in the sandbox; what went wrong becomes feedback, the feedback
and a right sibling (if there is one) become the prompt of a teacher, and the teacher's next-token distribution, from
the policy's own weights, is what the policy is pulled to (arXiv 2601.20802).

    python examples/sdpo_code.py
    palaestra train run.toml --set objective.name=sdpo --set env.id=palaestra/Code-v0      # a real model, real tasks

A policy of a few thousand parameters learns to write code like this only from its warm start: in-context feedback needs
a pretrained model. What the example shows is the whole path, feedback included.
"""

import argparse
import json
from collections import Counter

import palaestra as pl
from palaestra.envs.code import grade_code
from palaestra.trainer import RunResult, train


class OneLine(pl.SingleTurnEnv):
    """Write the body of `f(x)`: it adds a constant or multiplies by one, as two examples in the prompt show."""

    blocking = True  # the sandbox takes milliseconds; do not hold up the event loop meanwhile

    def task(self, rng):
        sign, constant = "+*"[int(rng.integers(2))], int(rng.integers(2, 10))
        rows = [(x, x + constant if sign == "+" else x * constant) for x in (1, 2, 5)]
        tests = [{"args": [x], "expected": y, "visibility": "feedback"} for x, y in rows]
        prompt = " ".join(f"{x}>{y}" for x, y in rows[:2])
        return pl.Task(prompt=prompt, answer={"entry": "f", "tests": tests}, metadata={"line": f"x{sign}{constant}"})

    def verify(self, task, response):
        line = response.strip().replace("`", "'")
        return grade_code(task.answer, f"```python\ndef f(x):\n    return {line}\n```", task)

    def oracle(self):
        yield self.current_task.metadata["line"]


pl.register("example/OneLine-v0", OneLine)


def main(arguments: list[str] | None = None) -> tuple[RunResult, Counter]:
    """Train; also returns how often each first line of feedback was given."""
    options = argparse.ArgumentParser()
    options.add_argument("--steps", type=int, default=6)
    options.add_argument("--out", default="runs/sdpo-code")
    chosen = options.parse_args(arguments)
    run = {
        "out": chosen.out,
        "policy": {"model": "tiny", "layers": 1, "hidden": 32},
        "env": {"id": "example/OneLine-v0"},
        "warmup": {"steps": 30, "target": 1.0, "check_every": 30, "batch_size": 8, "tasks": 2},
        "rollout": {"group_size": 4, "prompts_per_step": 4, "max_new_tokens": 5},
        "objective": {"name": "sdpo", "feedback_only_without_solution": False},
        "train": {"steps": chosen.steps, "learning_rate": 1e-3, "warmup_steps": 0},
        "eval": {"tasks": 4, "samples": 1, "greedy": False},
        "log": {"tensorboard": False},
    }
    result = train(run)
    said: Counter = Counter()
    for path in (result.folder / "rollouts").glob("step-*.jsonl"):
        for line in path.read_text().splitlines():
            said.update(note["text"].splitlines()[0] for note in json.loads(line)["feedback"])
    print(f"{result.stopped or 'done'}; loss of the last step {result.metrics['loss']:.4f}; feedback given:")
    for text, times in said.most_common():
        print(f"{times:4} {text}")
    return result, said


if __name__ == "__main__":
    main()
