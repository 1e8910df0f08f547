"""Train against a remote environment server and a remote judge server: here two processes on this machine.

Elsewhere, start them where they belong and pass their addresses:

    PALAESTRA_TOKEN=secret palaestra serve envs --host 0.0.0.0
    palaestra serve judges --host 0.0.0.0 --token-file tokens
    python examples/remote_servers.py --env-url http://a:8300 --judge-url http://b:8400 --token secret

Plainly started, it starts both itself. The environment plays on one server; the other says which replies are alike, so
that a rare right answer earns more (objective `uniqueness`). The supervised warm start needs answers, which a server
never sends, so that part plays in this process.
"""

import argparse
import contextlib
from pathlib import Path

from palaestra.cli.demo.servers import server
from palaestra.trainer import RunResult, load_config, train, warm_start

RUN = {
    "policy": {"model": "tiny", "characters": "0123456789+-*()", "layers": 2, "hidden": 64},
    "env": {
        "id": "palaestra/Countdown-v0",
        "args": {
            "count": 2, "lo": 1, "hi": 9, "target_hi": 99, "ops": "+-*", "use_all": True, "prompt": "compact",
        },
    },
    "warmup": {"steps": 60, "target": 0.4, "check_every": 15, "batch_size": 64, "tasks": 32},
    "rollout": {"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 8},
    "objective": {"name": "uniqueness"},
    "train": {"steps": 4, "learning_rate": 3e-4, "warmup_steps": 2},
    "eval": {"tasks": 32, "samples": 4, "pass_at": [1, 4]},
    "log": {"tensorboard": False},
}  # fmt: skip


def main(arguments: list[str] | None = None) -> RunResult:
    """Train; both servers are gone afterwards, however it ends."""
    options = argparse.ArgumentParser()
    options.add_argument("--env-url")
    options.add_argument("--judge-url")
    options.add_argument("--token", default="")
    options.add_argument("--out", type=Path, default=Path("runs/remote"))
    options.add_argument("--set", action="append", default=[], dest="overrides")
    chosen = options.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        logs = chosen.out.parent
        env_url = chosen.env_url or stack.enter_context(server("envs", logs / "envs.log"))
        judge_url = chosen.judge_url or stack.enter_context(server("judges", logs / "judges.log"))
        here = load_config(RUN, chosen.overrides)
        start = warm_start(here, chosen.out.with_name("start"))
        run = here.model_dump() | {
            "out": str(chosen.out),
            "policy": {"model": str(start)},
            "warmup": {},
            "env": {**RUN["env"], "url": env_url, "token": chosen.token},
            "judge": {"url": judge_url, "token": chosen.token},
        }
        result = train(run)
    if result.stopped:  # a server went away: the last finished step is saved, `train(..., resume=True)` continues
        print(f"stopped after {result.steps} steps: {result.stopped}")
        return result
    before, after = result.before.pass_at[1], result.after.pass_at[1]
    print(f"pass@1 {before.value:.2f} -> {after.value:.2f} after {result.steps} steps")
    print("judge requests of the last step:", result.metrics["judge_requests"], "unscored:", result.metrics["unscored"])
    return result


if __name__ == "__main__":
    main()
