"""The two acts: what is trained, in what order, and what the audience sees meanwhile."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .servers import server

if TYPE_CHECKING:
    from ...trainer import EvalReport, Event, RunConfig, RunResult

CONFIGS = Path(__file__).parents[2] / "configs"
GOAL = 0.85  # held-out pass@1 that act one is expected to reach


@dataclass
class Story:
    """What happened, for the report."""

    seed: int
    learning: RunResult | None = None
    runs: dict[str, RunResult] = field(default_factory=dict)
    over_http: EvalReport | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def play(seed: int, out: Path, steps: int | None = None) -> Path:
    """Both acts and the report.

    Args:
        seed: seed of everything that is drawn.
        out: folder for runs and report; what an earlier demo left there is removed.
        steps: training steps of every run, for a quick look; None = those of the run files.

    Returns:
        The report's path.
    """
    from .page import write_report

    console = Console(stderr=True)
    for old in ("learning", "start", "grpo", "uniqueness"):
        shutil.rmtree(out / old, ignore_errors=True)
    story = Story(seed)
    with ExitStack() as servers:
        envs = servers.enter_context(server("envs", out / "logs" / "envs.log"))
        judges = servers.enter_context(server("judges", out / "logs" / "judges.log", str(CONFIGS / "demo-judges.toml")))
        console.print(f"environment server {envs}\n      judge server {judges}")
        with _progress(console) as progress:
            _learning(story, out, steps, progress)
            _diversity(story, out, steps, judges, progress)
            _curtain(story, envs, progress)
    _applause(console, story)
    return write_report(story, out / "report.html")


def _load(name: str, seed: int, steps: int | None, *overrides: str) -> RunConfig:
    from ...trainer import load_config

    quick = [] if steps is None else [f"train.steps={steps}", f"warmup.steps={2 * steps}", "eval.every=0"]
    return load_config(CONFIGS / name, [f"seed={seed}", *quick, *overrides])


def _learning(story: Story, out: Path, steps: int | None, progress: Progress) -> None:
    from ...trainer import train

    began = time.perf_counter()
    config = _load("demo-sort.toml", story.seed, steps, f'out="{out / "learning"}"')
    with _Bar(progress, "Act one: sort digits") as bar:
        story.learning = train(config, callbacks=[bar])
    story.seconds["learning"] = time.perf_counter() - began


def _diversity(story: Story, out: Path, steps: int | None, judges: str, progress: Progress) -> None:
    from ...trainer import train, warm_start

    began = time.perf_counter()
    with _Bar(progress, "Act two: warm start") as bar:
        start = warm_start(_load("demo-countdown.toml", story.seed, steps), out / "start", callbacks=[bar])
    for name in ("grpo", "uniqueness"):
        config = _load(
            "demo-countdown.toml", story.seed, steps, f'objective.name="{name}"', f'out="{out / name}"',
            f'policy.model="{start}"', "warmup.steps=0", f'judge.url="{judges}"', 'judge.scope="strategy"',
        )  # fmt: skip
        with _Bar(progress, f"Act two: {name}") as bar:
            story.runs[name] = train(config, callbacks=[bar])
    story.seconds["diversity"] = time.perf_counter() - began


def _curtain(story: Story, envs: str, progress: Progress) -> None:
    """The trained agent against the environment server: nothing but text goes over the wire."""
    from ...trainer import evaluate, load_config

    assert story.learning is not None
    config = load_config(
        story.learning.folder / "config.toml", [f'env.url="{envs}"', "eval.tasks=128", "eval.greedy=false"]
    )
    with _Bar(progress, "Curtain: over HTTP"):
        story.over_http = evaluate(config, model=story.learning.checkpoint)


class _Bar:
    """One line of progress, fed by the trainer's events."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress, self.title = progress, title
        self.task = progress.add_task(title, total=None, note="")

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: Any) -> None:
        done = self.progress.tasks[self.task].total or 1
        self.progress.update(self.task, total=done, completed=done)

    def __call__(self, event: Event) -> None:
        if event.kind not in ("warmup", "step", "eval"):
            return
        self.progress.update(self.task, total=max(event.total, 1), completed=event.step)
        note = _note(event)
        if note:
            self.progress.update(self.task, note=note)
            if not self.progress.console.is_terminal:  # a log gets lines instead of a bar
                self.progress.console.print(f"{self.title}, step {event.step}: {note}", highlight=False)


def _note(event: Event) -> str:
    if event.kind == "warmup":
        return f"supervised, held-out pass@1 {event.metrics['pass@1']:.2f}"
    if event.kind == "eval":
        return "held-out " + ", ".join(
            f"{key.removeprefix('eval/')} {value:.2f}" for key, value in event.metrics.items() if "pass@" in key
        )
    return ""


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<30}"), BarColumn(24), TextColumn("{task.completed:.0f}/{task.total}"),
        TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=console,
    )  # fmt: skip


def _applause(console: Console, story: Story) -> None:
    run = story.learning
    if run is None or run.before is None or run.after is None:
        return
    before, after = run.before.pass_at[1].value, run.after.pass_at[1].value
    reached = "reached" if after >= GOAL else "NOT reached"
    console.print(f"Act one: held-out pass@1 {before:.3f} -> {after:.3f}, the goal of {GOAL} is {reached}")
    for name, one in story.runs.items():
        if one.after is not None and one.after.distinct_right is not None:
            shares = ", ".join(f"pass@{k} {e.value:.3f}" for k, e in one.after.pass_at.items())
            console.print(f"Act two, {name}: {shares}, distinct right answers {one.after.distinct_right.value:.2f}")
