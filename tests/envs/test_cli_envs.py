"""The verbs about environments: init, check, list, play, serve."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
from typer.testing import CliRunner

from palaestra.cli import build_app
from palaestra.cli.init import write_package


@pytest.fixture
def run():
    return lambda *arguments, **options: CliRunner().invoke(build_app(), list(arguments), **options)


@pytest.mark.parametrize(("turns", "env_id"), [("one", "fresh_one/Mul-v0"), ("many", "fresh_many/Guess-v0")])
def test_init_writes_a_package_that_passes_check_at_once(tmp_path, run, turns, env_id):
    name = env_id.partition("/")[0]
    done = run("init", name, "--turns", turns, "--into", str(tmp_path))
    assert done.exit_code == 0, done.output
    module = next(p for p in (tmp_path / name / name).glob("*.py") if p.name != "__init__.py")
    checked = run("check", env_id, "--import", str(module), "--json", "--leak-seeds", "5")
    report = json.loads(checked.output)[0]
    assert checked.exit_code == 0 and report["ok"] and report["env_id"] == env_id
    assert next(f for f in report["findings"] if f["rule"].startswith("The gold"))["ok"] is True
    assert f'"{env_id}" = "{name}:' in (tmp_path / name / "pyproject.toml").read_text()


@pytest.mark.slow
def test_an_installed_package_is_found_by_its_entry_point(tmp_path):
    write_package("installed_envs", None, "many", tmp_path)
    root = tmp_path / "installed_envs"
    info = tmp_path / "installed_envs-0.1.0.dist-info"  # what pip leaves behind, without the network
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed_envs\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[palaestra.envs]\ninstalled_envs/Guess-v0 = installed_envs:guess\n")
    program = (
        "import palaestra as pl, gymnasium; from palaestra.envs import list_envs; "
        "assert any(e.id == 'installed_envs/Guess-v0' for e in list_envs()); "
        "print(pl.make('installed_envs/Guess-v0', hi=7).reset(seed=0)[0][0]['content']); "
        "print(gymnasium.make('installed_envs/Guess-v0').reset(seed=0)[0][0]['content'])"
    )
    path = os.pathsep.join([str(tmp_path), str(root)])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout.split("\n")[:2] == ["Guess an integer from 1 to 7.", "Guess an integer from 1 to 20."], (
        done.stderr
    )


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("my-envs", [], "cannot name a package"),
        ("json", [], "cannot name"),
        ("ok", ["--turns", "two"], "choose one or many"),
    ],
)
def test_init_refuses_what_cannot_work(tmp_path, run, name, options, text):
    done = run("init", name, *options, "--into", str(tmp_path))
    assert done.exit_code != 0 and text in str(done.exception) and not list(tmp_path.iterdir())


def test_init_does_not_overwrite(tmp_path, run):
    (tmp_path / "mine").mkdir()
    assert "exists" in str(run("init", "mine", "--into", str(tmp_path)).exception)


def test_check_fails_with_a_reason(tmp_path, run):
    path = tmp_path / "cheap.py"
    path.write_text(
        "import palaestra as pl\n\n@pl.env('cheap/Yes-v0')\ndef yes(rng):\n"
        "    return f'Say {rng.integers(1000)}', lambda response: 1.0\n"
    )
    done = run("check", "cheap/Yes-v0", "--import", str(path))
    assert done.exit_code == 1 and "FAIL" in done.output and "earned 1" in done.output
    assert run("check").exit_code == 2
    assert "did you mean" in str(run("check", "palaestra/Srot-v0").exception)
    assert run("check", "palaestra/Sort-v0", "--set", "digits").exit_code == 2


def test_list(run):
    rows = json.loads(run("list", "--json").output)
    assert {"id", "summary", "knobs"} == set(rows[0])
    assert {row["id"]: row["knobs"] for row in rows}["palaestra/Sort-v0"] == {"digits": 6}
    assert "palaestra/Sort-v0" in run("list").output


def test_play(run):
    done = run("play", "test/Guess-v0", "--seed", "5", input='"""\nI say\nnothing\n.\n' + "x\n" * 5)
    assert done.exit_code == 0 and "Send one integer." in done.output and "return 0" in done.output
    assert "given up" in run("play", "test/Guess-v0", "--seed", "5", input="x\n").output
    assert "did you mean" in str(run("play", "test/Guess-v0", "--set", "high=3").exception)


def test_play_on_a_server(run, shared_server):
    done = run(
        "play", "palaestra/Sort-v0", "--seed", "1", "--url", shared_server.url, "--set", "digits=3", input="459\n"
    )
    assert done.exit_code == 0 and "the end" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_starts_and_stops(tmp_path, how):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "palaestra", "serve", "envs", "--port", str(port), "--env", "palaestra/Sort-v0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/health").json()["status"] == "healthy"
                break
            except httpx.TransportError:
                time.sleep(0.1)
        body = {"env_id": "palaestra/Sort-v0", "seed": 0}
        assert httpx.post(f"http://127.0.0.1:{port}/v1/sessions", json=body).status_code == 200
        process.send_signal(how)
        assert process.wait(20) in (0, -how, 130, 1)
    finally:
        process.kill()
    assert "1 environments" in process.stdout.read()


def test_serve_refuses_other_machines_without_a_token(run):
    done = run("serve", "envs", "--host", "0.0.0.0", env={"PALAESTRA_TOKEN": ""})
    assert done.exit_code != 0 and "token is required" in str(done.exception)
