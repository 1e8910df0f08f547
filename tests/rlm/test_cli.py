"""`palaestra rlm` against a fake server."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from palaestra.cli import build_app
from palaestra.judges.testing import FakeOpenAI
from palaestra.rlm import Trace
from palaestra.rlm.testing import block


def script(request):
    return block("submit(llm_batch(['x', 'y'])[0] + str(len(context)))") if "Turn 1" in request.last else "sub"


def invoke(*args):
    return CliRunner().invoke(build_app(), ["rlm", *map(str, args)])


def test_answer_trace_and_html(tmp_path):
    (tmp_path / "a.txt").write_text("word " * 1000)
    with FakeOpenAI(script=script) as server:
        result = invoke(
            tmp_path / "a.txt", "-q", "How long?", "--model", f"m@{server.url}", "--html", tmp_path / "t.html",
            "--trace", tmp_path / "t.jsonl", "--json",
        )  # fmt: skip
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)
    assert row["answer"] == "sub5000" and row["status"] == "answered" and row["usage"]["total"]["calls"] == 3
    assert "How long?" in (tmp_path / "t.html").read_text()
    assert Trace.load(tmp_path / "t.jsonl").root.answer == "sub5000"


def test_live_view_several_files_and_a_second_model(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"\xff" + name.encode())
    with FakeOpenAI(script=script) as server, FakeOpenAI(script=["other"]) as second:
        result = invoke(
            tmp_path / "a", tmp_path / "b", "-q", "?", "--model", server.url, "--sub-model", f"s@{second.url}"
        )
        assert second.hits == 2
    assert result.exit_code == 0, result.output
    assert "other2" in result.output and "3 requests" in result.output


def test_exit_codes(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with FakeOpenAI(script=["no code at all"]) as server:
        assert invoke(tmp_path / "a.txt", "-q", "?", "--model", f"m@{server.url}").exit_code == 3
        assert invoke(tmp_path / "a.txt", "-q", "?", "--model", f"m@{server.url}", "--max-tokens", 10).exit_code == 4
    with FakeOpenAI(script=["x"], faults=None) as server:
        url = server.url
    assert invoke(tmp_path / "a.txt", "-q", "?", "--model", f"m@{url}", "--seconds", 5).exit_code in (4, 5)


@pytest.mark.parametrize(
    "model,words", [("gpt", "is not a server"), ("http://127.0.0.1:9/v1", "does not list a model")]
)
def test_bad_models_are_explained(tmp_path, model, words):
    (tmp_path / "a.txt").write_text("x")
    result = invoke(tmp_path / "a.txt", "-q", "?", "--model", model)
    assert result.exit_code == 2 and words in " ".join(result.output.split()).replace(" │ │ ", " ")


def test_a_directory_is_refused(tmp_path):
    result = invoke(tmp_path, "-q", "?", "--model", "m@http://127.0.0.1:9/v1")
    assert result.exit_code == 2


def test_terminal_is_not_driven_by_model_text():
    from palaestra.cli.rlm import line
    from palaestra.rlm import Node

    node = Node("0/0.0", "0", 0, 0, 1, "llm", 0, messages=[{"role": "user", "content": "\x1b[2Jhi\nthere"}])
    assert "\x1b" not in line(node).plain and "\n" not in line(node).plain
