"""report.html of a run, an evaluation or a comparison, made from what lies in its folder and from nothing else."""

from __future__ import annotations

from pathlib import Path

from ..view.lines import parse
from .of_comparison import comparison_page
from .of_evaluation import evaluation_page
from .of_run import run_page
from .page import Page


def write_report(folder: Path) -> Path:
    """Write the report of a folder into it.

    Args:
        folder: of `palaestra train`, `palaestra eval` or `palaestra compare`.

    Returns:
        The path of report.html.

    Raises:
        FileNotFoundError: the folder holds none of these.
    """
    return page_of(folder).write(folder / "report.html")


def page_of(folder: Path) -> Page:
    """The page of a folder; see `write_report`."""
    if (folder / "metrics.jsonl").is_file():
        return run_page(folder)
    try:
        report = parse((folder / "report.json").read_bytes())
    except (OSError, ValueError):
        report = None
    if isinstance(report, dict) and "pass_at" in report:
        return evaluation_page(folder, report)
    if isinstance(report, dict) and "rows" in report:
        return comparison_page(folder, report)
    raise FileNotFoundError(
        f"{str(folder)!r} holds no run (metrics.jsonl), evaluation or comparison (report.json); give the folder that "
        "`palaestra train`, `eval` or `compare` wrote"
    )
