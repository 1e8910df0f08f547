"""`palaestra launch`: a run on several processes, here or in a SLURM queue."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("launch")
    def launch(
        run_file: Annotated[str, typer.Argument(help="TOML run file, or the name of one in palaestra/configs.")],
        processes: Annotated[int, typer.Option("--nproc", min=1, help="Processes on each machine, one a GPU.")] = 1,
        settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override.")] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Continue the run in its folder.")] = False,
        slurm: Annotated[bool, typer.Option("--slurm", help="Print a batch script for sbatch; run nothing.")] = False,
        nodes: Annotated[int, typer.Option(min=1, help="Machines (SLURM).")] = 1,
        time: Annotated[str, typer.Option(help="Time limit (SLURM).")] = "24:00:00",
        partition: Annotated[str, typer.Option(help="Partition (SLURM).")] = "",
        gpus: Annotated[int | None, typer.Option(help="GPUs of each machine (SLURM); default one a process.")] = None,
        name: Annotated[str, typer.Option(help="Job name (SLURM).")] = "palaestra",
    ) -> None:
        """Train on several processes with torchrun, or write the batch script that does so on a cluster.

        Examples: `palaestra launch run.toml --nproc 8`, `palaestra launch run.toml --slurm --nodes 4 --nproc 8`
        """
        from ..trainer import load_config
        from ..trainer.launch import Job, local_command, slurm_script
        from .train import find_run_file

        path = find_run_file(run_file)
        load_config(path, settings or [])  # a mistake shows here, and not hours later in a queue
        job = Job(str(Path(path).absolute()), processes, nodes, tuple(settings or ()), resume)
        if slurm:
            typer.echo(slurm_script(job, name=name, time=time, partition=partition, gpus=gpus), nl=False)
            return
        raise typer.Exit(subprocess.call(local_command(job)))
