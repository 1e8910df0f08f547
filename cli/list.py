"""`palaestra list`: which environments there are."""

from __future__ import annotations

import inspect
import json
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        name="list",
        help="List the registered environments with their difficulty knobs.\n\n"
        "Examples: `palaestra list`, `palaestra list --json`, `palaestra list --import my_envs`",
    )
    def list_(
        imports: Annotated[list[str] | None, typer.Option("--import", help="Module or file to import first.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        from ..envs.registry import list_envs
        from ._envs import import_all

        import_all(imports)
        rows: list[dict[str, Any]] = [{"id": e.id, "summary": e.summary, "knobs": _knobs(e)} for e in list_envs()]
        if as_json:
            typer.echo(json.dumps(rows, indent=2, default=str))
            return
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for title in ("environment", "what it is", "knobs"):
            table.add_column(title, overflow="fold")
        for row in rows:
            shown = ", ".join(f"{name}={value}" for name, value in row["knobs"].items())
            table.add_row(f"[bold]{escape(row['id'])}[/bold]", escape(row["summary"]), escape(shown))
        Console().print(table)


def _knobs(entry: Any) -> dict[str, Any]:
    from ..envs.registry import make

    env = make(entry.id)
    defaults, _ = env._knobs()
    return {name: (None if value is inspect.Parameter.empty else value) for name, value in defaults.items()}
