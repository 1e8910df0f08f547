"""`palaestra sandbox`: run a file in the sandbox, see what is enforced here, build the container image."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

LANGUAGES = {".py": "python", ".sh": "bash", ".c": "c", ".js": "javascript", ".mjs": "javascript"}


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="Run untrusted code, and see what the sandbox enforces here.")
    group.command("run")(run)
    group.command("doctor")(doctor)
    group.command("image")(image)
    app.add_typer(group, name="sandbox")


def _open(backend: str | None) -> Any:
    from ..sandbox import Sandbox

    return Sandbox.open(prefer=[backend] if backend else ("local", "docker", "bwrap"), slots=1)


def run(
    file: Annotated[Path, typer.Argument(help="Program to run; '-' reads Python from standard input.")],
    lang: Annotated[str | None, typer.Option(help="python, bash, c or javascript; by default from the name.")] = None,
    stdin: Annotated[Path | None, typer.Option(help="File the program reads as standard input.")] = None,
    wall: Annotated[float, typer.Option(help="Seconds of real time.")] = 10,
    cpu: Annotated[float, typer.Option(help="Seconds of processor time.")] = 10,
    mem: Annotated[int, typer.Option(help="Memory in MiB.")] = 512,
    backend: Annotated[
        str | None, typer.Option(help="local, docker or bwrap; by default the first that will do.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
) -> None:
    """Run a file in the sandbox. Exit code 0 when its verdict is ok, 1 otherwise.

    Examples: `palaestra sandbox run hello.py`, `palaestra sandbox run a.c --stdin in.txt --wall 2`
    """
    from ..sandbox import Job, Limits, for_log

    name = str(file)
    data = sys.stdin.buffer.read() if name == "-" else file.read_bytes()
    try:
        code = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text (byte {error.start}); give source code") from None
    limits = Limits(wall_s=wall, cpu_s=cpu, mem_mb=mem)
    job = Job(code=code, lang=lang or LANGUAGES.get(file.suffix, "python"), limits=limits,
              stdin=stdin.read_bytes() if stdin else b"")  # fmt: skip
    with _open(backend) as sandbox:
        result = sandbox.run_sync(job)
    if as_json:
        from ..sandbox.http import to_json

        typer.echo(json.dumps(to_json(result), indent=2))
    else:
        sys.stdout.buffer.write(result.stdout)
        sys.stdout.buffer.flush()
        sys.stderr.buffer.write(result.stderr)
        line = f"{result.verdict}: {result.wall_s:.3f} s, cpu {result.cpu_s:.3f} s, {result.peak_mem_mb:.0f} MiB"
        assert result.isolation is not None
        shown = f"{line}, level {result.isolation.level} ({result.isolation.backend})"
        typer.echo(shown + (f" - {for_log(result.reason)}" if result.reason else ""), err=True)
    raise typer.Exit(0 if result.ok else 1)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Test again instead of using the cached result.")] = False,
) -> None:
    """Say which backends work here and which properties were tested to hold.

    Examples: `palaestra sandbox doctor`, `palaestra sandbox doctor --fresh --json`
    """
    from ..sandbox import PROPERTIES

    reports = _survey("always" if fresh else "cached")
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("property", *reports)
        marks = {
            "tested": "[green]tested[/green]",
            "declared": "[yellow]declared[/yellow]",
            "absent": "[red]absent[/red]",
        }
        working = {name: report for name, report in reports.items() if "properties" in report}
        table.add_row("level", *(str(report.get("level", "-")) for report in reports.values()))
        for name in PROPERTIES:
            cells = [marks[report["properties"][name]["status"]] if key in working else "-"
                     for key, report in reports.items()]  # fmt: skip
            table.add_row(name, *cells)
        console = Console()
        console.print(table)
        for name, report in reports.items():
            if "error" in report:
                console.print(f"[yellow]{name}[/yellow]: {report['error']}", highlight=False)
    raise typer.Exit(0 if any("properties" in report for report in reports.values()) else 1)


def _survey(mode: str) -> dict[str, dict[str, Any]]:
    from ..sandbox import BwrapSandbox, DockerSandbox, LocalSandbox, SandboxError

    backends: dict[str, Any] = {
        "local I": lambda: LocalSandbox(slots=1, level="I", require=(), self_test=mode),
        "local C": lambda: LocalSandbox(slots=1, level="C", require=(), self_test=mode),
        "bwrap": lambda: BwrapSandbox(slots=1, require=(), self_test=mode),
        "docker": lambda: DockerSandbox(slots=1, require=(), self_test=mode),
    }
    reports: dict[str, dict[str, Any]] = {}
    for name, make in backends.items():
        try:
            with make() as sandbox:
                found = sandbox.isolation
        except SandboxError as error:
            reports[name] = {"error": str(error)}
            continue
        properties = {
            key: {"status": entry.status, "mechanism": entry.mechanism} for key, entry in found.properties.items()
        }
        reports[name] = {"level": found.level, "properties": properties}
    return reports


def image(
    name: Annotated[str, typer.Option(help="Name of the image.")] = "palaestra-sandbox:latest",
    debian: Annotated[
        str | None, typer.Option(help="Build from Debian packages of this suite; needs a mirror.")
    ] = None,
    mirror: Annotated[str | None, typer.Option(help="Debian mirror, such as a snapshot.debian.org address.")] = None,
    output: Annotated[str | None, typer.Option(help="Write a tar here instead of loading the image.")] = None,
) -> None:
    """Build the container image of the docker backend: from this machine's interpreter, or from Debian packages.

    The same interpreter, or the same packages, give the same SHA-256.

    Examples: `palaestra sandbox image`, `palaestra sandbox image --debian bookworm`
    """
    from ..sandbox.image import build, save

    digest = save(output, debian, mirror) if output else build("docker", name, debian, mirror)
    typer.echo(json.dumps({"image": output or name, "sha256": digest}))
