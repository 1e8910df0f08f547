"""The compare verb: its arguments, before anything is trained."""

import typer
from typer.testing import CliRunner

from palaestra.cli import compare as verb


def run(*arguments):
    app = typer.Typer()
    verb.register(app)
    return CliRunner().invoke(app, list(arguments))


def test_help_shows_examples():
    shown = run("--help")
    assert shown.exit_code == 0 and "palaestra compare run.toml" in shown.output


def test_bad_seeds_and_objectives_are_named(tmp_path):
    out = ["--out", str(tmp_path / "c")]
    assert run("sort", "--objectives", "grpo", "--seeds", "0,x", *out).exit_code == 2
    failed = run("demo-sort", "--objectives", "grppo", *out)
    assert failed.exit_code == 1 and "did you mean 'grpo'" in str(failed.exception)
    failed = run("demo-sort", "--objectives", "grpo,arena", *out)
    assert failed.exit_code == 1 and "judge.url" in str(failed.exception)
    assert not (tmp_path / "c").exists()
