"""What is compared: arms, seeds, budgets, and the tasks on which forgetting is measured."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..config import ConfigError, EnvConfig, RunConfig, load_config
from ..objectives import get, parameters


@dataclass(frozen=True)
class Arm:
    """An objective with the parameters that differ from its defaults.

    Attributes:
        name: objective name.
        params: parameters.
        label: how it is shown and what its folder is called.
    """

    name: str
    params: dict[str, Any]
    label: str

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Read ``name`` or ``name:key=value:key=value``; values are TOML, or text.

        Example:
            >>> Arm.parse("uniqueness:alpha=1.0").params
            {'alpha': 1.0}
        """
        name, params = _settings(text, "objective")
        parameters(name, params)
        return cls(name, params, re.sub(r"[^\w.=-]+", "-", text.strip()))

    def objective(self, config: RunConfig) -> dict[str, Any]:
        """The arm's [objective] section: a run file of the same objective lends it the parameters it does not set."""
        own = config.objective
        return {"name": self.name, **(own.params if own.name == self.name else {}), **self.params}


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        objectives: arms as text (see `Arm.parse`) or `Arm`s; the first one is the one others are compared with.
        seeds: training seeds.
        token_budget: sampled tokens after which every run stops; 0 = the run file's steps decide.
        judge_budget: calls to the judge after which every run stops; 0 = no limit.
        prior: environments on which forgetting is measured: ids, ``id:knob=value`` or tables of [env].
        samples: rollouts a held-out task.
        tasks: held-out tasks.
        pass_at: the k of pass@k.
    """

    objectives: tuple[str | Arm, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    token_budget: int = 0
    judge_budget: int = 0
    prior: tuple[str | dict[str, Any], ...] = ()
    samples: int = 16
    tasks: int = 128
    pass_at: tuple[int, ...] = (1, 2, 4, 8, 16)

    def priors(self) -> tuple[EnvConfig, ...]:
        """The environments of `prior`."""
        return tuple(_env(prior) if isinstance(prior, str) else EnvConfig.model_validate(prior) for prior in self.prior)

    def arms(self) -> list[Arm]:
        """The arms, each label once.

        Raises:
            ConfigError: no arm, no seed, a label twice, or more k than samples.
        """
        arms = [arm if isinstance(arm, Arm) else Arm.parse(arm) for arm in self.objectives]
        labels = [arm.label for arm in arms]
        twice = {label for label in labels if labels.count(label) > 1}
        if not arms or not self.seeds or twice:
            what = f"objective {sorted(twice)[0]!r} is named twice" if twice else "name at least one objective and seed"
            raise ConfigError(f"compare: {what}")
        if max(self.pass_at) > self.samples:
            raise ConfigError(f"compare: pass@{max(self.pass_at)} needs at least that many samples, not {self.samples}")
        return arms

    def cell(self, config: RunConfig, arm: Arm, seed: int, start: str, folder: str) -> RunConfig:
        """The run file of one cell: everything but objective, seed, start and folder is shared."""
        data = config.model_dump()
        data["objective"] = arm.objective(config)
        data |= {"seed": seed, "out": folder}
        data["policy"] |= {"model": start}
        data["warmup"] |= {"steps": 0}
        data["eval"] |= {"every": 0, "start": False, "samples": 1, "pass_at": (1,), "tasks": 32, "greedy": False}
        return load_config(data)


def _settings(text: str, what: str) -> tuple[str, dict[str, Any]]:
    """``name:key=value:key=value`` as name and values; values are TOML, or text."""
    name, *settings = text.strip().split(":")
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"{what} {text!r}: write parameters as name:key=value, got {setting!r}")
        try:
            values[key.strip()] = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = value
    return name, values


def _env(text: str) -> EnvConfig:
    name, args = _settings(text, "prior environment")
    return EnvConfig(id=name, args=args)


def problems(config: RunConfig, arms: Iterable[Arm], env_factory: Callable[[], Any] | None = None) -> list[str]:
    """What cannot work about the arms in this run file and its environment, before anything is trained."""
    from ..feasible import problems_of
    from ..tasks import TaskSource

    source, found = TaskSource(config.env, env_factory), []
    for arm in arms:
        run = load_config({**config.model_dump(), "objective": arm.objective(config)})
        objective = get(arm.name, run.objective.params)
        found += [f"{arm.label}: {problem}" for problem in problems_of(run, objective, source)]
    source.close()
    return found
