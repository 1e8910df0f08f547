"""`palaestra calibrate`: measure a judge against labelled pairs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..judges.calibrate import Calibration, Share
    from ..judges.client import JudgeClient

CHUNK = 16  # pairs in one request


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("calibrate")
    def calibrate(
        pairs: Annotated[
            Path,
            typer.Argument(
                help='JSON lines: {"id", "prompt", "a", "b", "label": "a" | "b" | "tie"}, with "orders" if judged.',
                exists=True,
            ),
        ],
        url: Annotated[str | None, typer.Option(help="Judge server to ask about pairs without verdicts.")] = None,
        judge: Annotated[str | None, typer.Option(help="Judge of that server; its default if not given.")] = None,
        rubric: Annotated[str | None, typer.Option(help="Rubric to compare by; the judge's own if not given.")] = None,
        token_env: Annotated[str, typer.Option(help="Environment variable with the bearer token.")] = "PALAESTRA_TOKEN",
        plot: Annotated[Path | None, typer.Option(help="Draw the result to this file (png, svg, pdf).")] = None,
        save: Annotated[Path | None, typer.Option(help="Keep the judged pairs in this file (JSON lines).")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print everything measured as JSON.")] = False,
    ) -> None:
        """Measure a judge against labelled pairs: agreement, kappa, position bias, taste for length.

        Each pair is asked in both orders. Failed calls are counted and left out.

        Example: `palaestra calibrate labels.jsonl --url http://127.0.0.1:8400 --plot calibration.png`
        """
        from ..judges.calibrate import calibrate as measure
        from ..judges.calibrate import read_comparisons
        from ..judges.client import JudgeClient

        lines = pairs.read_text(encoding="utf-8").splitlines()
        rows = read_comparisons(lines)
        if not rows:
            raise ValueError(f"{pairs} holds no pairs; give one JSON object a line")
        raw = {
            row.id: body for row, body in zip(rows, (json.loads(line) for line in lines if line.strip()), strict=True)
        }
        missing = [row.id for row in rows if not row.looks]
        if missing and url is None:
            raise ValueError(
                f"{len(missing)} pairs have no verdicts (first: {missing[0]!r}); give --url to ask a judge"
            )
        if missing and url is not None:
            client = JudgeClient(url, token=os.environ.get(token_env), judge=judge)
            _ask(client, rubric, [raw[i] | {"id": i} for i in missing], raw, quiet=as_json)
            rows = read_comparisons(json.dumps(raw[row.id] | {"id": row.id}) for row in rows)
        if save is not None:
            save.write_text("".join(json.dumps(raw[row.id] | {"id": row.id}) + "\n" for row in rows), encoding="utf-8")
        result = measure(rows)
        if plot is not None:
            from ..judges.calibrate_plot import plot_calibration

            plot_calibration(result, plot, judge or pairs.stem)
        if as_json:
            typer.echo(json.dumps(asdict(result) | {"warnings": result.warnings()}, allow_nan=False))
        else:
            _show(result)
            if plot is not None:
                typer.echo(f"picture: {plot}")
        if result.scored == 0:
            raise typer.Exit(1)


def _ask(
    client: JudgeClient, rubric: str | None, pairs: list[dict[str, Any]], raw: dict[str, Any], quiet: bool
) -> None:
    """Ask the server about pairs in both orders and enter what it says into ``raw``."""
    from rich.console import Console
    from rich.progress import track

    starts = range(0, len(pairs), CHUNK)
    for start in track(starts, "asking", disable=quiet, console=Console(stderr=True)):
        chunk = pairs[start : start + CHUNK]
        wire = [{name: p[name] for name in ("id", "prompt", "a", "b", "reference") if name in p} for p in chunk]
        for answer in client.compare_sync(wire, rubric=rubric, order_policy="both"):
            orders = [order.model_dump(mode="json") for order in answer.orders]
            raw[answer.id]["orders"] = orders or [{"first": "a", "winner": None, "status": str(answer.status.value)}]


def _show(result: Calibration) -> None:
    """The result as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    kappa = "-" if result.kappa is None else f"{result.kappa:.2f}"
    lines = [
        ("pairs", f"{result.pairs}, {result.scored} scored, {result.failed_calls} of {result.calls} calls failed"),
        ("agreement", _interval(result.agreement)),
        ("agreement without ties", _interval(result.agreement_decisive)),
        ("kappa", kappa),
        ("same winner in both orders", _interval(result.consistent)),
        ("right in both orders", _interval(result.consistent_and_right)),
        ("first slot wins", _interval(result.p_first)),
        ("right when better is first", _interval(result.accuracy_first)),
        ("right when better is second", _interval(result.accuracy_second)),
        ("ties, judge / labels", f"{_number(result.tie_rate)} / {_number(result.label_tie_rate)}"),
        (
            "length correlation, judge / labels",
            f"{_number(result.length_correlation)} / {_number(result.label_length_correlation)}",
        ),
    ]
    for name, value in lines:
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for warning in result.warnings():
        console.print(f"! {warning}", markup=False)


def _interval(share: Share) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "-"
    return f"{share.value:.3f}  ({share.low:.3f} to {share.high:.3f}, n = {share.count})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
