"""Token records of our runs pass OpenEnv's validators for training traces."""

import importlib.util
import json
import sys
from types import ModuleType

import pytest

from palaestra.envs.adapters.openenv import training_entries
from palaestra.schema import Rollout, Turn


@pytest.fixture
def training_trace(unpacked, monkeypatch):
    """Their `TrainingTrace` out of the wheel: two files of a package whose top would import much more."""
    folder = unpacked("openenv") / "openenv" / "core" / "harness"
    for name, path in (("oe_harness", folder), ("oe_harness.capture", folder / "capture")):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        monkeypatch.setitem(sys.modules, name, package)
    for name, path in (
        ("oe_harness.capture.validate", folder / "capture" / "validate.py"),
        ("oe_harness.training", folder / "training.py"),
    ):
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return module.TrainingTrace


def test_rollouts_of_a_run_are_valid_traces(training_trace, tmp_path):
    pytest.importorskip("torch")
    from palaestra.trainer import train

    result = train(
        {
            "out": str(tmp_path / "run"),
            "policy": {"characters": "0123456789", "layers": 1, "hidden": 16},
            "env": {"id": "palaestra/Sort-v0", "args": {"digits": 2}},
            "rollout": {"group_size": 2, "prompts_per_step": 2, "max_new_tokens": 3},
            "train": {"steps": 1},
            "eval": {"tasks": 2, "samples": 1, "start": False, "greedy": False},
            "log": {"tensorboard": False},
        }
    )
    lines = (result.folder / "rollouts" / "step-000001.jsonl").read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        rollout = Rollout.model_validate({k: v for k, v in json.loads(line).items() if k in Rollout.model_fields})
        trace = training_trace.from_entries(training_entries(rollout))
        assert [turn.completion_token_ids for turn in trace.turns] == [list(t.completion_ids) for t in rollout.turns]
        assert all(sum(turn.loss_mask) == len(turn.completion_token_ids) for turn in trace.turns)


def test_many_turns_have_their_own_ids(training_trace):
    turn = {"prompt_ids": (1, 2), "completion_ids": (3,), "logprobs": (-0.5,), "stop": "stop"}
    rollout = Rollout(id="r", task_id="t", group_id="g", env_id="e", messages=(), turns=(Turn(**turn), Turn(**turn)))
    trace = training_trace.from_entries(training_entries(rollout))
    assert [turn.node_id for turn in trace.turns] == ["r/0", "r/1"]
