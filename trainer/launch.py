"""How a run is started on several processes: torchrun on this machine, or a SLURM batch script that calls it on many.

Both are the same seam: a command that sets the variables torch.distributed reads. Nothing else in the trainer knows who
started it.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """What to run, and on how much.

    Attributes:
        run_file: TOML run file.
        processes: processes on each machine, one a GPU.
        nodes: machines.
        settings: overrides, ``key=value``.
        resume: continue what is in the run folder.
    """

    run_file: str
    processes: int = 1
    nodes: int = 1
    settings: Sequence[str] = ()
    resume: bool = False

    def __post_init__(self) -> None:
        for name in ("processes", "nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; at least 1 is needed")

    @property
    def arguments(self) -> list[str]:
        """Of ``python -m palaestra``."""
        overrides = [part for setting in self.settings for part in ("--set", setting)]
        return ["train", self.run_file, *overrides, *(["--resume"] if self.resume else [])]


def local_command(job: Job) -> list[str]:
    """The command that starts a job on this machine.

    Raises:
        ValueError: the job wants more than one machine.
    """
    if job.nodes != 1:
        raise ValueError(f"nodes = {job.nodes}; this machine is one, use --slurm for more")
    run = ["-m", "palaestra", *job.arguments]
    if job.processes == 1:
        return [sys.executable, *run]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(job.processes)]
    return [sys.executable, *torchrun, *run]


def slurm_script(
    job: Job,
    *,
    name: str = "palaestra",
    time: str = "24:00:00",
    partition: str = "",
    gpus: int | None = None,
    folder: Path | None = None,
    port: int = 29500,
) -> str:
    """A batch script for ``sbatch``.

    Two minutes before its time is over, or when it is preempted, the job gets SIGTERM; the run saves its last finished
    step, the job is put into the queue again, and continues. The run folder must be on a disk that all machines see.

    Args:
        job: what to run. It always resumes, so that the same script serves every restart.
        name: job name.
        time: limit, as SLURM writes it.
        partition: empty = the cluster's default.
        gpus: of each machine; None = one a process, 0 = none.
        folder: where to start; default this one.
        port: for the processes to meet at on the first machine.
    """
    gpus = job.processes if gpus is None else gpus
    head = [
        "#!/bin/bash",
        f"#SBATCH --job-name={name}",
        f"#SBATCH --nodes={job.nodes}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --time={time}",
        "#SBATCH --signal=TERM@120",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={name}-%j.log",
    ]
    head += [f"#SBATCH --partition={partition}"] if partition else []
    head += [f"#SBATCH --gpus-per-node={gpus}"] if gpus else []
    run = shlex.join([*Job(job.run_file, settings=job.settings, resume=True).arguments])
    return "\n".join(
        [
            *head,
            "",
            "set -euo pipefail",
            f"cd {shlex.quote(str((folder or Path.cwd()).absolute()))}",
            'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            "status=0",
            f"srun {shlex.quote(sys.executable)} -m torch.distributed.run \\",
            f"    --nnodes {job.nodes} --nproc-per-node {job.processes} \\",
            f'    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$head:{port}" \\',
            f"    -m palaestra {run} || status=$?",
            'case $status in 143) scontrol requeue "$SLURM_JOB_ID" ;; *) exit $status ;; esac',
            "",
        ]
    )
