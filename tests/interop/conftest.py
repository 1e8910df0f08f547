"""The other side's real code: installed packages, or wheels in build/interop that `make interop` downloads.

A wheel is for a peer whose dependencies are too heavy or clash with ours: a file of it is loaded, nothing is installed.
"""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import palaestra
from palaestra.judges.testing import judge_server

WHEELS = Path(palaestra.__file__).parent / "build" / "interop"


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    """A function: name of a package -> the folder its downloaded wheel was unpacked into, or a skip."""

    def unpack(name: str) -> Path:
        wheels = sorted(WHEELS.glob(f"{name}-*.whl"))
        if not wheels:
            pytest.skip(f"no wheel of {name} in build/interop; `make interop` downloads it")
        folder = tmp_path_factory.mktemp(name)
        with zipfile.ZipFile(wheels[-1]) as wheel:
            wheel.extractall(folder)
        return folder

    return unpack


@pytest.fixture(scope="session")
def programs():
    """A function: program of a peer that has an environment of its own -> its path, or a skip."""

    def find(peer: str, program: str) -> str:
        path = WHEELS / peer / "bin" / program
        if not path.exists():
            pytest.skip(f"{peer} is not installed in build/interop/{peer}; `make interop` does that")
        return str(path)

    return find


@pytest.fixture
def load_file(monkeypatch):
    """A function: import one file as a module, with stand-ins for what it imports and does not need here."""

    def load(path: Path, name: str, **stand_ins: ModuleType) -> ModuleType:
        for module, stand_in in stand_ins.items():
            monkeypatch.setitem(sys.modules, module.replace("__", "."), stand_in)
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def exact_judge():
    """A judge server that compares with the label."""
    with judge_server(dialects={"rubric": "exact"}) as url:
        yield url
