"""The attacks of ``attacks/cases.py`` against every backend that is present, one and four at a time.

The suite runs in PID, mount and IPC namespaces of its own; this module starts it there, once per backend, and turns its
lines into tests.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "attacks" / "suite.py"
BACKENDS = ["C", "I", "bwrap", "docker"]
IDS = [f"A{number:02}" for number in range(1, 49)]
HANG_S = 900


def private_namespaces() -> list[str] | None:
    """The command prefix that gives a program namespaces of its own; None where that is not possible."""
    if shutil.which("unshare") is None:
        return None
    root = os.geteuid() == 0
    prefix = ["unshare", *([] if root else ["--user", "--map-current-user"]), "-m", "-p", "-f", "-i", "--mount-proc"]
    prefix += ["/bin/sh", "-c", '"$@"; exit $?', "sh"]  # a shell as process 1 reaps orphans
    works = subprocess.run([*prefix, "true"], capture_output=True, timeout=60).returncode == 0
    return prefix if works else None


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    """The suites of all backends, started together: they spend much of their time waiting for limits."""
    prefix = private_namespaces()
    if prefix is None and os.geteuid() == 0:
        pytest.skip("no private namespaces here, and this is root: the attacks are not run")
    running = {}
    for backend in BACKENDS:
        output = tmp_path_factory.mktemp("attacks") / backend
        words = [*(prefix or []), sys.executable, str(SUITE), backend, os.readlink("/proc/self/ns/pid")]
        with output.open("w") as file:
            running[backend] = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT), output
    yield running
    for process, _ in running.values():
        process.kill()
        process.wait()


@pytest.fixture(scope="module", params=BACKENDS)
def attacked(request, suites):
    """The lines of one backend's suite, by case and number of copies."""
    process, output = suites[request.param]
    code = process.wait(HANG_S)
    text = output.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    if lines and "skip" in lines[0]:
        pytest.skip(f"backend {request.param} is not available here: {lines[0]['skip']}")
    assert code == 0, f"the suite failed:\n{text[-4000:]}"
    return {(line["id"], line["copies"]): line for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("case", IDS)
def test_attack(attacked, case, copies):
    assert attacked[case, copies]["problems"] == []


@pytest.mark.slow
def test_nothing_is_left_after_close(attacked):
    assert attacked["close", 0]["problems"] == []


def test_every_case_is_there():
    sys.path.insert(0, str(SUITE.parent))
    spec = importlib.util.spec_from_file_location("attack_cases", SUITE.parent / "cases.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["attack_cases"] = module
    spec.loader.exec_module(module)
    assert [case.id for case in module.CASES] == IDS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_the_suite_refuses_to_run_outside_private_namespaces_as_root():
    command = [sys.executable, str(SUITE), "C", os.readlink("/proc/self/ns/pid")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "refused" in done.stderr
