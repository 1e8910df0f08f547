"""Generated maths problems: right answers count in any notation, near misses do not, files work."""

import json

import pytest

import palaestra as pl
from palaestra.envs.maths_families import FAMILIES, LEVELS
from palaestra.envs.verify import verify


@pytest.mark.parametrize("name", FAMILIES)
def test_gold_is_accepted_and_others_are_not(name):
    answers = {}
    for seed in range(12):
        env = pl.make("palaestra/Math-v0", family=name, level=LEVELS[seed % 5])
        env.reset(seed=seed)
        gold = env.current_task.answer
        answers[seed] = gold.reveal() if hasattr(gold, "reveal") else gold
        _, reward, terminated, truncated, info = env.step(f"so \\boxed{{{answers[seed]}}}")
        assert (reward, terminated, truncated) == (1.0, True, False), (answers[seed], info)
    for seed, gold in answers.items():
        for wrong in ("", "0.123", "\\emptyset", f"{gold}+1", f"{gold},1000003"):
            assert not verify(gold, f"\\boxed{{{wrong}}}"), (seed, gold, wrong)


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
