"""Prompt transforms."""

import pytest

from palaestra.schema import Message
from palaestra.trainer import objectives
from palaestra.trainer.objectives.prompts import prefixed, prompt_repetition, visible_pairs

TASK = (Message(role="system", content="S"), Message(role="user", content="first"), Message(role="user", content="Q"))


def test_visible_pairs(oracle):
    given, want, tol = oracle("REPEAT-1")
    assert visible_pairs(given["n"]) == pytest.approx((want["first_copy"], want["second_copy"]), abs=tol)
    n = given["n"]
    seen = sum(j <= i for i in range(n) for j in range(n)) / n**2
    assert seen == pytest.approx(want["first_copy"], abs=tol)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("none", "Q"),
        ("twice", "Q\nQ"),
        ("verbose", "Q\nLet me repeat that:\nQ"),
        ("thrice", "Q\nQ\nQ"),
        ("pad", "Q\n."),
    ],
)
def test_repetition_touches_the_last_user_turn_alone_and_once(mode, text):
    once = prompt_repetition(mode)(TASK)
    assert [m.text for m in once] == ["S", "first", text]
    assert prompt_repetition(mode)(once) == once and TASK[-1].text == "Q"


def test_any_policy_method_takes_a_transform_and_none_by_default():
    assert objectives.get("grpo").prompt is None
    assert objectives.get("grpo", {"prompt_transform": "twice"}).prompt(TASK)[-1].text == "Q\nQ"


def test_prefix_without_a_user_turn():
    assert prefixed("[x] ")((Message(role="system", content="S"),))[-1].text == "[x] "
