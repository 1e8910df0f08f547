"""The report of a training run."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...schema import Rollout
from ..view.evaluations import Evaluations
from ..view.judgements import JudgementIndex
from ..view.rollouts import number_of, rollout_of
from ..view.runs import Run
from .page import Page, Raw, details, figure, heading, note, preformatted, side_by_side, table, text, transcript
from .plots import Series, curves

EVALUATED = ("pass@", "greedy", "reward", "distinct_right")
CURVES = (
    ("reward", "mean reward", "Training reward"),
    ("entropy", "nats a token", "Entropy of the policy"),
    ("length", "tokens", "Length of a rollout"),
    ("live_groups", "share", "Groups whose rollouts differ in reward; only these teach"),
    ("judge/p_first", "share", "Decisive comparisons won by the response shown first; 0.5 is unbiased"),
)
HEALTH = {
    "unscored": "rollouts without a reward: judge, grader or environment failed",
    "judge_failed_groups": "groups that no judge could judge",
    "skipped_steps": "optimiser steps skipped as unsound",
    "rollout_max_gap": "largest log-probability gap between learner and engine (nats)",
    "max_ratio": "largest importance ratio",
}
SHOWN = 8  # rollouts
WIDTH = "An interval without width says that all tasks came out alike, not that the value is certain."


def run_page(folder: Path) -> Page:
    """The page of a run folder; what is damaged or missing there is said and left out."""
    run = Run(folder)
    run.refresh()
    summary, rows = run.summary(), run.rows
    seed, objective = summary["seed"], summary["objective"] or "unknown objective"
    page = Page(folder.resolve().name, f"{objective} on {summary['env'] or 'an unknown environment'}, seed {seed}")
    steps = [row["step"] for row in rows if number_of(row.get("step"))]
    per_step = _last(rows, "rollouts")
    done = f"{int(max(steps, default=0))}" + (f" of {summary['steps']}" if summary["steps"] else "")
    sampled = f", {per_step:g} rollouts a step" if per_step else ""
    said = "One seed: a direction, not a result; `palaestra compare` repeats a run over seeds."
    page.add(text(f"{done} steps{sampled}. {said}"))
    evaluated = _evaluations(run.evaluations)
    for one in [*summary["notes"], *run.evaluations.notes]:
        page.add(note(f"Note: {one}"))
    page.add(*evaluated)
    page.add(heading("Training"), *_curves(run, per_step))
    page.add(*_health(rows), *_judge(run.judgements), *_rollouts(run))
    page.add(heading("Configuration"), details("config.toml", preformatted(_config(folder))))
    return page


def _evaluations(found: Evaluations) -> list[Raw]:
    rows = found.rows()
    if not rows:
        return [heading("Held-out tasks"), note("This run was not evaluated.")]
    names = list(dict.fromkeys(name for row in rows for name in row["estimates"]))
    names.sort(key=lambda name: next((i for i, part in enumerate(EVALUATED) if part in name), len(EVALUATED)))
    shares = [name for name in names if "pass@" in name or name == "eval/greedy"]
    tasks, samples = rows[-1]["tasks"], rows[-1]["samples"]
    said = f"{tasks if tasks is not None else 'an unknown number of'} held-out tasks"
    said += f", {samples} samples each" if samples else ""
    blocks = [heading("Held-out tasks")]
    lines = [_estimates(rows, name) for name in shares]
    if any(len(line.x) > 1 for line in lines):
        caption = f"{said}; bands are 95 % bootstrap intervals over tasks."
        blocks.append(figure(curves(lines, "step", "share right", ylim=(0, 1)), caption))
    cells = [
        [row["step"], row["tasks"], *(interval_text(row["estimates"].get(n)) for n in names), row["unscored"]]
        for row in rows
    ]
    head = ["step", "tasks", *(name.removeprefix("eval/").replace("_", " ") for name in names), "unscored rollouts"]
    blocks.append(
        table(head, cells, f"95 % intervals over tasks in brackets. {WIDTH} What could not be scored is in no number.")
    )
    return blocks


def _estimates(rows: list[dict[str, Any]], name: str) -> Series:
    kept = [(row["step"], row["estimates"][name]) for row in rows if name in row["estimates"]]
    bounds = [[e[side] if e[side] is not None else e["value"] for _, e in kept] for side in ("low", "high")]
    return Series(name.removeprefix("eval/"), [s for s, _ in kept], [e["value"] for _, e in kept], *bounds)


def interval_text(estimate: dict[str, Any] | None) -> str | None:
    """`0.512 [0.480, 0.544]`; None of nothing."""
    if not estimate or estimate.get("value") is None:
        return None
    if estimate.get("low") is None or estimate.get("high") is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _curves(run: Run, per_step: float | None) -> list[Raw]:
    series = run.series(points=400)
    of = f"each point is over the {per_step:g} rollouts of its step, without an interval" if per_step else "by step"
    blocks = []
    for name, unit, caption in CURVES:
        points = series.get(name, [])
        if len(points) > 1:
            line = Series(name, [p[0] for p in points], [p[1] for p in points])
            blocks.append(figure(curves([line], "step", unit, small=True), f"{caption}; {of}."))
    return [side_by_side(*blocks)] if blocks else [note("No training steps were recorded.")]


def _health(rows: list[dict[str, Any]]) -> list[Raw]:
    cells = []
    for name, meaning in HEALTH.items():
        values = [value for row in rows if (value := number_of(row.get(name))) is not None]
        if values:
            cells.append([name, meaning, f"{max(values):.4g}", f"{sum(values) / len(values):.4g}", len(values)])
    if not cells:
        return []
    return [heading("Health"), table(["metric", "meaning", "largest", "mean", "steps"], cells)]


def _judge(found: JudgementIndex) -> list[Raw]:
    if not len(found):
        return []
    summary = found.summary()
    names = {
        "first": "comparisons won by the response shown first (0.5 is unbiased)",
        "ties": "ties",
        "disagree": "pairs whose two orders disagree",
        "failed": "comparisons that failed",
    }
    rows = [[label, interval_text(summary[key]), summary[key]["n"]] for key, label in names.items() if summary[key]]
    rows += [[f"judgements: {status}", None, count] for status, count in summary["statuses"].items()]
    used, cost = summary["usage"], summary["usage"]["cost_usd"]
    said = f"{used.get('calls', 0)} model calls, {used.get('cache_hits', 0)} cache hits"
    said += ", price not set" if cost is None else f", {cost:.4g} US dollars"
    caption = f"Over the groups that the run wrote down; {said}. Wilson's 95 % intervals in brackets."
    return [heading("Judge"), table(["", "share", "of"], rows, caption)]


def _rollouts(run: Run) -> list[Raw]:
    shown: list[Raw] = []
    newest = max((e.step or 0 for e in run.rollouts.known()), default=0)
    for entry in run.rollouts.known():
        if (entry.step or 0) == newest and len(shown) < SHOWN:
            try:
                line = run.rollouts.load(entry)
                fields = {name: value for name, value in rollout_of(line).items() if name in Rollout.model_fields}
                shown.append(transcript(Rollout.model_validate(fields), entry.cluster))
            except (OSError, ValueError):
                continue  # damaged, or of another version; the viewer shows it as it is
    if not shown:
        return []
    said = (
        f"The first {len(shown)} rollouts of step {newest}, not chosen. `palaestra view` shows all that were written."
    )
    return [heading("Rollouts"), note(said), *shown]


def _config(folder: Path) -> str:
    try:
        written = (folder / "config.toml").read_text(encoding="utf-8")
        tomllib.loads(written)
    except (OSError, ValueError) as error:
        return f"config.toml cannot be read: {error}"
    return "\n".join(_without_secrets(written.splitlines()))


def _without_secrets(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        key, equals, value = line.partition("=")
        secret = equals and key.strip() == "token" and value.strip() not in ('""', "''")
        yield f'{key}= "(left out)"' if secret else line


def _last(rows: list[dict[str, Any]], name: str) -> float | None:
    return next((value for row in reversed(rows) if (value := number_of(row.get(name))) is not None), None)
