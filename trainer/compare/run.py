"""Runs a comparison: one start, then every cell, each trained, measured and kept in a folder of its own."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..checkpoint import write_atomically
from ..config import ConfigError, RunConfig, load_config, to_toml
from ..events import Event, StopTraining
from ..objectives import get
from .measure import Measurement, measure
from .plan import Arm, Plan, problems
from .plots import plot
from .report import Comparison

Progress = Callable[[str], None]


class BudgetReached(StopTraining):
    """The tokens or judge calls of a cell are used up."""


def compare(
    config: Any,
    plan: Plan,
    out: str | Path,
    *,
    progress: Progress = lambda line: None,
    env_factory: Callable[[], Any] | None = None,
    judge_client: Any = None,
) -> Comparison:
    """Train and measure every arm with every seed, from one start.

    Args:
        config: run file, mapping or `RunConfig`; its objective and seed are replaced cell by cell.
        plan: arms, seeds and budgets.
        out: folder; a cell that is finished there is not run again, an unfinished one continues.
        progress: called with one line for people.
        env_factory, judge_client: see `palaestra.trainer.train`.

    Returns:
        The comparison; ``report.md``, ``report.json`` and plots lie in `out`. A cell that fails is named in them and
        left out of the table; the others go on, and the same call tries it again.

    Raises:
        ConfigError: an arm cannot work in this run file, or `out` holds another comparison.
    """
    run, root, arms = load_config(config), Path(out), plan.arms()
    found = problems(run, arms, env_factory)
    if found:
        raise ConfigError("; ".join(found))
    _claim(root, run, plan)
    start = _start(run, root, progress, env_factory)
    size: dict[str, Any] = {
        "tasks": plan.tasks,
        "samples": plan.samples,
        "prior": plan.priors(),
        "env_factory": env_factory,
    }
    base = _measured(root / "start.json", lambda: measure(run, str(start), **size))
    comparison = Comparison(plan=plan, arms=arms, start=base, cells={}, spent={})
    places = [(seed, arm) for seed in plan.seeds for arm in arms]
    for number, (seed, arm) in enumerate(places, start=1):
        folder = root / arm.label / f"seed-{seed}"
        cell = plan.cell(run, arm, seed, str(start), str(folder))
        measured = folder / "measured.json"
        known = measured.exists()
        progress(f"[{number}/{len(places)}] {arm.label}, seed {seed}{': kept' if known else ''}")
        stopped = None if known else _train(cell, plan, folder, env_factory, judge_client)
        if stopped:
            progress(f"{arm.label}, seed {seed} failed: {stopped}")
            comparison.failures.setdefault(arm.label, {})[seed] = stopped
            continue
        result = _measured(measured, partial(measure, cell, str(folder / "final"), start=str(start), **size))
        comparison.cells.setdefault(arm.label, {})[seed] = result
        comparison.spent.setdefault(arm.label, {})[seed] = _spent(folder, cell)
        if not known:
            comparison.write(root)  # what there is so far; a long comparison can be read while it runs
    comparison.write(root)
    plot(comparison, root)
    return comparison


def _claim(root: Path, run: RunConfig, plan: Plan) -> None:
    """Refuse a folder in which other tasks, budgets or a different start were compared."""
    shown = {**run.model_dump(), "out": "", "seed": 0}
    for section in ("env", "judge", "rollout"):
        shown[section] = {**shown[section], "url": ""}  # servers may have moved since
    text = to_toml(load_config(shown))
    fixed = {"tasks": plan.tasks, "samples": plan.samples, "tokens": plan.token_budget, "judge": plan.judge_budget}
    text += f"# compared with {json.dumps({**fixed, 'prior': list(plan.prior)}, sort_keys=True)}\n"
    stored = root / "compare.toml"
    if stored.exists() and stored.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{root} holds a comparison with other settings; use them again or choose another folder")
    root.mkdir(parents=True, exist_ok=True)
    write_atomically(stored, text)


def _start(run: RunConfig, root: Path, progress: Progress, env_factory: Any) -> Path:
    """The policy all cells begin with: the warm start of the run file, or its model as it is."""
    from ..api import warm_start
    from ..policy import load_policy

    folder = root / "start"
    if folder.exists():
        return folder
    if run.warmup.steps:
        progress("warm start")
        return warm_start(run, folder, env_factory=env_factory)
    aside = root / ".start.writing"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    load_policy(run.policy.model_copy(update={"lora_rank": 0}), seed=run.seed).save(aside)
    aside.replace(folder)
    return folder


def _train(cell: RunConfig, plan: Plan, folder: Path, env_factory: Any, judge_client: Any) -> str | None:
    """Train a cell to its budget and keep its last weights in ``final``; a started one continues.

    Returns:
        Why the run ended before its time (a judge or an engine failed, the optimiser diverged), or None.
    """
    from ..api import train

    final = folder / "final"
    if final.exists():
        return None
    used = _spent(folder, cell)

    def meter(event: Event) -> None:
        if event.kind != "step":
            return
        used["tokens"] += event.metrics.get("tokens", 0.0)
        used["judge_calls"] += event.metrics.get("judge_calls", 0.0)
        for key, limit in (("tokens", plan.token_budget), ("judge_calls", plan.judge_budget)):
            if limit and used[key] >= limit:
                raise BudgetReached(f"budget of {limit} {key.replace('_', ' ')} used up")

    resume = (folder / "config.toml").exists()
    result = train(cell, resume=resume, callbacks=[meter], env_factory=env_factory, judge_client=judge_client)
    if result.interrupted or result.checkpoint is None:
        raise KeyboardInterrupt
    if result.stopped and "budget of" not in result.stopped:
        return result.stopped
    aside = folder / ".final.writing"
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(result.checkpoint, aside)
    aside.replace(final)
    return None


def _spent(folder: Path, cell: RunConfig) -> dict[str, float]:
    """Tokens, judge calls, steps and rollouts a run has used, from its metrics; see `Comparison.spent`."""
    used = {"tokens": 0.0, "judge_calls": 0.0, "steps": 0.0, "seconds": 0.0, "rollouts": 0.0}
    if get(cell.objective.name, cell.objective.params).stop_reward is not None:
        used["solved_at"] = math.nan
    path = folder / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the line being written when the run was killed
        if "time/step" in row:
            used["tokens"] += row.get("tokens") or 0.0
            used["judge_calls"] += row.get("judge_calls") or 0.0
            used["seconds"] += row["time/step"]
            used["steps"] += 1
            if "first_success" in row and math.isnan(used.get("solved_at", 0.0)):
                used["solved_at"] = used["rollouts"] + row["first_success"]
            used["rollouts"] += row.get("rollouts") or 0.0
    return used


def _measured(path: Path, make: Callable[[], Measurement]) -> Measurement:
    """A measurement from its file, or made and kept there."""
    if path.exists():
        return Measurement.model_validate_json(path.read_text(encoding="utf-8"))
    result = make()
    write_atomically(path, result.model_dump_json(indent=1))
    return result


__all__ = ["Arm", "Comparison", "compare"]
