"""The manual page is current, the command lists every row, and the example works."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from palaestra.trainer import objectives
from palaestra.trainer.objectives import manual, registry


@pytest.fixture
def only_builtin(monkeypatch):
    monkeypatch.setattr(registry, "_outside", dict)
    monkeypatch.setattr(registry, "_REGISTERED", {})


def test_page_is_current(only_builtin):
    stored = Path("docs/objectives.md").read_text(encoding="utf-8")
    fix = "run `python -m palaestra.trainer.objectives.manual > docs/objectives.md`"
    assert stored == manual.page(), fix


def test_every_parameter_is_explained(only_builtin):
    for row in objectives.rows():
        notes = manual.documentation(row.params)
        silent = [name for name in row.params.model_fields if not notes.get(name)]
        assert not silent, f"{row.name}: {silent}"


def app():
    import typer

    from palaestra.cli import objectives as verb

    made = typer.Typer()
    verb.register(made)
    return made


def test_command_lists_and_explains():
    runner = CliRunner()
    rows = json.loads(runner.invoke(app(), ["--json"]).output)
    assert {row["name"] for row in rows} >= {"grpo", "sdpo", "darling", "arena"}
    shown = runner.invoke(app(), ["uniqueness"]).output
    assert "alpha" in shown and "2601.08763" in shown
    assert "grpo" in runner.invoke(app(), []).output
    failed = runner.invoke(app(), ["grop"])
    assert failed.exit_code == 1 and "did you mean 'grpo'" in str(failed.exception)


def test_example_runs_and_registers():
    out = subprocess.run([sys.executable, "examples/own_objective.py"], capture_output=True, text=True, check=True)
    assert "advantages" in out.stdout


def test_example_builds(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})
    space = runpy.run_path("examples/own_objective.py")
    objectives.register(space["SHORT_GRPO"])
    assert objectives.get("short_grpo", {"price": 0.5}).shape is not None
    with pytest.raises(objectives.ObjectiveError, match="did you mean 'price'"):
        objectives.get("short_grpo", {"prize": 1})
