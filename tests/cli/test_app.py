"""The command line as a whole: every verb explains itself, errors are one line, exit codes mean something."""

import os
import subprocess
import sys

import pytest
import typer
from pydantic import BaseModel, ValidationError
from typer.testing import CliRunner

from palaestra import __version__
from palaestra.cli import build_app
from palaestra.cli.app import describe

APP = build_app()
VERBS = sorted(typer.main.get_command(APP).commands)
PROMISED = "init list check serve eval train compare score calibrate rescore rlm view doctor".split()  # noqa: SIM905


def run(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "palaestra", *words], capture_output=True, text=True, timeout=120, **options
    )


def test_every_promised_verb_is_there():
    assert not set(PROMISED) - set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb):
    shown = CliRunner().invoke(APP, [verb, "--help"])
    assert shown.exit_code == 0, shown.output
    assert len(shown.output) > 200


def commands(found, path=()):
    """(words, command) of every verb and of every verb below it."""
    inner = getattr(found, "commands", None)
    for name, command in (inner or {}).items():
        yield from commands(command, (*path, name))
    if not inner:
        yield path, found


@pytest.mark.parametrize(
    ("words", "command"),
    commands(typer.main.get_command(APP)),
    ids=lambda v: "-".join(v) if isinstance(v, tuple) else "",
)
def test_help_has_an_example_and_a_word_on_every_parameter(words, command):
    assert "Example" in (command.help or "") + (command.epilog or "")
    assert not [p.name for p in command.params if not getattr(p, "help", None) and p.name != "help"]


def test_completion_of_a_shell():
    variables = {"_PALAESTRA_COMPLETE": "complete_bash", "COMP_WORDS": "palaestra tr", "COMP_CWORD": "1"}
    code = "from palaestra.cli import main; import sys; sys.argv = ['palaestra']; main()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.stdout.split() == ["train"], done.stderr


def test_version():
    assert run("--version").stdout.strip() == __version__


def test_wrong_usage_is_exit_code_2():
    assert run("trian").returncode == 2
    assert run("train").returncode == 2


def test_a_failure_is_one_line_and_exit_code_1(tmp_path):
    done = run("train", str(tmp_path / "missing.toml"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "missing.toml" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("train", "srot")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "'srot'" in done.stderr and "sort" in done.stderr.split("one of those here:")[1]
    done = run("check", "palaestra/Contdown-v0")
    assert done.returncode != 0
    assert "palaestra/Countdown-v0" in done.stderr + done.stdout


def test_a_missing_library_names_its_extra():
    error = ModuleNotFoundError("No module named 'torch'", name="torch.nn")
    assert describe(error) == "this needs torch, which is not installed; pip install 'palaestra[train]'"


def test_a_wrong_value_names_its_field():
    class Section(BaseModel):
        steps: int

    with pytest.raises(ValidationError) as caught:
        Section(steps="many")
    assert describe(caught.value).startswith("steps: Input should be a valid integer")
    assert "'many'" in describe(caught.value)
