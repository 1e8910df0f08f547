"""For mkdocs: copies the packages into build/docs/palaestra, where the reference reads their docstrings.

The repository root is itself the package, so pointing at it would have the environment, the tests and the build folder
read too.
"""

import re
import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def on_startup(command, dirty):
    """Called by mkdocs before plugins look at their folders."""
    target = ROOT / "build" / "docs" / "palaestra"
    shutil.rmtree(target, ignore_errors=True)
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package in setuptools["packages"]:
        inside = Path(*package.split(".")[1:])
        (target / inside).mkdir(parents=True, exist_ok=True)
        for source in (ROOT / inside).glob("*.py"):
            text = source.read_text(encoding="utf-8")  # "Examples:" is the heading the docstring parser knows
            (target / inside / source.name).write_text(re.sub(r"^( +)Example:$", r"\1Examples:", text, flags=re.M))
