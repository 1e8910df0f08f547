"""`palaestra serve`: run a server. One sub-command a kind of server."""

from __future__ import annotations

from importlib import import_module

import typer

# Each module has ``register(app)``, which adds its sub-command.
_HALVES = ("_serve_envs", "_serve_judges")


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""
    serve = typer.Typer(name="serve", help="Run an environment server or a judge server.", no_args_is_help=True)
    for name in _HALVES:
        full = f"{__package__}.{name}"
        try:
            module = import_module(full)
        except ModuleNotFoundError as error:
            if error.name != full:
                raise
            continue
        module.register(serve)
    app.add_typer(serve)
