"""`palaestra objectives`: which training methods there are, and what one of them means."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        name="objectives",
        help="List the training objectives, or explain one with its parameters and defaults.\n\n"
        "Examples: `palaestra objectives`, `palaestra objectives uniqueness`, `palaestra objectives --json`",
    )
    def objectives(
        name: Annotated[str | None, typer.Argument(help="Explain this objective.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        from ..trainer.objectives import method
        from ..trainer.objectives import rows as all_rows

        rows = all_rows() if name is None else [method(name)]
        if as_json:
            typer.echo(json.dumps([_record(row) for row in rows], indent=2, default=str))
            return
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        console = Console()
        table = Table(box=None, pad_edge=False)
        if name is None:
            for title in ("objective", "what it does", "paper"):
                table.add_column(title, overflow="fold")
            for row in rows:
                table.add_row(f"[bold]{escape(row.name)}[/bold]", escape(row.summary), escape(row.paper))
            console.print(table)
            return
        record = _record(rows[0])
        for title in ("summary", "paper", "formula", "when", "cost", "needs", "parts"):
            console.print(f"[bold]{title}[/bold]: {escape(record[title])}", highlight=False, soft_wrap=True)
        for title in ("parameter", "default", "meaning"):
            table.add_column(title, overflow="fold")
        for knob in record["parameters"]:
            table.add_row(escape(knob["name"]), escape(knob["default"]), escape(knob["meaning"]))
        console.print(table)


def _record(row: Any) -> dict[str, Any]:
    from ..trainer.objectives.manual import documentation, needs, shown

    notes = documentation(row.params)
    knobs = [
        {"name": name, "default": shown(field.default), "meaning": notes.get(name, "")}
        for name, field in row.params.model_fields.items()
    ]
    texts = {key: getattr(row, key) for key in ("name", "summary", "paper", "formula", "when", "cost", "parts")}
    return {**texts, "needs": needs(row), "requires": list(row.requires), "parameters": knobs}
