"""`palaestra view`: look at runs in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command(
        help="Look at runs in a browser: curves, rollouts, groups, tokens.\n\n"
        "Examples: `palaestra view`, `palaestra view runs/demo --port 9000`"
    )
    def view(
        runs: Annotated[list[Path] | None, typer.Argument(help="Run folders, or folders that hold some.")] = None,
        host: Annotated[str, typer.Option(help="Address to bind; the viewer has no login.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(help="Port to bind.")] = 8500,
        open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page.")] = True,
    ) -> None:
        from ..trainer.view import create_app, serve

        roots: list[str | Path] = [*(runs or [Path("runs")])]
        create_app(roots)  # a wrong folder fails before the browser opens
        typer.echo(f"palaestra view: http://{host}:{port}  (Ctrl-C ends it)")
        if open_browser:
            typer.launch(f"http://{host}:{port}")
        serve(roots, host=host, port=port)
