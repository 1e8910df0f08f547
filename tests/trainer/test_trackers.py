"""Weights & Biases and trackio get the numbers of metrics.jsonl; a missing package is named with its fix."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from palaestra.trainer import ConfigError, train


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_a_project_gets_every_line(run_sections, monkeypatch, package):
    """A stand-in with the two calls that both packages share; the real ones have not been run."""
    started, logged, finished = [], [], []
    tracker = SimpleNamespace(log=lambda values, step: logged.append((step, values)), finish=lambda: finished.append(1))

    def init(project, name):
        started.append((project, name))
        return tracker

    module = ModuleType(package)
    module.init, module.__spec__ = init, ModuleSpec(package, None)  # libraries look for the specification
    monkeypatch.setitem(sys.modules, package, module)
    sections = {**run_sections, "warmup": {}, "train": {"steps": 2}, "log": {"tensorboard": False, package: "mine"}}
    result = train(sections)
    assert started == [("mine", "run")]
    lines = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert [step for step, _ in logged] == [line["step"] for line in lines]
    assert logged[1][1]["tokens"] == lines[1]["tokens"]
    assert finished == [1]


@pytest.mark.parametrize("package", ["wandb", "trackio"])
def test_a_missing_package_is_named(run_sections, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"pip install {package}"):
        train({**run_sections, "warmup": {}, "log": {"tensorboard": False, package: "mine"}})
