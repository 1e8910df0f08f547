"""Starting a run on several processes: the commands, and a batch script that a stand-in for SLURM carries out."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys

import pytest

from palaestra.trainer.checkpoint import latest
from palaestra.trainer.launch import Job, local_command, slurm_script


def test_one_process_needs_no_torchrun():
    assert local_command(Job("run.toml", settings=("seed=1",))) == [
        *(sys.executable, "-m", "palaestra", "train", "run.toml", "--set", "seed=1")
    ]
    command = local_command(Job("run.toml", processes=4, resume=True))
    assert command[1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4"]
    assert command[-1] == "--resume"
    with pytest.raises(ValueError, match="use --slurm"):
        local_command(Job("run.toml", nodes=2))
    with pytest.raises(ValueError, match="processes = 0"):
        Job("run.toml", processes=0)


RUN = """
policy = { characters = "0123456789", layers = 1, hidden = 32 }
env = { id = "palaestra/Sort-v0", args = { digits = 2 } }
rollout = { group_size = 2, prompts_per_step = 2, max_new_tokens = 3 }
train = { steps = 1, threads = 1 }
eval = { tasks = 2, samples = 1, start = false }
log = { tensorboard = false, peak_flops = 1 }
"""


@pytest.mark.slow
def test_the_batch_script_trains_under_a_stand_in_for_slurm(tmp_path):
    """`srun` runs its arguments once and `scontrol` names this machine; SLURM itself was not there to try."""
    (tmp_path / "run file.toml").write_text(RUN)
    for name, body in {"srun": 'exec "$@"', "scontrol": "echo 127.0.0.1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = Job(str(tmp_path / "run file.toml"), processes=1, settings=(f"out={tmp_path / 'run'}",))
    script = slurm_script(job, gpus=0, folder=tmp_path, port=port)
    assert "--requeue" in script
    assert "--gpus-per-node" not in script
    assert "--gpus-per-node=8" in slurm_script(Job("run.toml", processes=8, nodes=2), partition="p")
    paths = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": paths, "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "x", "OMP_NUM_THREADS": "1"}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(["bash"], input=script, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert latest(tmp_path / "run" / "checkpoints").step == 1
