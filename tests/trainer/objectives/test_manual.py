"""The manual page is current, the command lists every row, and the example works."""

import json
import os
import runpy
import shutil
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


def test_an_installed_package_adds_its_objective(tmp_path):
    """The entry point of a real distribution: listed, explained and built like the built-in ones."""
    shutil.copy("examples/own_objective.py", tmp_path / "short_grpo_module.py")
    info = tmp_path / "short_grpo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: short-grpo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[palaestra.objectives]\nshort_grpo = short_grpo_module:SHORT_GRPO\n")
    code = (
        "from palaestra.trainer import objectives as o; from palaestra.cli.app import main; import sys;"
        "assert o.get('short_grpo', {'price': 0.2}).name == 'short_grpo' and 'short_grpo' in o.names();"
        "sys.argv = ['palaestra', 'objectives', 'short_grpo']; main()"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "price" in out.stdout and "Reward taken off a response of full length." in out.stdout
