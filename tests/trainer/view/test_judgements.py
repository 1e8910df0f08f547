"""Judge statistics of a run: counted from records, with intervals, and never a failure as a score."""

import json

import pytest
from fastapi.testclient import TestClient

from palaestra.trainer.view import create_app
from palaestra.trainer.view.judgements import JudgementIndex, share


def record(step, group, matches=(), ranking=(), **fields):
    result = {"matches": list(matches), "ranking": list(ranking), "stats": {}}
    usage = {"calls": 4, "cache_hits": 1, "prompt_tokens": 10, "completion_tokens": 2, "cost_usd": 0.25}
    base = {
        "step": step,
        "group_id": group,
        "operation": "rank",
        "call": f"call-{step}",
        "usage": usage,
        "result": result,
    }
    return {**base, "judge": {"name": "j", "kind": "llm"}, **fields}


def match(comparison, first, winner, status="ok", calls=1):
    return {
        "a": "x",
        "b": "y",
        "first": first,
        "winner": winner,
        "comparison": comparison,
        "status": status,
        "calls": calls,
    }


@pytest.fixture
def index(tmp_path):
    folder = tmp_path / "judgements"
    folder.mkdir()
    matches = [match(0, "x", "x"), match(0, "y", "x"), match(1, "x", "x"), match(1, "y", "y"), match(2, "x", "tie")]
    matches += [match(3, "x", None, "timeout"), match(4, "x", None, "budget_exhausted", calls=0)]
    ranking = [{"id": "x", "status": "ok"}, {"id": "y", "status": "timeout", "error": {"message": "too slow"}}]
    lines = [
        record(1, "g1", matches, ranking),
        record(1, "g2"),
        {"step": 2, "group_id": "g3", "operation": "rank", "error": "down"},
    ]
    (folder / "step-1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    index = JudgementIndex(folder)
    index.refresh()
    return index


def test_shares_are_of_what_they_say(index):
    found = index.summary()
    assert (found["first"]["part"], found["first"]["n"]) == (3, 4)
    assert (found["ties"]["part"], found["ties"]["n"]) == (1, 5)
    assert (found["failed"]["part"], found["failed"]["n"]) == (1, 6)  # what was never asked did not fail
    assert found["matches"]["unasked"] == 1
    assert (found["disagree"]["part"], found["disagree"]["n"]) == (1, 2)


def test_the_cost_of_a_request_is_counted_once(index):
    found = index.summary()
    assert found["requests"] == 1
    assert found["usage"] == {
        "calls": 4,
        "cache_hits": 1,
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "cost_usd": 0.25,
    }


def test_failures_are_listed_with_their_reason(index):
    found = index.summary()
    assert found["statuses"] == {"ok": 1, "timeout": 1, "request failed": 1}
    assert [(f["group"], f["why"]) for f in found["failures"]] == [("g3", "down"), ("g1", "too slow")]


def test_records_dropped_by_a_resumed_run_are_no_longer_counted(index):
    path = index.files.folder / "step-1.jsonl"
    path.unlink()
    path.write_text(json.dumps(record(1, "g9")) + "\n")
    index.refresh()
    assert len(index) == 1 and list(index.places) == ["g9"]
    assert index.summary()["usage"]["calls"] == 4
    assert index.of_group("g1") == []


def test_an_interval_is_wilsons():
    found = share(8, 10)
    assert found["low"] == pytest.approx(0.4902, abs=1e-4) and found["high"] == pytest.approx(0.9433, abs=1e-4)
    assert share(0, 0) is None
    assert share(0, 5)["low"] == 0.0 and share(0, 5)["high"] < 0.44


def test_a_group_comes_with_its_judgements(library):
    client = TestClient(create_app([library]))
    client.get("/api/runs")
    (rank,) = client.get("/api/runs/ranked/group", params={"id": "g0"}).json()["judgements"]
    assert {row["id"] for row in rank["result"]["ranking"]} == {"r0", "r1", "r2", "r3"}
    rows = client.get("/api/runs/ranked/groups").json()
    assert rows["total"] == 2 and rows["groups"][1] == {
        "id": "g0", "step": 0, "task_id": "Sort:0", "size": 4, "scored": 4, "mean": 0.5, "low": 0.0, "high": 1.0,
        "clusters": 3,
    }  # fmt: skip
