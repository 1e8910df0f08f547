"""`palaestra init`: write a package with one environment that passes `palaestra check` at once."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "0.1.0"
description = "Environments for language-model agents"
requires-python = ">=3.11"
dependencies = ["palaestra"]

# The name is the environment's id, the value the decorated function.
[project.entry-points."palaestra.envs"]
"{env_id}" = "{package}:{function}"

[tool.setuptools]
packages = ["{package}"]
"""

_INIT = '''\
"""Environments of {package}."""

from .{function} import {function}

__all__ = ["{function}"]
'''

_SINGLE = '''\
"""{env_id}: a question with one answer. Change the two lines that draw and ask; the rest can stay."""

import palaestra as pl


@pl.env("{env_id}")
def {function}(rng, hi=99):
    """Multiply two integers."""  # the line `palaestra list` shows
    a, b = rng.integers(2, hi, 2)  # draw from rng only, so that a seed names the task
    return f"What is {{a}}*{{b}}? Put it in \\\\boxed{{{{}}}}.", int(a * b)  # prompt and answer
'''

_MULTI = '''\
"""{env_id}: a conversation. Yield what the policy sees, receive its reply, return the reward."""

import re

import palaestra as pl


@pl.env("{env_id}")
def {function}(rng, hi=20):
    """Guess a number from hints."""
    n = int(rng.integers(1, hi + 1))
    reply = yield f"Guess an integer from 1 to {{hi}}."
    for _ in range(5):
        match = re.search(r"\\d{{1,9}}", reply)
        if match and int(match[0]) == n:
            return 1.0
        reply = yield "Send one integer." if not match else "higher" if int(match[0]) < n else "lower"
    return 0.0, "No guess was right."


@{function}.oracle  # replies that are right, for `palaestra check`; it draws what the environment drew
def _solve(rng, hi=20):
    yield str(int(rng.integers(1, hi + 1)))
'''

_TEST = """\
from palaestra.envs.check import check

import {package}  # noqa: F401 - registers the environment


def test_contract():
    report = check("{env_id}")
    assert report.ok, [finding for finding in report.findings if finding.ok is False]
"""

_README = """\
# {package}

An environment for [Palaestra](https://pypi.org/project/palaestra/).

    pip install -e .
    palaestra check {env_id}
    palaestra play {env_id}
    python -m pytest
"""


def register(app: typer.Typer) -> None:
    """Add the verb to ``app``."""

    @app.command(
        help="Write a package with one environment that passes `palaestra check` at once.\n\n"
        "Examples: `palaestra init my_envs`, `palaestra init my_envs --env my/Guess-v0 --turns many`"
    )
    def init(
        name: Annotated[str, typer.Argument(help="Name of the package, and of the folder it is written to.")],
        env: Annotated[str | None, typer.Option(help="Id of the environment; NAME/Mul-v0 by default.")] = None,
        turns: Annotated[str, typer.Option(help="one: a question and its answer; many: a conversation.")] = "one",
        into: Annotated[Path, typer.Option(help="Folder in which the package's folder is made.")] = Path("."),
    ) -> None:
        for path in write_package(name, env, turns, into):
            typer.echo(f"wrote {path}")
        target = into / name
        typer.echo(f"\nnext: pip install -e {target} && palaestra check {env or _default_id(name, turns)}")


def write_package(name: str, env_id: str | None, turns: str, into: Path) -> list[Path]:
    """Write the package and return its files.

    Raises:
        ValueError: the name is no package name, or ``turns`` is neither ``one`` nor ``many``.
        FileExistsError: the folder exists.
    """
    from ..envs.registry import parse_env_id

    if not name.isidentifier() or keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "palaestra":
        raise ValueError(f"{name!r} cannot name a package; use letters, digits and underscores, e.g. my_envs")
    if turns not in ("one", "many"):
        raise ValueError(f"turns={turns!r}: choose one or many")
    env_id = env_id or _default_id(name, turns)
    parse_env_id(env_id)
    root = into / name
    if root.exists():
        raise FileExistsError(f"{root} exists; choose another name or folder")
    function = _function_name(env_id)
    values = {"package": name, "env_id": env_id, "function": function}
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"{name}/__init__.py": _INIT,
        f"{name}/{function}.py": _SINGLE if turns == "one" else _MULTI,
        "tests/test_contract.py": _TEST,
    }
    written = []
    for relative, template in files.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template.format(**values), encoding="utf-8")
        written.append(path)
    return written


def _default_id(name: str, turns: str) -> str:
    return f"{name}/{'Mul' if turns == 'one' else 'Guess'}-v0"


def _function_name(env_id: str) -> str:
    """``my/GuessNumber-v0`` as ``guess_number``."""
    base = re.sub(r"-v\d+$", "", env_id.rpartition("/")[2])
    snake = re.sub(r"\W+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", base)).strip("_").lower()
    return snake if snake.isidentifier() and not keyword.iskeyword(snake) else f"env_{snake}"
