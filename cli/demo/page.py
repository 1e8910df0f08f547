"""The demo's report: what was learned, what it cost in diversity, and rollouts to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...schema import Rollout
from ...trainer.report import Page, Raw, Series, curves, figure, heading, intervals, note, table, text, transcript

if TYPE_CHECKING:
    from ...trainer import EvalReport, RunResult
    from .stage import Story


def write_report(story: Story, path: Path) -> Path:
    """Write report.html."""
    page = Page("An agent learns", f"palaestra demo, seed {story.seed}")
    if story.learning is not None:
        page.add(*_learning(story, story.learning))
    if story.runs:
        page.add(*_diversity(story))
    return page.write(path)


def _learning(story: Story, run: RunResult) -> list[Raw]:
    steps = sorted(run.evals)
    series = [_series("pass@1, sampled at temperature 1", run, lambda r: r.pass_at.get(1))]
    series.append(_series("greedy", run, lambda r: r.greedy))
    tasks = len(run.evals[steps[0]].tasks)
    blocks = [
        heading("Act one: learning"),
        text(
            "The task: write six digits in ascending order. A small transformer was taught on right answers until it "
            "solved some tasks, and then improved itself with GRPO: eight attempts a task, reward 1 for an exactly "
            "right one, and attempts better than their group's average become more likely."
        ),
        figure(
            curves(series, "GRPO step", "share right", target=0.85, ylim=(0, 1)),
            f"{tasks} held-out tasks; bands are 95 % bootstrap intervals over tasks. Step 0 is the supervised start.",
        ),
    ]
    rows = [
        [step, _shown(run.evals[step].pass_at.get(1)), _shown(run.evals[step].greedy), run.evals[step].unscored]
        for step in steps
    ]
    blocks.append(table(["step", "pass@1", "greedy", "unscored rollouts"], rows, "95 % intervals in brackets."))
    if story.over_http is not None:
        over = story.over_http
        blocks.append(
            note(
                f"The trained agent then played {len(over.tasks)} held-out tasks on the environment server over HTTP: "
                f"pass@1 {_shown(over.pass_at.get(1))}, {over.unscored} unscored."
            )
        )
    blocks.append(note(f"This act took {story.seconds.get('learning', 0):.0f} s on this machine."))
    blocks += [heading("Some attempts of the last step", 3), *_samples(run.folder, 1, 4)]
    return blocks


def _diversity(story: Story) -> list[Raw]:
    runs = story.runs
    first = next(iter(runs.values()))
    blocks = [
        heading("Act two: diversity"),
        text(
            "Countdown: make the target from three numbers, each used once. Most targets can be written in several "
            "ways. From one supervised start, plain GRPO is compared with uniqueness weighting, which shrinks the "
            "advantage of attempts that many others of the group share; the judge server groups the attempts over "
            "HTTP. pass@16 asks whether any of 16 attempts is right: it falls when a policy gives up ways it once knew."
        ),
    ]
    reports: dict[str, EvalReport] = {}
    if first.before is not None:
        reports["supervised start"] = first.before
    reports.update({name: run.after for name, run in runs.items() if run.after is not None})
    if reports:
        ks = sorted(next(iter(reports.values())).pass_at)
        tasks = len(next(iter(reports.values())).tasks)
        samples = next(iter(reports.values())).samples
        groups = [_points(name, report, ks) for name, report in reports.items()]
        caption = f"{tasks} held-out tasks, {samples} samples each; bars are 95 % bootstrap intervals over tasks."
        blocks.append(figure(intervals([f"pass@{k}" for k in ks], groups, "share right", ylim=(0, 1)), caption))
        rows = [
            [name, *(_shown(r.pass_at.get(k)) for k in ks), _shown(r.distinct_right), _shown(r.greedy), r.unscored]
            for name, r in reports.items()
        ]
        head = ["policy", *(f"pass@{k}" for k in ks), "distinct right answers", "greedy", "unscored"]
        blocks.append(table(head, rows, "One seed: a direction, not a result. The numbers are as they came out."))
    blocks.append(
        figure(
            curves([Series(name, *_metric(run.folder, "reward")) for name, run in runs.items()], "step", "mean reward"),
            "Training reward, 64 tasks x 8 attempts a step.",
        )
    )
    blocks.append(note(f"This act took {story.seconds.get('diversity', 0):.0f} s on this machine."))
    for name, run in runs.items():
        blocks += [heading(f"Attempts of the last step: {name}", 3), *_samples(run.folder, 1, 8)]
    return blocks


def _shown(estimate: Any) -> str | None:
    return None if estimate is None else f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _series(name: str, run: RunResult, pick: Any) -> Series:
    found = [(step, pick(report)) for step, report in sorted(run.evals.items())]
    kept = [(step, e) for step, e in found if e is not None]
    return Series(name, [s for s, _ in kept], [e.value for _, e in kept], [e.low for _, e in kept],
                  [e.high for _, e in kept])  # fmt: skip


def _points(name: str, report: EvalReport, ks: list[int]) -> Series:
    es = [report.pass_at[k] for k in ks]
    return Series(name, list(range(len(ks))), [e.value for e in es], [e.low for e in es], [e.high for e in es])


def _metric(folder: Path, key: str) -> tuple[list[float], list[float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    kept = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return [step for step, _ in kept], [value for _, value in kept]


def _samples(folder: Path, groups: int, each: int) -> list[Raw]:
    """Rollouts of the first groups of the last step that was written."""
    files = sorted((folder / "rollouts").glob("*.jsonl"))
    if not files:
        return [note("No rollouts were written.")]
    lines = [json.loads(line) for line in files[-1].read_text(encoding="utf-8").splitlines()]
    shown: dict[str, list[Raw]] = {}
    for line in lines:
        rollout = Rollout.model_validate({key: line[key] for key in Rollout.model_fields if key in line})
        if len(shown) == groups and rollout.group_id not in shown:
            break
        of_group = shown.setdefault(rollout.group_id, [])
        if len(of_group) < each:
            of_group.append(transcript(rollout, line.get("cluster")))
    return [block for of_group in shown.values() for block in of_group]
