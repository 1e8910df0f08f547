"""Feedback: levels, opaque golds, and what the leak test finds."""

import pickle

import pytest

import palaestra as pl
from palaestra.envs import Gold
from palaestra.envs.leak import leak_test, said_by_oracle, tells
from palaestra.schema import Feedback


def test_a_gold_does_not_print():
    gold = Gold(Gold("42"))
    assert f"{gold}{gold!s}{gold!r}{gold:>10}" == "<gold>" * 4 and gold.reveal() == "42"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(gold)


@pytest.mark.parametrize(
    ("level", "texts"),
    [
        ("none", []),
        ("verdict", ["Incorrect."]),
        ("reason", ["Wrong: value is 2."]),
        ("tests", ["Wrong: value is 2."]),
    ],
)
def test_levels(level, texts):
    env = pl.make("palaestra/Countdown-v0", feedback=level, count=2, lo=1, hi=2, target_lo=2, target_hi=4, ops="+*")
    for seed in range(50):
        env.reset(seed=seed)
        if sorted(env.current_task.metadata["numbers"]) == [1, 2]:
            break
    assert env.current_task.metadata["target"] == 3
    info = env.step("1*2")[4]
    assert [item.text for item in info["feedback"]] == texts and "leaky" not in info


def test_the_reference_level_tells_and_says_so():
    @pl.env("test/Told-v0")
    def told(rng):
        return f"What is {int(rng.integers(9))}+1000?", 4242

    env = pl.make("test/Told-v0", feedback="reference")
    env.reset(seed=0)
    info = env.step("\\boxed{1}")[4]
    assert info["leaky"] is True and any("4242" in item.text for item in info["feedback"])
    env = pl.make("test/Told-v0")
    env.reset(seed=0)
    info = env.step("\\boxed{1}")[4]
    assert "leaky" not in info and not any("4242" in item.text for item in info["feedback"])


def test_format_errors_come_before_hints():
    @pl.env("test/Both-v0")
    def both(rng):
        items = [Feedback(text="Almost right.", kind="incorrect"), Feedback(text="No box.", kind="format")]
        return "?", lambda response: pl.Result(0.0, items)

    env = pl.make("test/Both-v0")
    env.reset(seed=0)
    assert [item.text for item in env.step("x")[4]["feedback"]] == ["No box."]


@pytest.mark.parametrize(
    ("text", "secret", "public", "leaks"),
    [
        ("The answer is 42.", 42, "", True),
        ("The answer is 42.0!", 42, "", True),
        ("Try \\boxed{84/2}.", 42, "", True),
        ("The answer is 42.", 42, "Is it 42?", False),
        ("There are 142 of them.", 42, "", False),
        ("Not Paris.", "Paris", "", True),
        ("not PARIS", "Paris", "", True),
        ("Not Paris.", "Paris", "I say Paris", False),
        ("Parisian", "Paris", "", False),
        ("Half of it: 1/2", 0.5, "", True),
        ("Incorrect.", 42, "", False),
    ],
)
def test_what_counts_as_telling(text, secret, public, leaks):
    assert tells(text, secret, public) is leaks


def test_a_text_that_all_tasks_draw_is_no_leak():
    class Two(pl.SingleTurnEnv):
        def task(self, rng):
            return f"Say {'one' if rng.integers(2) else 'two'} in figures.", int(rng.integers(1, 3))

        def verify(self, task, response):
            return 0.0, "There are 2 words you may use."

    assert leak_test(Two, range(30)) == []


def test_the_oracles_words_are_the_secret_of_a_checker():
    class Near(pl.SingleTurnEnv):
        def task(self, rng):
            word = "".join(rng.choice(list("abcdefgh"), 9))
            return pl.Task(prompt="Guess the word.", answer=lambda reply: (float(reply == word), f"Not {word}."))

        def solution(self, task):
            return task.answer("")[1][4:-1]

    leaks = leak_test(Near, range(10))
    assert leaks and all(leak.secret in leak.feedback for leak in leaks)


def test_what_the_oracle_says_is_taken_apart():
    for env_id, knobs in (("palaestra/Countdown-v0", {}), ("palaestra/Compose-v0", {}), ("palaestra/Lookup-v0", {})):
        env = pl.make(env_id, **knobs)
        env.reset(seed=3)
        whole, inner = said_by_oracle(env)[0], said_by_oracle(env)[-1]
        assert inner in whole and env.messages[-1]["role"] == "user"
    env = pl.make("test/Add-v0")
    env.reset(seed=1)
    assert said_by_oracle(env) == []  # no oracle there
    with_checker = pl.make("palaestra/Code-v0", family="function")
    with_checker.reset(seed=2)
    assert all(len(text) > 4 for text in with_checker.secrets())
