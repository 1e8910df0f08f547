import json

import pytest
from typer.testing import CliRunner

from palaestra.cli import build_app
from palaestra.judges import JudgeService
from palaestra.judges.rubric import Rubric
from palaestra.judges.server.launch import load_config
from palaestra.judges.testing import Fault, Oracle, judge_server


def run(*arguments):
    return CliRunner().invoke(build_app(), [str(a) for a in arguments])


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROWS = (
    {"id": "a", "prompt": "2+2", "response": "\\boxed{4}", "reference": "4", "extra": "ignored"},
    {"id": "b", "prompt": "2+2", "response": "\\boxed{5}", "reference": "4"},
)


def test_score_a_file_in_this_process(tmp_path):
    file = lines(tmp_path / "in.jsonl", *ROWS)
    done = run("score", file, "--out", tmp_path / "out.jsonl")
    assert done.exit_code == 0 and "0.5000" in done.output
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(r["rollout_id"], r["reward"]) for r in out] == [("a", 1.0), ("b", 0.0)]


def test_score_through_a_server_and_with_a_rubric_file(tmp_path):
    rubric = tmp_path / "rubric.json"
    rubric.write_text(
        Rubric.model_validate({"criteria": [{"name": "n", "check": {"type": "number"}}]}).model_dump_json()
    )
    with judge_server(JudgeService()) as url:
        done = run("score", lines(tmp_path / "in.jsonl", *ROWS), "--rubric", rubric, "--url", url, "--json")
    assert [json.loads(line)["reward"] for line in done.output.splitlines() if line.startswith("{")] == [1.0, 0.0]


def test_unscored_items_have_their_own_exit_code(tmp_path):
    done = run("score", lines(tmp_path / "in.jsonl", {"response": "4"}), "--json")
    assert done.exit_code == 3 and '"reward": null' in done.output


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "no items"), ("[1]\n", "object"), ("{\n", "not JSON"), ('{"id":1}\n{"id":"1"}\n', "line 1")],
)
def test_malformed_files_are_named_with_the_line(tmp_path, text, problem):
    file = tmp_path / "in.jsonl"
    file.write_text(text)
    done = run("score", file)
    assert done.exit_code != 0 and problem in str(done.exception)


def test_bracket_list_and_rescore(tmp_path, fake, llm_service):
    from palaestra.judges.replay import ReplayLog

    service = llm_service(
        fake(Oracle(quality=lambda t: float(len(t))), faults=lambda r: Fault("refusal") if "zzz" in r.text else None)
    )
    service.runtime.log = ReplayLog(tmp_path / "log")
    group = {"id": "g", "prompt": "q", "responses": [{"id": str(i), "response": "a" * i} for i in range(1, 5)]}
    (tmp_path / "g.json").write_text(json.dumps(group))
    with judge_server(service) as url:
        shown = run("judges", "bracket", tmp_path / "g.json", "--url", url, "--method", "single_elimination")
        assert "llm" in run("judges", "list", "--url", url).output
    assert shown.exit_code == 0 and "round 1" in shown.output and "group g" in shown.output
    checked = run("rescore", tmp_path / "log", "--check")
    assert checked.exit_code == 0 and "whole and readable" in checked.output
    ranked = json.loads(run("rescore", tmp_path / "log", "--estimator", "lmm", "--json").output.splitlines()[0])
    assert max(ranked["ranking"], key=lambda r: r["reward"])["id"] == "4"
    file = next((tmp_path / "log").glob("*.jsonl"))
    file.write_text(file.read_text().replace('"attempt": 1', '"attempt": 3', 1))
    assert run("rescore", tmp_path / "log", "--check").exit_code == 1


def test_server_configuration(tmp_path):
    file = tmp_path / "judges.toml"
    file.write_text(
        'port = 1234\n[[judge]]\nname = "x"\nmodel = "m"\nbase_url = "http://h/v1"\n'
        '[[rubric]]\nid = "r"\n[[rubric.criteria]]\nname = "c"\ndescription = "d"\n'
    )
    config = load_config(file, port=99, host=None, insecure=False)
    assert (config.port, config.judge[0].name, config.judge[-1].kind, config.rubric[0].id) == (
        99,
        "x",
        "programmatic",
        "r",
    )
    assert load_config(None, model="m", base_url="http://h/v1").default == "llm"
    with pytest.raises(ValueError, match="--model"):
        load_config(None, base_url="http://h/v1")
    file.write_text("prot = 1\n")
    with pytest.raises(ValueError, match="prot"):
        load_config(file)
    file.write_text("[[judge]\n")
    with pytest.raises(ValueError, match="not valid TOML"):
        load_config(file)
    assert run("serve", "judges", "--help").exit_code == 0


def test_configurations_in_the_manual_are_valid():
    import re
    import tomllib
    from pathlib import Path

    import palaestra
    from palaestra.judges.server import JudgeServerConfig

    text = (Path(palaestra.__file__).parent / "docs" / "judges.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.S)
    assert len(blocks) == 2
    for block in blocks:
        JudgeServerConfig.model_validate(tomllib.loads(block))
