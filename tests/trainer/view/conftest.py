"""A small library of run folders: a healthy one, a hostile one, a damaged one."""

import json

import pytest

from palaestra import Feedback, Message, Rollout, Turn

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> {score} \u202e \0"
)


@pytest.fixture
def hostile_text():
    return HOSTILE


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
        f'seed = 1\n[env]\nid = "palaestra/Sort-v0"\n[objective]\nname = {json.dumps(name)}\n[train]\nsteps = 20\n'
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
    results = [
        {"id": HOSTILE, "passed": True, "wall_s": 0.1},
        {"id": "t2", "passed": True},
        {"id": "t3", "passed": False},
    ]
    leaf = rollout(5, id="leaf", messages=(Message(role="user", content="sub-question"),), turns=(), reward=None)
    child = rollout(4, id=HOSTILE, messages=leaf.messages, children=(leaf,), reward=None, error=HOSTILE)
    tested = rollout(1, feedback=(Feedback(text=HOSTILE, kind="error", details={"tests": results, HOSTILE: HOSTILE}),))
    calls = [{"id": "c", "type": "function", "function": {"name": HOSTILE, "arguments": HOSTILE}}]
    tested = tested.model_copy(
        update={
            "children": (child,),
            "messages": (*tested.messages, Message(role="assistant", content=None, tool_calls=calls)),
        }
    )
    hostile = hostile.model_copy(update={"group_id": HOSTILE})
    write_run(tmp_path / "hostile", [hostile, tested], name=HOSTILE)
    damaged = tmp_path / "damaged"
    write_run(damaged, [rollout(0)])
    (damaged / "config.toml").write_text("[env\nid = ")
    with (damaged / "metrics.jsonl").open("a") as file:
        file.write('nonsense\n[1, 2]\n{"step": 12, "reward_mean": NaN}\n{"step": 13, "rew')
    write_run(tmp_path / "ranked", [rollout(i) for i in range(8)], name="arena")
    write_judgements(tmp_path / "ranked", [[f"r{i}" for i in range(4)]])
    return tmp_path


def write_judgements(folder, groups):
    """A knock-out of four in each group, and one pair outside of it of which one call failed."""
    (folder / "judgements").mkdir()
    lines = []
    for number, ids in enumerate(groups):
        played = [(0, 1, 0, "bracket"), (2, 3, 0, "bracket"), (0, 2, 1, "bracket"), (1, 3, 2, None)]
        matches = []
        for comparison, (a, b, round_, stage) in enumerate(played):
            for first in (a, b):
                failed = comparison == 3 and first == b
                matches.append({
                    "id": f"m{len(matches)}", "comparison": comparison, "round": round_, "stage": stage, "a": ids[a],
                    "b": ids[b], "first": ids[first], "winner": None if failed else ids[a], "score_a": 7, "score_b": 3,
                    "status": "timeout" if failed else "ok", "error": HOSTILE if failed else None, "calls": 1,
                })  # fmt: skip
        ranking = [
            {
                "id": one,
                "rank": i + 1,
                "theta": 1.5 - i,
                "stderr": 0.4,
                "status": "ok",
                "wins": 3 - i,
                "losses": i,
                "ties": 0,
            }
            for i, one in enumerate(ids)
        ]
        result = {
            "ranking": ranking,
            "matches": matches,
            "byes": [],
            "stats": {"method": "single_elimination", "calls": 8},
        }
        usage = {"calls": 8, "cache_hits": 0, "prompt_tokens": 900, "completion_tokens": 40, "cost_usd": 0.01}
        lines.append({
            "step": number, "group_id": f"g{number}", "operation": "rank", "call": f"c{number}", "usage": usage,
            "judge": {"name": HOSTILE, "kind": "llm", "model": "m"}, "warnings": [HOSTILE], "result": result,
        })  # fmt: skip
    (folder / "judgements" / "step-0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
