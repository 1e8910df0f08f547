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
    assert "not all UTF-8; 1 characters were replaced" in result.output
    assert "2 of 200 sub-calls, 0 open" in result.output


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


@pytest.mark.parametrize(
    "name,options,words",
    [
        (".", (), "is a directory"),
        ("none.txt", (), "does not exist"),
        ("binary", (), "is not text"),
        ("a.txt", ("--html", "/nowhere/t.html"), "cannot be written"),
        ("a.txt", ("--trace", "/nowhere/t.jsonl"), "cannot be written"),
        ("a.txt", ("--repl", "vm"), "repl is 'vm'"),
        ("a.txt", ("--max-turns", 0), "max_turns is 0"),
        ("a.txt", ("-q", " "), "--question is empty"),
    ],
)
def test_bad_input_is_explained_before_anything_is_asked(tmp_path, name, options, words):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "binary").write_bytes(b"%PDF-1.7\n\x00\x01")
    with FakeOpenAI(script=["x"]) as server:
        result = invoke(tmp_path / name, "-q", "?", "--model", f"m@{server.url}", *options)
        assert server.hits == 0
    output = "".join(result.output.replace("│", " ").split())
    assert result.exit_code == 2 and "".join(words.split()) in output


def test_a_large_tree_stays_on_the_screen():
    from rich.console import Console

    from palaestra.cli.rlm import LiveTree
    from palaestra.rlm import Limits, Node

    view = LiveTree(Limits(max_total_tokens=9_000))
    view.hear("open", Node("0", None, -1, 0, 0, "rlm", 0))
    for i in range(40):
        child = Node(f"0/0.{i}", "0", 0, i, 1, "rlm", 0, status="answered" if i < 39 else "")
        view.hear("open", child)
        for j in range(5):
            view.hear("open", Node(f"{child.id}/0.{j}", child.id, 0, j, 2, "llm", 0, status=child.status))
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(view.render())
    text = console.export_text()
    assert len(text.splitlines()) < 24 and "28 earlier sub-calls, 28 done" in text and "(5 sub-calls)" in text
    assert "240 of 200 sub-calls, 5 open" in text and "of 9,000 tokens" in text


def test_terminal_is_not_driven_by_model_text():
    from palaestra.cli.rlm import line
    from palaestra.rlm import Node

    node = Node("0/0.0", "0", 0, 0, 1, "llm", 0, messages=[{"role": "user", "content": "\x1b[2Jhi\nthere"}])
    assert "\x1b" not in line(node).plain and "\n" not in line(node).plain
