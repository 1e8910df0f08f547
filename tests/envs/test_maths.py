"""Generated maths problems: right answers count in any notation, near misses do not, files work."""

import json
import re

import numpy as np
import pytest

import palaestra as pl
from palaestra.envs.maths_families import FAMILIES, LEVELS, SUBJECTS
from palaestra.envs.verify import verify
from palaestra.envs.worked_out import in_form_of


def drawn(name, count=10):
    """Problems and golds of a family, over all levels."""
    return [FAMILIES[name](np.random.default_rng([n, 7]), LEVELS[n % 5]) for n in range(count)]


@pytest.mark.parametrize("name", FAMILIES)
def test_gold_is_accepted_and_others_are_not(name):
    for problem, gold in drawn(name):
        assert verify(gold, f"so \\boxed{{{gold}}}") and in_form_of(gold, gold), (problem, gold)
        for wrong in ("", "0.123", f"{gold}+1", f"{gold},1000003", *({"\\emptyset"} - {gold})):
            assert not verify(gold, f"\\boxed{{{wrong}}}"), (problem, gold, wrong)
        for number in re.finditer(r"\d+", gold):
            near = f"{gold[: number.start()]}{int(number[0]) + 1}{gold[number.end() :]}"
            assert not verify(gold, f"\\boxed{{{near}}}"), (problem, gold, near)


@pytest.mark.parametrize(
    ("family", "left"),
    [("arithmetic", "{}+0"), ("arithmetic", "1\\cdot {}"), ("fractions", "{}+\\frac{{0}}{{3}}"), ("expand", "({})^1")],
)
def test_an_answer_that_is_not_worked_out_is_told_so(family, left):
    env = pl.make("palaestra/Math-v0", family=family, level=1)
    env.reset(seed=2)
    gold = env.current_task.answer
    *_, info = env.step(f"\\boxed{{{left.format(gold)}}}")
    assert info["reason"] == "not_worked_out" and "worked out" in info["feedback"][0].text
    env.reset(seed=2)
    assert env.step(f"\\boxed{{{gold}}}")[1] == 1.0


def test_feedback_names_the_form_and_never_the_value():
    env = pl.make("palaestra/Math-v0", family="quadratic_roots", level=1)
    for attempt in ("I give up", "\\boxed{17/3}", "\\boxed{(", "\\boxed{\\int_0^1 x dx}"):
        env.reset(seed=3)
        *_, info = env.step(attempt)
        (item,) = info["feedback"]
        assert item.kind in ("format", "incorrect") and len(item.text) <= 1200
    env.reset(seed=3)
    *_, info = env.step("\\boxed{17/3}")
    assert info["reason"] == "count"


@pytest.mark.parametrize("knobs", [{"family": "nothing"}, {"level": 9}])
def test_bad_knobs_are_named(knobs):
    with pytest.raises(Exception, match=next(iter(knobs))):
        pl.make("palaestra/Math-v0", **knobs).reset(seed=0)


def test_levels_and_families_show_in_the_task():
    env = pl.make("palaestra/Math-v0", family="expand, derivative", level=0)
    seen = set()
    for seed in range(40):
        env.reset(seed=seed)
        seen.add((env.current_task.metadata["family"], env.current_task.metadata["level"]))
    assert {name for name, _ in seen} == {"expand", "derivative"} and {level for _, level in seen} == set(LEVELS)


def test_a_subject_stands_for_its_families():
    env = pl.make("palaestra/Math-v0", family="vectors, ages")
    seen = set()
    for seed in range(60):
        env.reset(seed=seed)
        seen.add(env.current_task.metadata["family"])
    assert seen == {*SUBJECTS["vectors"], "ages"}


FILES = {
    "gsm8k": {"question": "Tom has 3 apples and buys <<4>> 4. How many?", "answer": "3+4=<<3+4=7>>7\n#### 7"},
    "math": {
        "problem": "What is $1/4+1/4$?",
        "level": "Level 1",
        "type": "Algebra",
        "solution": "It is $\\boxed{\\frac12}$.",
    },
    "aime": {"Problem": "Find $n$.", "Answer": "007", "ID": "2020-I-1"},
    "dapo": {"prompt": [{"role": "user", "content": "Compute $5^2$."}], "reward_model": {"ground_truth": "25"}},
}
ANSWERS = {"gsm8k": "7", "math": "0.5", "aime": "7", "dapo": "25"}


@pytest.mark.parametrize("style", FILES)
def test_tasks_from_a_file(style, tmp_path):
    pytest.importorskip("palaestra.envs.data")
    path = tmp_path / f"{style}.jsonl"
    path.write_text(json.dumps(FILES[style]) + "\n")
    env = pl.make("palaestra/Math-v0", tasks=str(path))
    messages, _ = env.reset(seed=0)
    assert "\\boxed" in messages[-1]["content"]
    assert env.step(f"\\boxed{{{ANSWERS[style]}}}")[1] == 1.0
