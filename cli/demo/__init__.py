"""`palaestra demo`: two short acts in front of you, then a report.

Act one, learning: a tiny policy is taught to sort digits until it solves some tasks, then improves itself with GRPO.
Act two, diversity: on Countdown, GRPO against uniqueness weighting, whose clusters come from a judge server over HTTP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command(
        help="Watch an agent learn in a few minutes on a laptop, and get a report.\n\n"
        "Examples: `palaestra demo`, `palaestra demo --seed 1`"
    )
    def demo(
        seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
        out: Annotated[
            Path, typer.Option(help="Folder for runs and report; an earlier demo there is replaced.")
        ] = Path("runs/demo"),
        steps: Annotated[
            int | None, typer.Option(help="Training steps of every run instead of the usual ones, for a quick look.")
        ] = None,
    ) -> None:
        from .stage import play

        report = play(seed, out, steps)
        typer.echo(f"\nreport: {report.resolve()}\n   see: palaestra view {out}")
