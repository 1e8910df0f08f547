"""`palaestra calibrate`: measure a judge against labelled pairs or labelled responses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..judges.calibrate import Calibration, Share
    from ..judges.calibrate_scores import ScoreCalibration
    from ..judges.client import JudgeClient

CHUNK = 16  # pairs or responses in one request


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("calibrate")
    def calibrate(
        labels: Annotated[
            Path,
            typer.Argument(
                help='JSON lines. Pairs: {"id", "prompt", "a", "b", "label": "a" | "b" | "tie"}, with "orders" if '
                'judged. Responses: {"id", "prompt", "response", "label": true | false | number}, with "reward" if '
                "judged.",
                exists=True,
            ),
        ],
        url: Annotated[str | None, typer.Option(help="Judge server to ask about rows without verdicts.")] = None,
        judge: Annotated[str | None, typer.Option(help="Judge of that server; its default if not given.")] = None,
        rubric: Annotated[str | None, typer.Option(help="Rubric to judge by; the judge's own if not given.")] = None,
        scale: Annotated[
            tuple[float, float] | None,
            typer.Option(help="Labels of responses that mean reward 0 and 1 [lowest and highest label]."),
        ] = None,
        token_env: Annotated[str, typer.Option(help="Environment variable with the bearer token.")] = "PALAESTRA_TOKEN",
        plot: Annotated[Path | None, typer.Option(help="Draw the result to this file (png, svg, pdf).")] = None,
        save: Annotated[Path | None, typer.Option(help="Keep the judged rows in this file (JSON lines).")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print everything measured as JSON.")] = False,
    ) -> None:
        """Measure a judge against labels: agreement, kappa, position bias, order, leniency, taste for length.

        Pairs are asked in both orders; responses are scored one by one. Failures are counted and left out.

        Example: `palaestra calibrate labels.jsonl --url http://127.0.0.1:8400 --plot calibration.png`
        """
        raw = _rows(labels)
        pairs = "a" in raw[0]
        if any(("a" in row) != pairs for row in raw):
            raise ValueError(f"{labels} mixes pairs (a, b) and responses; give one kind a file")
        missing = [row for row in raw if ("orders" if pairs else "reward") not in row]
        if missing and url is None:
            raise ValueError(
                f"{len(missing)} rows have no verdicts (first: {missing[0]['id']!r}); give --url to ask a judge"
            )
        if missing and url is not None:
            from ..judges.client import JudgeClient

            client = JudgeClient(url, token=os.environ.get(token_env), judge=judge)
            (_ask if pairs else _ask_scores)(client, rubric, missing, quiet=as_json)
        if save is not None:
            save.write_text("".join(json.dumps(row) + "\n" for row in raw), encoding="utf-8")
        result = _measure(raw, pairs, scale)
        if plot is not None:
            _plot(result, plot, judge or labels.stem)
        if as_json:
            typer.echo(json.dumps(asdict(result) | {"warnings": result.warnings()}, allow_nan=False))
        else:
            _show(result)
            if plot is not None:
                typer.echo(f"picture: {plot}")
        if result.scored == 0:
            raise typer.Exit(1)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The file's rows, each with an id; checked before anybody is asked."""
    from ..judges.calibrate import read_comparisons
    from ..judges.calibrate_scores import read_scores

    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path} holds no pairs or responses; give one JSON object a line")
    try:
        first = json.loads(lines[0])
    except ValueError as error:
        raise ValueError(f"line 1: {error}; expected one JSON object a line") from error
    parsed: list[Any] = list(
        (read_scores if isinstance(first, dict) and "response" in first else read_comparisons)(lines)
    )
    return [json.loads(line) | {"id": row.id} for line, row in zip(lines, parsed, strict=True)]


def _measure(
    raw: list[dict[str, Any]], pairs: bool, scale: tuple[float, float] | None
) -> Calibration | ScoreCalibration:
    from ..judges.calibrate import calibrate, read_comparisons
    from ..judges.calibrate_scores import calibrate_scores, read_scores

    lines = [json.dumps(row) for row in raw]
    return calibrate(read_comparisons(lines)) if pairs else calibrate_scores(read_scores(lines), scale)


def _plot(result: Calibration | ScoreCalibration, path: Path, title: str) -> None:
    from ..judges.calibrate import Calibration
    from ..judges.calibrate_plot import plot_calibration, plot_score_calibration

    if isinstance(result, Calibration):
        plot_calibration(result, path, title)
    else:
        plot_score_calibration(result, path, title)


def _ask(client: JudgeClient, rubric: str | None, rows: list[dict[str, Any]], quiet: bool) -> None:
    """Ask the server about pairs in both orders and enter what it says into the rows."""
    for chunk in _chunks(rows, quiet):
        wire = [{name: p[name] for name in ("id", "prompt", "a", "b", "reference") if name in p} for p in chunk]
        answers = {answer.id: answer for answer in client.compare_sync(wire, rubric=rubric, order_policy="both")}
        for row in chunk:
            answer = answers[row["id"]]
            orders = [order.model_dump(mode="json") for order in answer.orders]
            row["orders"] = orders or [{"first": "a", "winner": None, "status": answer.status.value}]


def _ask_scores(client: JudgeClient, rubric: str | None, rows: list[dict[str, Any]], quiet: bool) -> None:
    """Ask the server for scores and enter reward and status into the rows."""
    for chunk in _chunks(rows, quiet):
        wire = [{name: row[name] for name in ("id", "prompt", "response", "reference") if name in row} for row in chunk]
        answers = {result.rollout_id: result for result in client.score_sync(wire, rubric)}
        for row in chunk:
            row["reward"], row["status"] = answers[row["id"]].reward, answers[row["id"]].status.value


def _chunks(rows: list[dict[str, Any]], quiet: bool) -> Iterable[list[dict[str, Any]]]:
    from rich.console import Console
    from rich.progress import track

    starts = range(0, len(rows), CHUNK)
    for start in track(starts, "asking", disable=quiet, console=Console(stderr=True)):
        yield rows[start : start + CHUNK]


def _show(result: Calibration | ScoreCalibration) -> None:
    """The result as a table."""
    from rich.console import Console
    from rich.table import Table

    from ..judges.calibrate import Calibration

    table = Table(show_header=False, box=None)
    for name, value in _pair_lines(result) if isinstance(result, Calibration) else _score_lines(result):
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for warning in result.warnings():
        console.print(f"! {warning}", markup=False)


def _score_lines(result: ScoreCalibration) -> list[tuple[str, str]]:
    where = "same prompt" if result.order_within_prompts else "all responses"
    return [
        ("responses", f"{result.items}, {result.scored} scored"),
        ("agreement", _interval(result.agreement)),
        ("kappa / weighted", f"{_number(result.kappa)} / {_number(result.weighted_kappa)}"),
        (f"ordered as labelled ({where})", _interval(result.order)),
        ("Spearman / Pearson", f"{_number(result.spearman)} / {_number(result.pearson)}"),
        ("lenient (+) or strict (-)", _number(result.bias)),
        (
            "length correlation, judge / labels",
            f"{_number(result.length_correlation)} / {_number(result.label_length_correlation)}",
        ),
        ("length beyond the labels", _number(result.length_beyond_labels)),
    ]


def _pair_lines(result: Calibration) -> list[tuple[str, str]]:
    kappa = "-" if result.kappa is None else f"{result.kappa:.2f}"
    return [
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


def _interval(share: Share) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "-"
    return f"{share.value:.3f}  ({share.low:.3f} to {share.high:.3f}, n = {share.count})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
