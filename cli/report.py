"""`palaestra report`: the report.html of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        help="Write report.html into the folder of a training run, an evaluation or a comparison: one file that opens "
        "offline and prints well. `train`, `eval` and `compare` do so at their end.\n\n"
        "Examples: `palaestra report runs/sort`, `palaestra report runs/compare`"
    )
    def report(folder: Annotated[Path, typer.Argument(help="Folder that train, eval or compare wrote.")]) -> None:
        from ..trainer.report import write_report

        typer.echo(write_report(folder))


def report_of(folder: Path) -> None:
    """Write the report at the end of another verb; a report that fails spoils nothing that was computed."""
    from ..trainer.report import write_report

    try:
        typer.echo(f"report: {write_report(folder)}", err=True)
    except Exception as error:
        typer.echo(f"no report was written ({type(error).__name__}: {error}); try palaestra report {folder}", err=True)
