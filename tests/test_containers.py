"""The container files agree with the project; with a daemon and a built image, both servers run confined."""

import json
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import httpx
import pytest

import palaestra
from palaestra.cli.demo.servers import free_port
from palaestra.envs import HttpEnv
from palaestra.judges import JudgeClient

ROOT = Path(palaestra.__file__).parent
IMAGE = "palaestra"
CONFINED = ["--network=host", "--read-only", "--tmpfs=/tmp", "--tmpfs=/work", "--cap-drop=ALL",
            "--security-opt=no-new-privileges"]  # fmt: skip
TOKEN = "a-token-of-the-tests"


def test_the_build_context_holds_every_package_and_nothing_else():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {name.split(".")[1] for name in packages if "." in name}
    assert folders <= kept
    assert kept - folders <= {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE", "py.typed", "*.py"}


def test_compose_offers_nothing_beyond_this_machine():
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"envs", "judges", "trainer", "policy"}
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    for name in ("envs", "judges"):
        assert services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"]
        assert any("TOKEN" in key and ":?" in value for key, value in services[name]["environment"].items())


@pytest.fixture
def container():
    """A function: run a server in a container until it answers."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    found = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, text=True, timeout=30)
    if found.returncode:
        pytest.skip(f"no daemon, or no image: `docker build -t {IMAGE} .` ({found.stderr.strip()[:100]})")
    started = []

    def run(kind, variable):
        port = free_port()
        command = ["docker", "run", "-d", *CONFINED, "-e", f"{variable}={TOKEN}", IMAGE]
        command += ["serve", kind, "--host", "0.0.0.0", "--port", str(port)]
        started.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{url}/healthz", timeout=2).status_code == 200:
                    return url, started[-1]
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError(subprocess.run(["docker", "logs", started[-1]], capture_output=True, text=True).stderr)

    yield run
    for name in started:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True)


@pytest.mark.docker
def test_both_servers_work_confined_and_end_cleanly(container):
    envs, first = container("envs", "PALAESTRA_TOKEN")
    judges, second = container("judges", "PALAESTRA_JUDGE_TOKENS")
    env = HttpEnv(envs, "palaestra/Sort-v0", token=TOKEN, digits=3)
    prompt = env.reset(seed=1)[0][-1]["content"]
    assert env.step("".join(sorted(prompt)))[1] == 1.0
    item = {"id": "a", "prompt": "", "response": "4", "reference": "4"}
    assert JudgeClient(judges, token=TOKEN).score_sync([item], "exact")[0].reward == 1.0
    for name in (first, second):
        subprocess.run(["docker", "stop", "-t", "30", name], capture_output=True, check=True)
        state = json.loads(subprocess.run(["docker", "inspect", name], capture_output=True, text=True).stdout)[0][
            "State"
        ]
        assert state["ExitCode"] == 0
