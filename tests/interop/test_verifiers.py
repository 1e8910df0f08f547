"""verifiers' own programs on our environment as a taskset; they live apart from ours (openai 2, mcp 2.0)."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from palaestra.judges.testing import FakeOpenAI

MODULE = """
from palaestra.envs.adapters.verifiers import taskset

Sort = taskset("palaestra/Sort-v0", count=2, digits=3)
__all__ = ["Sort"]
"""


@pytest.fixture
def program(programs, tmp_path):
    """Run one of their programs in a folder with the exported taskset."""
    (tmp_path / "sort_taskset.py").write_text(MODULE)
    path = f"{Path(programs('verifiers', 'vf-eval')).parent}:{os.environ['PATH']}"  # their programs want uv
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(tmp_path), "FAKE_KEY": "x"}

    def run(name, *arguments):
        command = [programs("verifiers", name), "sort_taskset", *arguments, "-o", str(tmp_path / "out")]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)

    return run


def test_gold_passes_and_nothing_done_fails(program, tmp_path):
    done = program("vf-validate", "--runtime.type", "subprocess")
    (summary,) = (tmp_path / "out").rglob("summary.json")
    found = json.loads(summary.read_text())
    assert found["checks"]["gold"]["valid"] == found["checks"]["noop"]["valid"] == found["total"] == 2, done.stderr


def test_their_evaluator_plays_it(program, tmp_path):
    def answer(request):  # right the first time a question comes, wrong the second time
        content = request.messages[-1]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        return "".join(sorted(text)) if request.attempt == 0 else "nothing"

    with FakeOpenAI(answer) as server:
        done = program(
            "vf-eval", "-m", "any", "--client.base-url", server.url, "--client.api-key-var", "FAKE_KEY", "-n", "2",
            "-r", "2", "--no-push", "--no-rich", "--env.agent.harness.id", "null",
            "--env.agent.runtime.type", "subprocess",
        )  # fmt: skip
        assert server.hits == 4
    assert done.stderr.count("reward=1.000") == done.stderr.count("reward=0.000") == 2, done.stderr
