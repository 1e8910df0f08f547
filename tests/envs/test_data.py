"""Task files in the layouts of GSM8K, MATH, AIME and DAPO, and what goes wrong with files."""

import csv
import gzip
import json

import pytest

from palaestra.envs.data import final_answer, load, overlap, tasks

GSM8K = {
    "question": "Ann has 3 boxes of 5 pens. How many pens?",
    "answer": "She has 3 * 5 = <<3*5=15>>15 pens.\n#### 15",
}
MATH = {
    "problem": "Compute $1/2 + 1/3$.",
    "level": "Level 1",
    "type": "Algebra",
    "solution": "We get $\\frac{3}{6} + \\frac{2}{6} = \\boxed{\\frac{5}{6}}$.",
}
AIME = {"ID": "2024-I-1", "Problem": "Find the remainder.", "Answer": "073"}
DAPO = {
    "prompt": [{"role": "user", "content": "Solve $x + 1 = 35$."}],
    "reward_model": {"ground_truth": "34", "style": "rule"},
    "extra_info": {"index": "9"},
}


def _write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return str(path)


def test_four_layouts(tmp_path):
    (gsm,) = tasks(_write(tmp_path / "gsm.jsonl", [GSM8K]))
    assert gsm.answer == "15" and gsm.prompt == GSM8K["question"]
    (maths,) = tasks(_write(tmp_path / "math.jsonl", [MATH]))
    assert maths.answer == "\\frac{5}{6}" and maths.metadata == {"level": "Level 1", "subject": "Algebra"}
    (aime,) = tasks(_write(tmp_path / "aime.jsonl", [AIME]))
    assert aime.id == "2024-I-1" and aime.answer == "73"
    (dapo,) = tasks(_write(tmp_path / "dapo.jsonl", [DAPO]))
    assert dapo.answer == "34" and dapo.messages[0].text == "Solve $x + 1 = 35$."


def test_a_task_does_not_serialise_its_answer(tmp_path):
    (task,) = tasks(_write(tmp_path / "gsm.jsonl", [GSM8K]))
    assert "15" not in task.model_dump_json() and "15" not in repr(task)


def test_all_formats_give_the_same_rows(tmp_path):
    rows = [{"question": f"What is {i}+1? é", "answer": str(i + 1)} for i in range(3)]
    expected = [(task.prompt, task.answer) for task in tasks(_write(tmp_path / "a.jsonl", rows))]
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "c.json").write_text(json.dumps({"data": rows}))
    with (tmp_path / "d.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["question", "answer"])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    shards = tmp_path / "shards"
    shards.mkdir()
    _write(shards / "0.jsonl", rows[:2])
    _write(shards / "1.jsonl", rows[2:])
    (shards / "README.md").write_text("not data")
    for name in ("b.json", "c.json", "d.csv", "e.jsonl.gz", "shards"):
        assert [(task.prompt, task.answer) for task in tasks(str(tmp_path / name))] == expected, name


def test_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(arrow.Table.from_pylist([GSM8K, {**GSM8K, "question": "Other?"}]), tmp_path / "g.parquet")
    parquet.write_table(arrow.Table.from_pylist([DAPO]), tmp_path / "d.parquet")
    assert [task.answer for task in tasks(str(tmp_path / "g.parquet"))] == ["15", "15"]
    assert tasks(str(tmp_path / "d.parquet"))[0].answer == "34"
    whole = (tmp_path / "g.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="Parquet"):
        tasks(str(tmp_path / "cut.parquet"))


def test_missing_columns_list_what_was_found(tmp_path):
    path = _write(tmp_path / "x.jsonl", [{"Frage": "1+1?", "Antwort": "2"}])
    with pytest.raises(ValueError, match="found Frage, Antwort"):
        tasks(path)
    (task,) = tasks(path, columns={"question": "Frage", "answer": "Antwort"})
    assert task.answer == "2"
    with pytest.raises(ValueError, match="no column 'Fragen'; found Frage, Antwort"):
        tasks(path, columns={"question": "Fragen", "answer": "Antwort"})
    with pytest.raises(ValueError, match="no role 'antwort'"):
        tasks(path, columns={"antwort": "Antwort"})
    with pytest.raises(ValueError, match="no answer column"):
        tasks(_write(tmp_path / "y.jsonl", [{"question": "1+1?"}]))


def test_bad_rows_are_left_out_with_a_reason(tmp_path):
    rows = [
        {"question": "a?", "answer": "1"},
        {"question": "a?", "answer": "1"},
        {"question": "b?", "answer": ""},
        {"question": "c?", "solution": "no box here"},
        {"question": "d?", "answer": "\\frac{1}{"},
    ]
    path = _write(tmp_path / "x.jsonl", rows)
    loaded = load(path)
    assert [task.prompt for task in loaded.tasks] == ["a?"]
    assert [(d.row, d.reason) for d in loaded.dropped] == [
        (1, "duplicate_prompt"), (2, "empty_answer"), (3, "empty_answer"), (4, "gold_not_verifiable"),
    ]  # fmt: skip
    assert len(load(path, keep_bad=True).tasks) == 3 and len(load(path, limit=1).tasks) == 1


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("x.jsonl", b'{"question": "a", "answer": "1"}\n{oops\n', "line 2: no JSON"),
        ("x.jsonl", b"[1, 2]\n", "line 1: a row must be an object"),
        ("x.json", b'{"rows": []}', "expected a list"),
        ("x.jsonl", b"\xff\xfe\x00", "not UTF-8"),
        ("x.jsonl.gz", b"\x1f\x8b\x08\x00", "gzip"),
        ("x.txt", b"hello", "unknown format"),
    ],
)
def test_malformed_files_are_named(tmp_path, name, content, text):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        tasks(str(path))
    assert str(path) in str(caught.value)


def test_missing_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for source in (str(tmp_path / "no.jsonl"), "nobody/nothing-here"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            tasks(source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has no file"):
        tasks(str(tmp_path / "empty"))


def test_choices_and_other_kinds(tmp_path):
    rows = [
        {"question": "Largest?", "choices": ["ant", "whale"], "answer": 1},
        {"question": "Smallest?", "options": {"A": "ant", "B": "whale"}, "answer": "ant"},
    ]
    first, second = tasks(_write(tmp_path / "c.jsonl", rows), kind="choice")
    assert first.answer == "B" and "(B) whale" in first.prompt and second.answer == "A"
    (raw,) = tasks(
        _write(tmp_path / "r.jsonl", [{"prompt": "def f():", "test": "check(f)", "entry_point": "f"}]), kind="raw"
    )
    assert raw.answer["entry_point"] == "f"
    (text,) = tasks(_write(tmp_path / "t.jsonl", [{"question": "Capital of France?", "answer": "Paris"}]), kind="text")
    assert text.answer == "Paris"
    with pytest.raises(ValueError, match="kind='maths'"):
        tasks("x", kind="maths")


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("a\n#### 1,015", "1,015"),
        ("\\boxed{1} and \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("so $\\boxed 7$.", "7"),
        ("\\fbox{x+1}", "x+1"),
        ("\\boxed{1} and then \\boxed{}", "1"),
        ("\\boxed{1", None),
        ("7", None),
    ],
)
def test_final_answers(solution, answer):
    assert final_answer(solution) == answer


def test_a_list_of_answers_is_all_of_them(tmp_path):
    rows = [{"problem": "Solve.", "final_answer": ["$2$", "$-3$"]}, {"problem": "Add.", "final_answer": ["7"]}]
    first, second = tasks(_write(tmp_path / "o.jsonl", rows))
    assert first.answer == "$2$, $-3$" and second.answer == "7"


def test_overlap_finds_shared_runs_of_words(tmp_path):
    words = [f"w{i}" for i in range(40)]
    train = tasks(_write(tmp_path / "a.jsonl", [{"question": " ".join(words[:20]), "answer": "1"}]))
    test_rows = [
        {"id": "copy", "question": "Well, " + " ".join(words[3:18]).upper(), "answer": "1"},
        {"id": "new", "question": " ".join(words[20:]), "answer": "1"},
    ]
    assert overlap(train, tasks(_write(tmp_path / "b.jsonl", test_rows))) == ["copy"]
