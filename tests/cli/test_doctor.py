"""`palaestra doctor` names what is missing with its fix, whatever is missing."""

import tomllib
from pathlib import Path

import palaestra
from palaestra.cli import doctor

PYPROJECT = Path(palaestra.__file__).parent / "pyproject.toml"


def test_what_is_missing_comes_with_a_fix(monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    found = doctor.examine()
    absent = [finding for finding in found if finding.ok is not True]
    assert {"torch", "transformers", "sympy", "mcp", "docker", "bubblewrap"} <= {finding.what for finding in absent}
    assert not [finding.what for finding in absent if not finding.fix and finding.what != "cuda"]
    assert "pip install 'palaestra[train]'" in {finding.fix for finding in absent}


def test_extras_are_those_of_the_project():
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    for name, (_, extra, _others) in doctor.OPTIONAL.items():
        needed = " ".join(extras[extra])
        assert name in needed or name == "tokenizers", (
            f"{name} is not in the extra {extra}"
        )  # tokenizers comes with transformers


def test_a_port_in_use_is_told():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finding = doctor.check_port(port, "envs")
    assert finding.ok is None and "--port" in finding.fix
