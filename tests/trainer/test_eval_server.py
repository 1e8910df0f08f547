"""`palaestra eval` against an OpenAI-compatible server on a real socket; failures are unscored, never wrong."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from palaestra.cli.app import build_app
from palaestra.judges.testing import FakeOpenAI, Fault

PROBLEMS = [
    {"question": "What is 2+2?", "answer": "4"},
    {"question": "What is 7*6?", "answer": "42"},
    {"question": "Half of 1?", "answer": "1/2"},
    {"question": "What is 10-3?", "answer": "7"},
]


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    return path


def run(*arguments):
    return CliRunner().invoke(build_app(), ["eval", *map(str, arguments)])


def right(request):
    return {"2+2": "\\boxed{4}", "7*6": "It is \\boxed{42}.", "Half": "\\boxed{0.5}"}.get(
        next((k for k in ("2+2", "7*6", "Half") if k in request.last), ""), "\\boxed{1000}"
    )


def test_a_file_of_problems_is_played_once_a_sample(problems, tmp_path):
    with FakeOpenAI(script=right) as server:
        result = run("--env", "palaestra/Math-v0", "--tasks", problems, "--model", server.url, "--out", tmp_path / "r",
                     "--samples", 2, "--pass-at", "1,2", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.strip().splitlines()[-1])
    assert report["rollouts"] == 8
    assert report["unscored"] == 0
    assert sorted(task["right"] for task in report["tasks"]) == [0, 2, 2, 2]
    assert report["pass_at"]["1"]["value"] == report["pass_at"]["2"]["value"] == 0.75
    assert report["pass_at"]["1"]["low"] <= 0.75 <= report["pass_at"]["1"]["high"]
    assert json.loads((tmp_path / "r/report.json").read_text())["unscored"] == 0
    rollouts = [json.loads(line) for line in (tmp_path / "r/rollouts.jsonl").read_text().splitlines()]
    assert len(rollouts) == 8
    assert len({r["task_id"] for r in rollouts}) == 4


def test_failed_calls_are_unscored_and_not_wrong(problems, tmp_path):
    def faults(request):
        return Fault("bad_request") if "10-3" in request.last else None

    with FakeOpenAI(script=right, faults=faults) as server:
        result = run("--env", "palaestra/Math-v0", "--tasks", problems, "--model", server.url, "--out", tmp_path / "r")
    assert result.exit_code == 0, result.output
    assert "1 unscored" in result.stdout
    assert "1.000" in result.stdout
    report = json.loads((tmp_path / "r/report.json").read_text())
    assert report["pass_at"]["1"] == {"value": 1.0, "low": 1.0, "high": 1.0, "tasks": 3}
    lost = [r for r in map(json.loads, (tmp_path / "r/rollouts.jsonl").read_text().splitlines()) if r["reward"] is None]
    assert len(lost) == 1
    assert "LMBadRequest" in lost[0]["error"]


def test_generated_environments_and_servers_that_are_down(tmp_path):
    with FakeOpenAI(script=lambda r: "".join(sorted(r.last))) as server:
        result = run(
            "--env", "palaestra/Sort-v0", "--model", server.url, "--limit", 5, "--out", tmp_path / "r", "--json"
        )
        assert json.loads(result.stdout.strip().splitlines()[-1])["pass_at"]["1"]["value"] == 1.0
    down = run("--env", "palaestra/Sort-v0", "--model", server.url, "--out", tmp_path / "r")
    assert down.exit_code == 2
    assert "is the server up?" in " ".join(down.output.split())
    named = run(
        "--env", "palaestra/Sort-v0", "--model", server.url, "--name", "x", "--limit", 1, "--out", tmp_path / "r"
    )
    assert named.exit_code == 1
    assert "no rollout could be scored" in named.output


def test_local_checkpoints_too(tmp_path):
    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    load_policy(PolicyConfig(characters="0123456789", layers=1, hidden=32)).save(tmp_path / "m")
    result = run("--env", "palaestra/Sort-v0", "--model", tmp_path / "m", "--limit", 4, "--max-new-tokens", 7, "--json",
                 "--out", tmp_path / "r", "--set", "digits=2")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.strip().splitlines()[-1])["rollouts"] == 4
