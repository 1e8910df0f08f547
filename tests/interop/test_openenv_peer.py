"""The newest OpenEnv, in an environment of its own, against our environment server."""

import json
import subprocess

import pytest

from palaestra.envs.server.app import create_app
from palaestra.judges.testing import serving

PLAY = """
import json, sys
from openenv.core.generic_client import GenericEnvClient
with GenericEnvClient(base_url=sys.argv[1]).sync() as client:
    first = client.reset(seed=3)
    state = client.state()
    shown = first.observation["messages"][0]["content"]
    last = client.step({"text": "".join(sorted(shown))})
print(json.dumps({"reward": last.reward, "done": last.done, "state": state}))
"""


@pytest.fixture(scope="module")
def address():
    with serving(create_app()) as url:
        yield f"{url}/openenv/palaestra/Sort-v0"


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_their_validator_passes(programs, address):
    done = run([programs("openenv", "openenv"), "validate", "--url", address, "--json"])
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert done.returncode == 0 and report["passed"], done.stdout + done.stderr


def test_their_client_plays(programs, address):
    done = run([programs("openenv", "python"), "-c", PLAY, address])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["reward"] == 1.0 and found["done"] is True
