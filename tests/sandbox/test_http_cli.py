"""Running code over HTTP and from the command line."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from palaestra.cli import build_app
from palaestra.sandbox import SandboxError
from palaestra.sandbox.http import router


def client(sandbox):
    app = FastAPI()
    app.include_router(router(sandbox))
    return TestClient(app)


def test_run_over_http(confined):
    http = client(confined)
    answer = http.post(
        "/v1/run", json={"code": "print(input()); open('o', 'w').write('x')", "stdin": "hi", "fetch": ["o"]}
    ).json()
    assert (answer["verdict"], answer["stdout"], answer["files_base64"]) == ("ok", "hi\n", {"o": "eA=="})
    assert answer["isolation"]["level"] == "C" and "net_inet" in answer["isolation"]["tested"]
    tests = [
        {"kind": "call", "id": "a", "function": "f", "args": [1], "expected": 2},
        {"kind": "assert", "id": "b", "code": "assert f(1) == 3"},
    ]
    answer = http.post("/v1/run", json={"code": "def f(x): return x + 1", "tests": tests}).json()
    assert [test["passed"] for test in answer["tests"]] == [True, False]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "either code or argv"),
        ({"code": "", "limits": {"wall_s": -1}}, "Limits.wall_s"),
        ({"code": "", "limits": {"wal": 1}}, "limits:"),
        ({"code": "", "tests": [{"kind": "magic"}]}, "tests[0].kind"),
        ({"code": "", "tests": [{"kind": "stdio", "nope": 1}]}, "tests[0]"),
        ({"code": "", "files": {"../x": ""}}, "relative path"),
        ({"code": "", "files_base64": {"x": "?"}}, ""),
        ({"code": "", "typo": 1}, "typo"),
    ],
)
def test_bad_requests_are_named(confined, body, message):
    answer = client(confined).post("/v1/run", json=body)
    assert answer.status_code == 422 and message in answer.text


def test_a_sandbox_failure_is_503(confined, monkeypatch):
    async def fail(job):
        raise SandboxError("the fork server failed")

    monkeypatch.setattr(confined, "run", fail)
    assert client(confined).post("/v1/run", json={"code": "1"}).status_code == 503


def test_command_line(tmp_path):
    app, runner = build_app(), CliRunner()
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("print(6 * 7)")
    bad.write_text("1/0")
    answer = runner.invoke(app, ["sandbox", "run", str(good), "--json", "--backend", "local"])
    assert answer.exit_code == 0 and json.loads(answer.stdout)["stdout"] == "42\n"
    assert runner.invoke(app, ["sandbox", "run", str(bad), "--backend", "local"]).exit_code == 1
    binary = tmp_path / "binary.py"
    binary.write_bytes(b"print(1)\xff")
    answer = runner.invoke(app, ["sandbox", "run", str(binary), "--backend", "local"])
    assert answer.exit_code != 0 and "not UTF-8 text (byte 8)" in f"{answer.output} {answer.exception}"
