"""`palaestra serve judges`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(serve_app: typer.Typer) -> None:
    """Add ``judges`` to the ``serve`` commands."""
    register_as(serve_app, "judges")


def register_as(app: typer.Typer, name: str) -> None:
    """Add the command under a name of the caller's choice."""

    @app.command(name)
    def judges(
        config: Annotated[
            Path | None, typer.Argument(help="TOML file with [[judge]] tables; see docs/judges.md.")
        ] = None,
        model: Annotated[str | None, typer.Option(help="Model name for one language-model judge called 'llm'.")] = None,
        base_url: Annotated[str | None, typer.Option(help="Its OpenAI-compatible address, ending in /v1.")] = None,
        host: Annotated[str | None, typer.Option(help="Address to bind [127.0.0.1].")] = None,
        port: Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one [8400].")] = None,
        token_file: Annotated[Path | None, typer.Option(help="File with one 'token [scope ...]' a line.")] = None,
        insecure: Annotated[bool, typer.Option(help="Permit a public address without a token.")] = False,
        cache: Annotated[Path | None, typer.Option(help="File of the verdict cache [in memory].")] = None,
        log: Annotated[Path | None, typer.Option(help="Folder of the replay log [none].")] = None,
        log_bodies: Annotated[bool, typer.Option(help="Write whole prompts into the replay log.")] = False,
        jobs: Annotated[Path | None, typer.Option(help="Folder in which jobs survive a restart.")] = None,
        drain_timeout: Annotated[float | None, typer.Option(help="Seconds to finish work after SIGTERM [30].")] = None,
        replay: Annotated[Path | None, typer.Option(help="Answer from this replay log only; a miss fails.")] = None,
    ) -> None:
        """Serve judges over HTTP. Without a file or a model: programmatic checks only.

        Examples: `palaestra serve judges` -- `palaestra serve judges --model Qwen/Qwen3-8B --base-url
        http://127.0.0.1:8000/v1` -- `palaestra serve judges judges.toml --cache verdicts.db --log replay/`
        """
        from ..judges.server.launch import load_config, start

        settings = load_config(
            config, model=model, base_url=base_url, host=host, port=port, token_file=token_file, insecure=insecure,
            cache=cache, log=log, log_bodies=log_bodies, jobs=jobs, drain_timeout=drain_timeout,
        )  # fmt: skip
        start(settings, replay, announce=lambda line: typer.echo(line, err=True))
