"""Builds the `palaestra` command from the modules beside this one, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 the command failed, 2 wrong usage, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated

import typer
from pydantic import ValidationError

from .. import __version__

_NOT_VERBS = {"app"}

# Optional library -> the extra that installs it.
_EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "safetensors", "peft", "tensorboard", "matplotlib", "sklearn"), "train"),
    **dict.fromkeys(("reasoning_gym", "datasets", "pyarrow"), "tasks"),
    **dict.fromkeys(("mcp", "openenv", "websockets"), "interop"),
    **{name: name for name in ("vllm", "docker")},
    "sympy": "math",
}


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def build_app() -> typer.Typer:
    """Collect every verb: each public module here has ``register(app)``, which adds its commands."""
    app = typer.Typer(
        name="palaestra",
        help="Environments, judge servers and a trainer for language-model agents.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )

    @app.callback()
    def _root(
        version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
        ] = False,
    ) -> None:
        del version

    package = __name__.rpartition(".")[0]
    for module in sorted(iter_modules(import_module(package).__path__), key=lambda found: found.name):
        if not module.name.startswith("_") and module.name not in _NOT_VERBS:
            import_module(f"{package}.{module.name}").register(app)
    return app


def describe(error: BaseException) -> str:
    """The error as one line that names the field, the value and the fix where the exception knows them."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _EXTRAS:
        library = (error.name or "").split(".")[0]
        return f"this needs {library}, which is not installed; pip install 'palaestra[{_EXTRAS[library]}]'"
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or error.title
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        return f"{where}: {first['msg']}, got {first['input']!r:.120}{more}"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{type(error).__name__}: {text}" if isinstance(error, (KeyError, AttributeError, TypeError)) else text


def main() -> None:
    """Run the command line; set PALAESTRA_DEBUG=1 to see the traceback of an error."""
    try:
        build_app()()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("PALAESTRA_DEBUG"):
            traceback.print_exc()
        print(f"error: {describe(error)}", file=sys.stderr)
        sys.exit(1)
