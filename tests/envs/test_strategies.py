"""Strategies: labels, known multiplicity, and the oracle's spread."""

from collections import Counter

import pytest

import palaestra as pl
from palaestra.envs.strategies import STRATEGIES


def play(reply, seed=0, **knobs):
    env = pl.make("palaestra/Strategies-v0", **knobs)
    messages, _ = env.reset(seed=seed)
    _, reward, terminated, _, info = env.step(reply(messages[-1]["content"]) if callable(reply) else reply)
    env.close()
    return reward, terminated, info


@pytest.mark.parametrize(
    ("letter", "body"), [("a", "5274"), ("b", "4725"), ("c", "2457"), ("d", "7542"), ("e", "2745")]
)
def test_documented_examples(letter, body):
    assert STRATEGIES[letter][1]("5274") == body
    assert STRATEGIES["f"][1]("5279") == "6380"


def test_every_allowed_strategy_is_right_and_named():
    for letter, (_, change) in STRATEGIES.items():
        reward, done, info = play(lambda text, c=change, x=letter: x + c(text.rstrip(">")), strategies=4)
        assert done and reward == (letter in "abcd")
        assert info.get("solution_key") == (letter if letter in "abcd" else None)


@pytest.mark.parametrize("reply", ["", "5274", "a", "z1234", "a 5274 b", "aa5274"])
def test_other_replies_are_wrong(reply):
    assert play(reply)[0] == 0.0


def test_oracle_covers_all_strategies():
    env = pl.make("palaestra/Strategies-v0", strategies=6)
    seen = Counter()
    for seed in range(120):
        env.reset(seed=seed)
        reply = next(iter(env.oracle()))
        _, reward, _, _, info = env.step(reply)
        assert reward == 1.0
        seen[info["solution_key"]] += 1
    assert set(seen) == set(STRATEGIES) and min(seen.values()) > 5


def test_words_and_bad_knobs():
    env = pl.make("palaestra/Strategies-v0", prompt="words", strategies=2)
    messages, _ = env.reset(seed=1)
    assert "b: the digits reversed" in messages[-1]["content"] and "ascending" not in messages[-1]["content"]
    for knobs, name in (({"digits": 0}, "digits=0"), ({"strategies": 9}, "strategies=9"), ({"prompt": "x"}, "prompt")):
        with pytest.raises(ValueError, match=name):
            pl.make("palaestra/Strategies-v0", **knobs).reset(seed=0)
