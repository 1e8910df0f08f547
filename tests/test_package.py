"""The package as it is installed: complete, light, and with no name that shadows the standard library."""

import subprocess
import sys
import tomllib
from pathlib import Path

import palaestra

ROOT = Path(palaestra.__file__).parent
NOT_PACKAGES = {"tests", "examples", "benchmarks", "docs", "build", "dist", "runs", "site"}


def _config() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed():
    found = {"palaestra"}
    for init in ROOT.rglob("__init__.py"):
        parts = init.parent.relative_to(ROOT).parts
        if parts and not parts[0].startswith(".") and parts[0] not in NOT_PACKAGES:
            found.add(".".join(("palaestra", *parts)))
    assert sorted(_config()["tool"]["setuptools"]["packages"]) == sorted(found)


def test_no_root_name_shadows_the_standard_library():
    names = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not names & set(sys.stdlib_module_names) - {"__future__"}


def test_every_dependency_states_its_reason():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [") + 1
    for line in lines[start : lines.index("]", start)]:
        assert "#" in line, f"no reason beside {line.strip()}"


def test_core_imports_touch_no_heavy_library():
    code = (
        "import sys, palaestra, palaestra.envs, palaestra.judges, palaestra.sandbox, palaestra.rlm, palaestra.lm\n"
        "heavy = {'torch', 'transformers', 'docker', 'vllm', 'datasets', 'sympy', 'matplotlib', 'reasoning_gym'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_public_names_exist():
    for name in palaestra.__all__:
        assert getattr(palaestra, name) is not None
