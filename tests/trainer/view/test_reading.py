"""Run folders as they are found: growing, damaged, from somebody else."""

import json
import time

import pytest
from fastapi.testclient import TestClient

from palaestra.trainer.view import create_app
from palaestra.trainer.view.lines import JsonLines
from palaestra.trainer.view.rollouts import Query, RolloutIndex
from palaestra.trainer.view.runs import Run, find_runs, thinned


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
    assert [p.name for p in find_runs([library])] == ["damaged", "healthy", "hostile", "ranked"]
    assert [p.name for p in find_runs([library / "healthy"])] == ["healthy"]


def test_filters(library):
    index = RolloutIndex(library / "healthy" / "rollouts")
    index.refresh()
    assert len(index) == 20
    assert index.unscored == 1
    ids = lambda **q: [e.id for e in index.page(Query(**q)).entries]  # noqa: E731
    assert ids(scored="unscored") == ["r7"]
    assert "r7" not in ids(reward_from=0.0)
    assert ids(group="g1") == ["r7", "r6", "r5", "r4"]
    assert ids(text="ANSWER 13") == ["r13"]
    assert ids(reward_from=0.5, step=0) == ["r3", "r1"]
    assert ids(step=2, order="oldest") == ["r8", "r9", "r10", "r11"]
    assert ids(step=2, order="best") == ["r11", "r9", "r10", "r8"]
    assert ids(step=1, order="worst") == ["r4", "r6", "r5"]  # r7 has no reward, and so no place in an order of rewards


def test_the_list_is_paged(library):
    client = TestClient(create_app([library]))
    assert len(client.get("/api/runs").json()) == 4
    first = client.get("/api/runs/healthy/rollouts", params={"limit": 15}).json()
    rest = client.get("/api/runs/healthy/rollouts", params={"limit": 15, "start": first["next"]}).json()
    assert [r["id"] for r in first["rollouts"] + rest["rollouts"]] == [f"r{i}" for i in reversed(range(20))]
    assert rest["next"] is None


def test_many_rollouts_are_indexed_without_their_text(tmp_path):
    folder = tmp_path / "rollouts"
    folder.mkdir()
    with (folder / "0.jsonl").open("w") as file:
        for i in range(20_000):
            text = "straw needle straw" if i == 40 else f"straw {i} " * 40
            rollout = {"id": f"r{i}", "reward": None, "messages": [{"role": "assistant", "content": text}]}
            file.write(json.dumps({"step": i, "rollout": rollout}) + "\n")
    index = RolloutIndex(folder)
    index.refresh(deadline=time.monotonic() + 0.01)
    assert len(index) < 20_000  # the rest is left for the next time
    index.refresh()
    assert len(index) == index.unscored == 20_000
    assert not any("straw" in str(getattr(index.entries[9], name)) for name in index.entries[9].__slots__)
    assert index.load(index.entries[12_345])["rollout"]["id"] == "r12345"
    found, start, pages = [], 0, 0
    while start is not None:  # a search in slices finds what a search in one go finds
        page = index.page(Query(text="NEEDLE"), start, seconds=0.05)
        found, start, pages = found + page.entries, page.next, pages + 1
    assert [entry.id for entry in found] == ["r40"]
    assert pages > 1


def test_pages_do_not_move_while_a_run_grows(library):
    index = RolloutIndex(library / "healthy" / "rollouts")
    index.refresh()
    first = index.page(Query(), limit=5)
    with (library / "healthy" / "rollouts" / "train.jsonl").open("a") as file:
        file.write(json.dumps({"step": 9, "rollout": {"id": "new"}}) + "\n")
    index.refresh()
    second = index.page(Query(), start=first.next, limit=5)
    assert [e.id for e in [*first.entries, *second.entries]] == [f"r{i}" for i in range(19, 9, -1)]


def test_files_that_a_resumed_run_removed_or_rewrote(tmp_path):
    folder = tmp_path / "rollouts"
    folder.mkdir()

    def write(step, names):
        path = folder / f"step-{step}.jsonl"
        path.unlink(missing_ok=True)
        lines = [json.dumps({"step": step, "id": n, "group_id": f"g{step}", "reward": 1}) for n in names]
        path.write_text("".join(line + "\n" for line in lines))

    write(1, "ab")
    write(2, "cd")
    index = RolloutIndex(folder)
    index.refresh()
    key = next(e.key for e in index.known() if e.id == "d")
    write(2, "xyz")
    (folder / "step-1.jsonl").unlink()
    index.refresh()
    assert sorted(e.id for e in index.known()) == ["x", "y", "z"]
    assert len(index) == 3
    assert index.get(key) is None
    assert any("rewritten" in n for n in index.notes) and any("removed" in n for n in index.notes)


def test_what_json_cannot_carry_does_not_break_a_page(tmp_path):
    """Numbers beyond floats, lone surrogates, NUL: a browser gets JSON whatever a run contains."""
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward": 1e999, "loss": NaN, "k": %s}\n' % (10**400))
    line = r'{"id": "\ud800", "reward": 1e999, "group_id": "a/b?c#d", "x": NaN, "messages": [{"content": "\u0000"}]}'
    (tmp_path / "rollouts" / "a.jsonl").write_text(line + "\n")
    client = TestClient(create_app([tmp_path]))
    (run,) = client.get("/api/runs").json()
    assert run["rollouts"] == run["unscored"] == 1
    name = f"/api/runs/{run['name']}"
    assert client.get(name).json()["series"] == {}
    assert client.get(f"{name}/rollouts/0").json()["line"]["messages"] == [{"content": "\0"}]
    assert client.get(f"{name}/group", params={"id": "a/b?c#d"}).status_code == 200
    assert client.get(f"{name}/rollouts/0/raw").text == line + "\n"


SHAPES = [None, True, 7, "text", [], [1, "a", None], {}, {"a": 1}]


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_fields_of_any_shape(tmp_path, shape):
    fields = ("messages", "turns", "feedback", "children", "scores", "metrics", "reward", "id", "task_id", "group_id")
    (tmp_path / "config.toml").write_text("env = 3\n")
    for folder in ("rollouts", "judgements", "evals"):
        (tmp_path / folder).mkdir()
    lines = [{"step": shape, "rollout": dict.fromkeys(fields, shape), "advantage": shape, "cluster": shape}]
    lines += [{"turns": [shape], "messages": [shape], "children": [shape], "feedback": [shape]}]
    (tmp_path / "rollouts" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = {"ranking": [shape], "matches": [{"winner": shape, "comparison": shape}], "results": shape}
    records = [{"operation": shape, "group_id": shape, "judge": shape, "usage": shape, "call": "c", "result": result}]
    records += [{"result": shape, "error": shape, "usage": {"calls": shape, "cost_usd": shape}, "call": "d"}]
    (tmp_path / "judgements" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records))
    (tmp_path / "evals" / "a.json").write_text(json.dumps({"step": 1, "pass_at": {"1": shape}, "tasks": shape}))
    client = TestClient(create_app([tmp_path]))
    name = client.get("/api/runs").json()[0]["name"]
    paths = ["", "/rollouts", "/rollouts?text=a", "/rollouts/0", "/rollouts/1", "/groups", "/judge"]
    for path in paths:
        assert client.get(f"/api/runs/{name}{path}").status_code == 200, path


def test_long_curves_are_thinned_without_losing_extremes():
    values = [[step, 0.0] for step in range(10_000)]
    values[777][1], values[8_888][1] = -5.0, 9.0
    kept = thinned(values, 100)
    assert len(kept) < 210
    assert [777, -5.0] in kept and [8_888, 9.0] in kept and kept[0] == [0, 0.0] and kept[-1] == [9_999, 0.0]
    assert thinned(values[:50], 100) == values[:50]


def test_only_names_of_this_machine_are_answered(library):
    client = TestClient(create_app([library], hosts=("localhost",)), base_url="http://localhost:8500")
    assert client.get("/api/runs").status_code == 200
    assert client.get("/api/runs", headers={"host": "attacker.example"}).status_code == 400


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
