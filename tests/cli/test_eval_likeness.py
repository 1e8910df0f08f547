"""`palaestra eval` with several samples and models: homogeneity and model identity beside pass@k."""

import json

import pytest
from typer.testing import CliRunner

from palaestra.cli._likeness import show_likeness, write_likeness
from palaestra.cli.app import build_app
from palaestra.judges.base import Judge
from palaestra.judges.context import RawVerdict
from palaestra.judges.service import JudgeService
from palaestra.judges.testing import judge_server
from palaestra.schema import Message, RewardStatus, Rollout


def rollout(task, n, text, error=None):
    messages = (Message(role="user", content=task), Message(role="assistant", content=text))
    return Rollout(id=f"{task}-{n}", task_id=task, group_id=task, env_id="e", messages=messages, error=error)


def test_same_words_are_alike_and_give_their_model_away(tmp_path, capsys):
    same = [rollout(f"t{t}", n, f"the red house of story {t}") for t in range(8) for n in range(3)]
    other = [rollout(f"t{t}", n, f"eleven {n} blue {n * 7} birds {t}") for t in range(8) for n in range(3)]
    found = write_likeness(tmp_path, {"a": same, "b": other})
    policies = found["homogeneity"]["policies"]
    assert policies["a"]["mean"] == pytest.approx(1.0) and policies["b"]["mean"] < 0.9
    assert policies["a|b"]["mean"] < 0.5
    assert found["identity"]["none"]["accuracy"] == 1.0
    for name in ("homogeneity", "identity"):
        assert json.loads((tmp_path / f"{name}.json").read_text()) == found[name]
    show_likeness(found)
    shown = capsys.readouterr().out
    assert "between models" in shown and "who wrote it" in shown


def test_what_cannot_be_compared_is_left_out(tmp_path):
    single = [rollout("t0", 0, "one"), rollout("t1", 0, "two")]
    assert write_likeness(tmp_path, {"a": single}) == {}
    broken = [rollout("t0", n, "", error="the environment failed") for n in range(3)]
    assert write_likeness(tmp_path, {"a": broken}) == {}
    assert not list(tmp_path.iterdir())
    twice = write_likeness(tmp_path, {"a": [rollout("t0", n, "one") for n in range(2)]})
    assert twice["homogeneity"]["policies"]["a"]["floor"] is None  # one task has no other to be compared with


def test_the_verb_compares_two_models(tmp_path):
    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    for seed in (0, 1):
        load_policy(PolicyConfig(characters="0123456789", layers=1, hidden=16), seed=seed).save(tmp_path / f"m{seed}")
    arguments = ["eval", "--env", "palaestra/Sort-v0", "--set", "digits=3", "--samples", "3", "--limit", "6", "--json"]
    arguments += ["--model", str(tmp_path / "m0"), "--against", str(tmp_path / "m1"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(build_app(), [*arguments, "--max-new-tokens", "6"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report["homogeneity"]["policies"]) >= {str(tmp_path / "m0"), str(tmp_path / "m1")}
    assert report["identity"]["none"]["n"] > 0
    (other,) = report["against"].values()
    assert [t["task_id"] for t in other["tasks"]] == [t["task_id"] for t in report["tasks"]]
    assert (tmp_path / "out" / "against-1" / "rollouts.jsonl").exists()


class Longest(Judge):
    """Prefers the longer of two replies."""

    kind, capabilities, graded = "simulated", ("compare",), False

    async def compare(self, question, context):
        gap = len(question.first) - len(question.second)
        return RawVerdict(RewardStatus.OK, {"winner": "tie" if gap == 0 else "first" if gap > 0 else "second"})


def test_the_verb_votes_and_asks_a_judge(tmp_path):
    from palaestra.trainer.config import PolicyConfig
    from palaestra.trainer.policy import load_policy

    for seed in (0, 1):
        load_policy(PolicyConfig(characters="0123456789", layers=1, hidden=16), seed=seed).save(tmp_path / f"m{seed}")
    arguments = ["eval", "--env", "palaestra/Sort-v0", "--set", "digits=1", "--samples", "4", "--limit", "6", "--json"]
    arguments += ["--model", str(tmp_path / "m0"), "--out", str(tmp_path / "out"), "--max-new-tokens", "3"]
    contrast = CliRunner().invoke(build_app(), [*arguments, "--amateur", str(tmp_path / "m1")])
    assert contrast.exit_code == 0 and "against" in json.loads(contrast.stdout)["policy"]
    remote = [*arguments, "--model", "http://127.0.0.1:9", "--amateur", str(tmp_path / "m1")]
    assert CliRunner().invoke(build_app(), remote).exit_code == 2
    no_other = CliRunner().invoke(build_app(), [*arguments, "--judge", "http://127.0.0.1:9"])
    assert no_other.exit_code == 2 and "--against" in no_other.output
    wrong = CliRunner().invoke(build_app(), [*arguments, "--pass-at", "1,x"])
    assert wrong.exit_code == 2 and "1,x" in wrong.output
    arguments += ["--against", str(tmp_path / "m1")]
    dead = CliRunner().invoke(build_app(), [*arguments, "--judge", "http://127.0.0.1:9"])
    assert dead.exit_code == 1 and "no win rate" in dead.stderr
    with judge_server(JudgeService([Longest("longest")])) as url:
        result = CliRunner().invoke(build_app(), [*arguments, "--judge", url])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report["pass_at"]) == set(report["pass_all"]) == set(report["majority"]) == {"1", "2", "4"}
    assert report["pass_all"]["4"]["value"] <= report["pass_at"]["1"]["value"] <= report["pass_at"]["4"]["value"]
    assert report["majority"]["1"]["value"] == pytest.approx(report["pass_at"]["1"]["value"])
    (rate,) = report["win_rate"].values()
    assert rate["n"] + rate["unscored"] == 24 and 0 <= rate["win_rate"] <= 1 and rate["interval"]["tasks"] > 0
    assert json.loads((tmp_path / "out" / "win_rate.json").read_text()) == report["win_rate"]
