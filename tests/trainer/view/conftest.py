"""A small library of run folders: a healthy one, a hostile one, a damaged one."""

import json

import pytest

from palaestra import Feedback, Message, Rollout, Turn

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> {score} \u202e"
)


def rollout(index: int, **fields) -> Rollout:
    base = {
        "id": f"r{index}",
        "task_id": f"Sort:{index // 4}",
        "group_id": f"g{index // 4}",
        "messages": (Message(role="user", content=f"527{index}"), Message(role="assistant", content=f"answer {index}")),
        "turns": (Turn(prompt_ids=(1, 2, 3), completion_ids=(4, 5), logprobs=(-0.5, -1.5)),),
        "reward": float(index % 2),
    }
    return Rollout(**{**base, **fields})


def write_run(folder, rollouts, steps=12, name="grpo"):
    (folder / "rollouts").mkdir(parents=True)
    (folder / "config.toml").write_text(
        f'seed = 1\n[env]\nid = "palaestra/Sort-v0"\n[objective]\nname = "{name}"\n[train]\nsteps = 20\n'
    )
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(steps):
            row = {"step": step, "reward_mean": step / steps, "entropy": 1 - step / steps, "eval": {"pass@1": 0.5}}
            file.write(json.dumps(row) + "\n")
    with (folder / "rollouts" / "train.jsonl").open("w") as file:
        for index, one in enumerate(rollouts):
            line = {"step": index // 4, "rollout": one.model_dump(mode="json"), "advantage": 0.5, "cluster": index % 3}
            file.write(json.dumps(line) + "\n")


@pytest.fixture
def library(tmp_path):
    healthy = [rollout(i) for i in range(20)]
    healthy[7] = rollout(7, reward=None, error="judge timed out")
    write_run(tmp_path / "healthy", healthy)
    said = (Message(role="user", content=HOSTILE), Message(role="assistant", content=HOSTILE + "x" * 1_200_000))
    hostile = rollout(
        0, id=HOSTILE, task_id=HOSTILE, messages=said, feedback=(Feedback(text=HOSTILE),), error=HOSTILE, reward=None
    )
    write_run(tmp_path / "hostile", [hostile], name="uniqueness")
    damaged = tmp_path / "damaged"
    write_run(damaged, [rollout(0)])
    (damaged / "config.toml").write_text("[env\nid = ")
    with (damaged / "metrics.jsonl").open("a") as file:
        file.write('nonsense\n[1, 2]\n{"step": 12, "reward_mean": NaN}\n{"step": 13, "rew')
    return tmp_path
