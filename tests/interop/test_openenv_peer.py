"""The newest OpenEnv, in an environment of its own, against our environment server."""

import json
import subprocess
import threading

import pytest

from palaestra.envs.server.app import create_app

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
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(create_app(), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive(), "the server ended before it started"
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/openenv/palaestra/Sort-v0"
    server.should_exit = True
    thread.join(10)


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
