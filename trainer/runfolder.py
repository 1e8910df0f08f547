"""What a run leaves on disk: config.toml, metrics.jsonl, rollouts/, judgements/, evals/, checkpoints/, tensorboard/."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .checkpoint import write_atomically
from .config import ConfigError, LogConfig, RunConfig, load_config, to_toml
from .judgements import Answered, records
from .rollout import Play

MAY_CHANGE = {
    *("out", "log", "env.url", "env.token", "rollout.step_timeout"),
    # how, not what, is computed
    *("train.token_budget", "train.head_chunk", "train.gradient_checkpointing", "train.compile"),
    *("train.steps", "train.checkpoint_every", "train.max_bad_steps"),
    *("train.keep", "train.keep_every", "train.keep_best"),
    *("judge.url", "judge.token", "judge.timeout", "judge.on_failure"),
}
"""Settings that a resumed run may have changed without becoming another run."""


class RunFolder:
    """Opens a run's folder for writing; one process at a time.

    Args:
        config: the resolved configuration.
        resume: continue what is there.

    Raises:
        ConfigError: the folder holds another run, is in use, or was made with other settings.
    """

    def __init__(self, config: RunConfig, *, resume: bool = False) -> None:
        self.path = config.folder
        self.log: LogConfig = config.log
        stored = self.path / "config.toml"
        if stored.exists() and not resume:
            raise ConfigError(
                f"{self.path} already holds a run; add --resume to continue it, or set another folder "
                "with --set out=..."
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / ".lock", "w")  # noqa: SIM115 - held until the run ends
        except OSError as error:
            raise ConfigError(f"cannot write the run folder {str(self.path)!r}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ConfigError(
                f"{self.path} is in use by another process; wait for it or choose another folder"
            ) from None
        if stored.exists():
            differing = _differences(load_config(stored), config)
            if differing:
                self.close()
                raise ConfigError(
                    f"cannot resume {self.path}: {', '.join(differing)} differ from the stored run; "
                    "use the stored values or start a new run in another folder"
                )
        write_atomically(stored, to_toml(config))
        self._tensorboard: Any = None
        self._trackers: list[Any] = []

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def start(self, step: int) -> None:
        """Drop records of steps after the checkpoint that training continues from, and open the sinks."""
        metrics = self.path / "metrics.jsonl"
        if metrics.exists():
            kept = []
            for line in metrics.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line)
                except (ValueError, KeyError):
                    continue  # the line being written when the run was killed
            write_atomically(metrics, "".join(f"{line}\n" for line in kept))
        for folder in ("rollouts", "judgements", "evals"):
            for file in (self.path / folder).glob("step-*"):
                if int(file.stem.split("-")[1]) > step:
                    file.unlink()
        if self.log.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._tensorboard = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)
        self._trackers = open_trackers(self.log, self.path.name)

    def metrics(self, step: int, values: dict[str, Any]) -> None:
        """Append one line, and the numbers of it to TensorBoard and other sinks."""
        line = json.dumps({"step": step, **{k: _finite(v) for k, v in values.items()}})
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
        if self._tensorboard is not None:
            for key, value in numbers.items():
                self._tensorboard.add_scalar(key, value, step)
        for tracker in self._trackers:
            tracker.log(numbers, step=step)

    def rollouts(self, step: int, plays: Sequence[Play], extra: dict[str, dict[str, Any]]) -> None:
        """Write some groups of a step, one rollout a line.

        Args:
            step: training step.
            plays: the step's groups.
            extra: more about each rollout by id (advantage, cluster ...).
        """
        if not self.log.rollouts or step % self.log.rollouts_every:
            return
        folder = self.path / "rollouts"
        folder.mkdir(exist_ok=True)
        lines = []
        for play in plays[: self.log.rollouts]:
            for rollout in play.group.rollouts:
                record = {"step": step, **rollout.model_dump(mode="json"), **extra.get(rollout.id, {})}
                if record["reward"] != rollout.reward:
                    record["env_reward"] = rollout.reward
                if rollout.id in play.keys:
                    record["solution_key"] = play.keys[rollout.id]
                lines.append(json.dumps(record, ensure_ascii=False))
        (folder / f"step-{step:06d}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def judgements(self, step: int, plays: Sequence[Play], answers: Sequence[Answered]) -> None:
        """Write what judges answered about the groups whose rollouts are written, one group and call a line."""
        if not self.log.rollouts or step % self.log.rollouts_every:
            return
        written = {play.group.id for play in plays[: self.log.rollouts]}
        lines = [json.dumps({"step": step, **record}, ensure_ascii=False) for record in records(answers, written)]
        if lines:
            folder = self.path / "judgements"
            folder.mkdir(exist_ok=True)
            (folder / f"step-{step:06d}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def evaluation(self, step: int, report: Any) -> None:
        """Write an evaluation report."""
        folder = self.path / "evals"
        folder.mkdir(exist_ok=True)
        write_atomically(folder / f"step-{step:06d}.json", report.model_dump_json(indent=1))

    def close(self) -> None:
        """Close every sink and let others use the folder."""
        if getattr(self, "_tensorboard", None) is not None:
            self._tensorboard.close()
        for tracker in getattr(self, "_trackers", []):
            tracker.finish()
        self._lock.close()


def open_trackers(log: LogConfig, name: str) -> list[Any]:
    """Weights & Biases and trackio runs, where the configuration names a project.

    Raises:
        ConfigError: the package is not installed.
    """
    trackers = []
    for package, project in (("wandb", log.wandb), ("trackio", log.trackio)):
        if project:
            try:
                module = __import__(package)
            except ImportError:
                raise ConfigError(f"log.{package} = {project!r} needs the package: pip install {package}") from None
            trackers.append(module.init(project=project, name=name))
    return trackers


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value


def _differences(old: RunConfig, new: RunConfig) -> list[str]:
    found = []
    a, b = old.model_dump(), new.model_dump()
    for name in a:
        if name in MAY_CHANGE:
            continue
        if not isinstance(a[name], dict):
            found += [name] if a[name] != b[name] else []
            continue
        for key in a[name].keys() | b[name].keys():
            if f"{name}.{key}" not in MAY_CHANGE and a[name].get(key) != b[name].get(key):
                found.append(f"{name}.{key}")
    return sorted(found)
