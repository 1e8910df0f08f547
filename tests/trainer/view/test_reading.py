"""Run folders as they are found: growing, damaged, from somebody else."""

import json

import pytest
from fastapi.testclient import TestClient

from palaestra.trainer.view import create_app
from palaestra.trainer.view.lines import JsonLines
from palaestra.trainer.view.rollouts import Query, RolloutIndex
from palaestra.trainer.view.runs import Run, find_runs


def test_lines_still_being_written_are_left_for_later(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"step": 1}\n{"step"')
    lines = JsonLines(path)
    assert [value for _, _, value in lines.new()] == [{"step": 1}]
    with path.open("a") as file:
        file.write(": 2}\n")
    assert [value for _, _, value in lines.new()] == [{"step": 2}]
    assert lines.notes == []


def test_a_file_cut_back_by_a_resumed_run_is_read_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "reward": 0.1}\n{"step": 2, "reward": 0.2}\n')
    run = Run(tmp_path)
    run.refresh()
    path.write_text('{"step": 1, "reward": 0.9}\n')
    run.refresh()
    assert run.series()["reward"] == [[1, 0.9]]


def test_damage_is_noted_and_the_rest_shown(library):
    run = Run(library / "damaged")
    run.refresh()
    summary = run.summary()
    assert len(run.rows) == 13
    assert run.rows[-1]["reward_mean"] is None
    assert any("config.toml cannot be read" in note for note in summary["notes"])
    assert any("line 13 is not JSON; skipped" in note for note in summary["notes"])
    assert any("line 14 is not an object; skipped" in note for note in summary["notes"])
    json.dumps(summary, allow_nan=False)


def test_runs_are_found_at_the_root_and_below(library):
    assert [p.name for p in find_runs([library])] == ["damaged", "healthy", "hostile"]
    assert [p.name for p in find_runs([library / "healthy"])] == ["healthy"]


def test_filters(library):
    index = RolloutIndex(library / "healthy" / "rollouts")
    index.refresh()
    assert len(index) == 20
    assert index.unscored == 1
    ids = lambda **q: [e.id for e in index.search(Query(**q))]  # noqa: E731
    assert ids(scored="unscored") == ["r7"]
    assert "r7" not in ids(reward_from=0.0)
    assert ids(group="g1") == ["r7", "r6", "r5", "r4"]
    assert ids(text="ANSWER 13") == ["r13"]
    assert ids(reward_from=0.5, step=0) == ["r3", "r1"]


def test_the_list_is_paged(library):
    client = TestClient(create_app([library]))
    assert len(client.get("/api/runs").json()) == 3
    first = client.get("/api/runs/healthy/rollouts", params={"limit": 15}).json()
    rest = client.get("/api/runs/healthy/rollouts", params={"limit": 15, "before": first["next"]}).json()
    assert [r["id"] for r in first["rollouts"] + rest["rollouts"]] == [f"r{i}" for i in reversed(range(20))]
    assert rest["next"] is None


def test_many_rollouts_are_indexed_without_their_text(tmp_path):
    folder = tmp_path / "rollouts"
    folder.mkdir()
    text = "long " * 200
    with (folder / "0.jsonl").open("w") as file:
        for i in range(20_000):
            file.write(
                json.dumps(
                    {
                        "step": i,
                        "rollout": {
                            "id": f"r{i}",
                            "reward": None,
                            "messages": [{"role": "assistant", "content": text}],
                        },
                    }
                )
                + "\n"
            )
    index = RolloutIndex(folder)
    index.refresh()
    assert len(index) == index.unscored == 20_000
    assert not any(text in str(getattr(index.entries[9], name)) for name in index.entries[9].__slots__)
    assert index.load(index.entries[12_345])["rollout"]["id"] == "r12345"


def test_unknown_names_and_folders_are_named(library):
    client = TestClient(create_app([library]))
    client.get("/api/runs")
    assert "no run 'nobody'" in client.get("/api/runs/nobody").json()["detail"]
    assert client.get("/api/runs/healthy/rollouts/999").status_code == 404
    assert client.get("/api/runs/healthy/rollouts?scored=maybe").status_code == 422
    with pytest.raises(FileNotFoundError, match="nowhere"):
        create_app([library / "nowhere"])


def test_paths_outside_the_static_folder_are_refused(library):
    client = TestClient(create_app([library]))
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/runs/..%2f..%2fetc/report.html"):
        assert client.get(path).status_code == 404


def test_every_answer_forbids_foreign_scripts(library):
    client = TestClient(create_app([library]))
    for path in ("/", "/api/runs", "/static/main.js"):
        assert "script-src 'self'" in client.get(path).headers["Content-Security-Policy"]
