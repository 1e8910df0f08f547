"""The programs and commands of docs/rlm.md do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import palaestra
from palaestra.judges.testing import FakeOpenAI
from palaestra.rlm import Limits
from palaestra.rlm.tasks import FAMILIES
from palaestra.rlm.testing import block

ROOT = Path(palaestra.__file__).parent
PAGE = (ROOT / "docs" / "rlm.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    with FakeOpenAI(script=lambda request: block("submit(context.count('lift'))")) as server:
        for source in BLOCK.findall(PAGE):
            exec(compile(source.replace("http://127.0.0.1:8000/v1", server.url), "docs/rlm.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "answered 50000" in printed and "['3, a leaf says: hi', '5, a leaf says: hi']" in printed
    assert "<svg" not in (tmp_path / "t.html").read_text() and names["task"].meta["baselines"]


@pytest.mark.parametrize("name", Limits.__dataclass_fields__)
def test_every_limit_is_described(name):
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", FAMILIES)
def test_every_knob_of_a_family_is_named(name):
    import inspect

    (row,) = [line for line in PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
    for knob in list(inspect.signature(FAMILIES[name]).parameters)[2:]:
        assert f"`{knob}`" in row or knob == "ask"


def test_every_option_of_the_command_is_named():
    import typer

    from palaestra.cli import build_app

    command = typer.main.get_command(build_app()).commands["rlm"]
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    told = set(re.findall(r"--[a-z-]+", PAGE))
    assert options - told <= {"--question", "--seed", "--help"} and "`--model`" in PAGE


def test_every_knob_of_the_environment_is_named():
    from palaestra.envs.repl.env import KNOBS

    section = PAGE.split("## The environment")[1].split("## Tasks")[0]
    assert all(f"`{name}`" in section for name in KNOBS)
