"""`palaestra export`: a run's weights as a plain Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("export")
    def export(
        run: Annotated[Path, typer.Argument(help="Run folder.", exists=True, file_okay=False)],
        out: Annotated[Path, typer.Argument(help="Folder to make.")],
        step: Annotated[
            int | None, typer.Option(help="Checkpoint of this step; default the newest intact one.")
        ] = None,
    ) -> None:
        """Copy a checkpoint without the trainer's own files; transformers and vLLM open the folder.

        Example: `palaestra export runs/sort-grpo-0 my-model`
        """
        from ..trainer.export import export as copy

        typer.echo(str(copy(run, out, step)))
