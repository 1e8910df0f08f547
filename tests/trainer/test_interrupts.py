"""Ctrl-C on a real process: the last finished step is saved and the exit code is 130, however often it is delivered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from palaestra.trainer.checkpoint import latest


def test_ctrl_c_saves_and_exits_130(tmp_path):
    run = tmp_path / "run.toml"
    run.write_text(
        """
policy = { characters = "0123456789", layers = 1, hidden = 32 }
env = { id = "palaestra/Sort-v0", args = { digits = 2 } }
rollout = { group_size = 4, prompts_per_step = 8, max_new_tokens = 4 }
train = { steps = 100000, checkpoint_every = 100000 }
eval = { tasks = 8, samples = 1, start = false }
log = { tensorboard = false }
"""
    )
    out = tmp_path / "out"
    code = "from palaestra.cli.app import main; main()"
    command = [sys.executable, "-c", code, "train", str(run), "--json", "--set", f"out={out}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["kind"] == "step" and event["step"] == 5:
            break
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # a parent that passes it on as well
    rest, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    events = [json.loads(line) for line in rest.splitlines()]
    last = max([5, *(event["step"] for event in events if event["kind"] == "step")])
    assert latest(out / "checkpoints").step == last
    assert events[-1]["stopped"] == "stopped by signal 2"
    assert "Traceback" not in errors
