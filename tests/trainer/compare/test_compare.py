"""Comparisons: plans, one start, budgets, resuming, and the numbers of the report."""

import json

import pytest

from palaestra.trainer.compare import Arm, Comparison, Measurement, Plan, compare
from palaestra.trainer.compare.measure import TaskMeasure
from palaestra.trainer.compare.plots import plot
from palaestra.trainer.config import ConfigError
from palaestra.trainer.objectives import ObjectiveError, UnknownObjective

RUN = {
    "policy": {"model": "tiny", "layers": 1, "hidden": 16, "heads": 2, "characters": "0123456789>abcdef"},
    "env": {"id": "palaestra/Strategies-v0", "args": {"digits": 1, "strategies": 4}, "split": False},
    "rollout": {"group_size": 4, "prompts_per_step": 4, "max_new_tokens": 3},
    "train": {"steps": 2, "learning_rate": 1e-3, "threads": 1, "checkpoint_every": 1},
    "log": {"tensorboard": False, "rollouts": 0},
}


def plan(**changes):
    options = {"objectives": ("grpo", "uniqueness:alpha=1.0"), "seeds": (0, 1), "tasks": 4, "samples": 4}
    return Plan(**{**options, "pass_at": (1, 4), **changes})


def test_arms_are_parsed_and_checked():
    arm = Arm.parse("ds_grpo:gamma_p=0.01:logp_reduce=mean")
    assert (
        arm.params == {"gamma_p": 0.01, "logp_reduce": "mean"} and arm.label == "ds_grpo-gamma_p=0.01-logp_reduce=mean"
    )
    with pytest.raises(UnknownObjective, match="did you mean 'grpo'"):
        Arm.parse("grppo")
    with pytest.raises(ObjectiveError, match="did you mean 'alpha'"):
        Arm.parse("uniqueness:alhpa=1")
    with pytest.raises(ConfigError, match="name:key=value"):
        Arm.parse("uniqueness:alpha")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ("grpo", "grpo")}, "named twice"),
        ({"seeds": ()}, "at least one"),
        ({"pass_at": (8,)}, "samples"),
    ],
)
def test_bad_plans(changes, message):
    with pytest.raises(ConfigError, match=message):
        plan(**changes).arms()


def test_impossible_arms_fail_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"arena: judge\.url"):
        compare(RUN, plan(objectives=("grpo", "arena")), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_cells_share_everything_but_objective_and_seed(tmp_path):
    from palaestra.trainer.config import load_config

    run, p = load_config(RUN), plan()
    a, b = (p.cell(run, arm, 3, "start", "out") for arm in p.arms())
    assert a.model_dump(exclude={"objective"}) == b.model_dump(exclude={"objective"})
    assert a.policy.model == "start" and a.seed == 3 and b.objective.params == {"alpha": 1.0}


@pytest.mark.slow
def test_a_comparison_runs_resumes_and_refuses_other_settings(tmp_path):
    out, lines = tmp_path / "c", []
    first = compare(RUN, plan(prior=("palaestra/Sort-v0:digits=2",)), out, progress=lines.append)
    assert lines == [
        "[1/4] grpo, seed 0", "[2/4] uniqueness-alpha=1.0, seed 0", "[3/4] grpo, seed 1",
        "[4/4] uniqueness-alpha=1.0, seed 1",
    ]  # fmt: skip
    assert {p.name for p in out.iterdir()} >= {
        "start",
        "start.json",
        "grpo",
        "report.md",
        "report.json",
        "report.png",
        "compare.toml",
    }
    assert first.spent["grpo"][0]["steps"] == 2 and first.spent["grpo"][0]["tokens"] > 0
    cell_of = first.cells["grpo"][0]
    assert min(cell_of.kl) >= 0 and first.start.kl == [] and all(0 <= share <= 1 for share in cell_of.flips)
    assert len(first.cells["grpo"][0].prior["palaestra/Sort-v0:digits=2"]) == 2
    ids = [[t.task_id for t in m.tasks] for m in (first.start, *first.cells["grpo"].values())]
    assert ids[0] == ids[1] == ids[2]
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("*/seed-*/measured.json")}
    # An unfinished cell continues from its checkpoint; finished ones are not touched.
    cell = out / "grpo" / "seed-1"
    before = json.loads((cell / "measured.json").read_text())
    (cell / "measured.json").unlink()
    import shutil

    shutil.rmtree(cell / "final")
    again = compare(RUN, plan(prior=("palaestra/Sort-v0:digits=2",)), out)
    assert json.loads((cell / "measured.json").read_text()) == before
    assert all(p.stat().st_mtime_ns == t for p, t in stamps.items() if p.parent != cell)
    assert again.markdown() == first.markdown()
    with pytest.raises(ConfigError, match="other settings"):
        compare(RUN, plan(tasks=8), out)


@pytest.mark.slow
def test_the_token_budget_ends_every_run(tmp_path):
    run = {**RUN, "train": {**RUN["train"], "steps": 50}}
    result = compare(run, plan(seeds=(0,), token_budget=60), tmp_path / "c")
    for label in ("grpo", "uniqueness-alpha=1.0"):
        spent = result.spent[label][0]
        assert 60 <= spent["tokens"] < 60 + 4 * 4 * 3 and spent["steps"] < 50


def measurement(counts, **fields):
    tasks = [
        TaskMeasure(task_id=f"t{i}", n=4, c=sum(solutions.values()), unscored=0, solutions=solutions, surprisal=0.5 + i)
        for i, solutions in enumerate(counts)
    ]
    return Measurement(tasks=tasks, **fields)


def test_numbers_of_the_report(tmp_path):
    start = measurement([{"a": 1, "b": 1}, {}], prior={"old": [1.0, 0.6], "never": [0.0, 0.0]})
    narrow = measurement([{"a": 4}, {"a": 2}], prior={"old": [0.5, 0.5], "never": [0.0, None]}, kl=[1.0, 3.0])
    wide = measurement([{"a": 2, "b": 2}, {"a": 1, "c": 1}], prior=start.prior, kl=[0.5, None])
    p = plan(seeds=(0,))
    arms = p.arms()
    cells = {arms[0].label: {0: narrow}, arms[1].label: {0: wide}}
    used = {"tokens": 10.0, "judge_calls": 0.0, "steps": 1.0, "seconds": 1.0, "rollouts": 16.0}
    spent = {arms[0].label: {0: used}, arms[1].label: {0: used | {"solved_at": 7.0}}}
    comparison = Comparison(p, arms, start, cells, spent)
    rows = comparison.rows()
    assert rows["start"]["pass@1"].value == 0.25 and rows["grpo"]["pass@1"].value == 0.75
    assert rows["grpo"]["pass@4"].value == 1.0 and rows["start"]["pass@4"].value == 0.5
    assert rows["grpo"]["distinct right"].value == 1 and rows[arms[1].label]["distinct right"].value == 2
    assert rows[arms[1].label]["effective right"].value == pytest.approx(2)
    assert rows["grpo"]["Gain"].value == pytest.approx(0.5)
    assert rows["grpo"]["Drop"].value == pytest.approx((0.5 + 0.1 + 0.0) / 3)  # what was not scored is in no mean
    assert rows["grpo"]["Drop"].low <= 0.2 <= rows["grpo"]["Drop"].high
    assert rows[arms[1].label]["Drop"].value == pytest.approx(0.0)
    assert rows["grpo"]["KL to start"].value == 2.0 and rows[arms[1].label]["KL to start"].value == 0.5
    assert rows["start"]["entropy"].value == 1.0
    assert rows[arms[1].label]["discovery@16"] == 1.0 and rows[arms[1].label]["first success at"] == 7.0
    assert comparison.front() == [arms[1].label]
    assert any("nothing of never" in note for note in comparison.notes())
    gap = comparison.differences()[arms[1].label]
    assert gap["distinct right"].value == 1 and gap["pass@1"].value == 0
    comparison.write(tmp_path)
    assert "Difference from grpo" in (tmp_path / "report.md").read_text(encoding="utf-8")
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data["rows"]["grpo"]["pass@1"]["value"] == 0.75 and data["front"] == [arms[1].label]
    plot(comparison, tmp_path)
    assert (tmp_path / "report.png").stat().st_size > 0 and (tmp_path / "report.svg").exists()


def test_a_run_file_of_the_same_objective_lends_its_parameters():
    from palaestra.trainer.config import load_config

    run = load_config({**RUN, "objective": {"name": "uniqueness", "alpha": 0.3, "eps_high": 0.28}})
    assert Arm.parse("uniqueness:alpha=1.0").objective(run) == {"name": "uniqueness", "alpha": 1.0, "eps_high": 0.28}
    assert Arm.parse("grpo").objective(run) == {"name": "grpo"}


def test_prior_environments_may_have_knobs():
    (env,) = plan(prior=("palaestra/Sort-v0:digits=4",)).priors()
    assert env.id == "palaestra/Sort-v0" and env.args == {"digits": 4}
    with pytest.raises(ConfigError, match="prior environment"):
        plan(prior=("palaestra/Sort-v0:digits",)).priors()


def test_a_failing_cell_is_named_and_the_others_go_on(tmp_path):
    from palaestra.judges import JudgeUnavailable

    class Dead:
        def partition_sync(self, groups, **options):
            raise JudgeUnavailable("nobody answers")

    run = {**RUN, "train": {**RUN["train"], "steps": 1}}
    lines = []
    found = compare(run, plan(seeds=(0,)), tmp_path / "c", progress=lines.append, judge_client=Dead())
    assert list(found.cells) == ["grpo"] and "nobody answers" in found.failures["uniqueness-alpha=1.0"][0]
    assert "failed: " in (tmp_path / "c" / "report.md").read_text() and any("failed" in line for line in lines)
    again = compare(run, plan(seeds=(0,)), tmp_path / "c")  # now the environment's own labels serve
    assert not again.failures and set(again.cells) == {"grpo", "uniqueness-alpha=1.0"}
