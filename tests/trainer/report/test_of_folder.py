"""Reports made from what lies in a folder: one look, one file, every number with its sample size and interval."""

import json
import re

import pytest

pytest.importorskip("matplotlib")

from palaestra import Message, Rollout
from palaestra.trainer.report import write_report

HOSTILE = "</style><script>alert(1)</script>\u202e"


def estimate(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "tasks": 40}


def rollout(index):
    said = (Message(role="user", content=HOSTILE), Message(role="assistant", content="x" * 10_000))
    return Rollout(id=f"r{index}", task_id="t", messages=said, reward=None if index else 1.0, error="the judge is down")


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.toml").write_text('seed = 3\n[env]\nid = "a/B-v0"\ntoken = "secret"\n[train]\nsteps = 4\n')
    rows = [{"step": i, "reward": i / 4, "rollouts": 32.0, "unscored": float(i == 2)} for i in range(1, 5)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 5, "rew')
    (tmp_path / "rollouts").mkdir()
    lines = [json.dumps({"step": 4, **rollout(i).model_dump(mode="json"), "cluster": 1}) for i in range(2)]
    (tmp_path / "rollouts" / "step-4.jsonl").write_text("\n".join([*lines, '{"id": 7}', "broken", ""]))
    (tmp_path / "evals").mkdir()
    for step in (0, 4):
        report = {"step": step, "samples": 2, "unscored": 1, "tasks": [{}] * 40, "pass_at": {"1": estimate(0.4)}}
        (tmp_path / "evals" / f"step-{step}.json").write_text(json.dumps(report))
    (tmp_path / "evals" / "step-9.json").write_text("{")
    return tmp_path


def read(folder):
    page = write_report(folder).read_text()
    assert "<script" not in page
    assert not re.search(r"(src|href)=[\"'](?!#)", page.replace('xlink:href="#', "").replace('href="#', ""))
    return page


def test_a_run(run):
    page = read(run)
    assert "4 of 4 steps, 32 rollouts a step" in page
    assert "0.400 [0.300, 0.500]" in page and "40 held-out tasks, 2 samples each" in page
    assert "step-9.json cannot be read" in page and "is not JSON" in page
    assert page.count('role="img"') == 2  # evaluations and reward
    assert "unscored: the judge is down" in page and "6000 characters left out" in page
    assert "secret" not in page


def test_an_empty_run(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    page = read(tmp_path)
    assert "config.toml is missing" in page and "was not evaluated" in page and "No training steps" in page


def test_an_evaluation(tmp_path):
    tasks = [
        {"task_id": HOSTILE, "right": 2, "scored": 2},
        {"task_id": "b", "right": 0, "scored": 2},
        {"task_id": "c", "scored": 0},
    ]
    report = {"env": HOSTILE, "policy": "p", "samples": 2, "rollouts": 6, "unscored": 2, "tasks": tasks}
    report |= {"pass_at": {"1": estimate(0.5)}, "greedy": None, "reward": estimate(0.25), "temperature": 1.0}
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "rollouts.jsonl").write_text(rollout(0).model_dump_json() + "\n{}\n")
    page = read(tmp_path)
    assert "2 could not be scored" in page and "0.500 [0.400, 0.600]" in page
    assert "1 tasks were always solved, 1 never, 1 sometimes or not scored" in page


def test_a_comparison(tmp_path):
    row = {"pass@1": estimate(0.5), "entropy": None, "tokens": 12345.0}
    report = {"rows": {"start": row, "grpo": row, HOSTILE: row}, "differences": {HOSTILE: {"pass@1": estimate(0.05)}}}
    (tmp_path / "report.json").write_text(json.dumps({**report, "front": ["grpo"], "notes": ["On the front: grpo."]}))
    (tmp_path / "runs" / "grpo").mkdir(parents=True)
    (tmp_path / "runs" / "grpo" / "metrics.jsonl").write_text("")
    page = read(tmp_path)
    assert "Difference from grpo" in page and "0.050 [-0.050, 0.150]" in page
    assert "12,345" in page and "On the front: grpo." in page and "runs/grpo" in page


def test_a_folder_with_nothing_to_report(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        write_report(tmp_path)
