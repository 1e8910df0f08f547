"""The shared nouns: what they refuse, and that a failure can never look like a score."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from palaestra import Feedback, Group, Message, RewardResult, Rollout, Task, Turn
from palaestra.schema import RewardStatus, clean_text


def test_answer_is_neither_shown_nor_serialised():
    task = Task(id="t", prompt="What is 6*7?", answer="secret-42")
    assert "secret-42" not in repr(task)
    assert "secret-42" not in task.model_dump_json()
    assert task.answer == "secret-42"


def test_turn_refuses_unequal_lengths():
    with pytest.raises(ValidationError, match="logprobs has 1 entries for 2 completion_ids"):
        Turn(prompt_ids=(1,), completion_ids=(2, 3), logprobs=(-0.5,))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_reward_must_be_finite_or_none(value):
    with pytest.raises(ValidationError, match="use None"):
        Rollout(task_id="t", reward=value)
    with pytest.raises(ValueError, match="use None"):
        Rollout(task_id="t").with_reward(value)
    assert Rollout(task_id="t", reward=None).reward is None


def test_rollout_ends_one_way():
    with pytest.raises(ValidationError, match="one way"):
        Rollout(task_id="t", terminated=True, truncated=True)


def test_group_refuses_duplicate_ids():
    rollout = Rollout(id="r", task_id="t")
    with pytest.raises(ValidationError, match="'r' twice"):
        Group(id="g", task=Task(id="t", prompt="p"), rollouts=(rollout, rollout))


@pytest.mark.parametrize("status", [s for s in RewardStatus if s not in {"ok", "gated", "degenerate"}])
def test_failed_judging_carries_no_reward(status):
    with pytest.raises(ValidationError, match="must be None"):
        RewardResult(rollout_id="r", status=status, reward=0.0)
    assert RewardResult(rollout_id="r", status=status).reward is None


def test_unknown_fields_are_refused_but_messages_keep_them():
    with pytest.raises(ValidationError, match="rewrad"):
        Rollout(task_id="t", rewrad=1.0)
    assert Message(role="assistant", content="x", reasoning_content="y").to_dict()["reasoning_content"] == "y"


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40))
def test_any_text_can_be_stored(text):
    message = Message(role="user", content=text)
    assert Message.model_validate_json(message.model_dump_json()) == message
    assert Feedback(text=text).text == clean_text(text)
    if text.isascii():
        assert message.content == text


def test_rollout_round_trips_through_json():
    rollout = Rollout(
        task_id="t",
        messages=(Message(role="user", content="q"), Message(role="assistant", content="a")),
        turns=(Turn(prompt_ids=(1, 2), completion_ids=(3,), logprobs=(-0.25,), policy_version=4),),
        reward=0.5,
        children=(Rollout(task_id="t.0"),),
    )
    assert Rollout.model_validate_json(rollout.model_dump_json()) == rollout
    assert rollout.response == "a"
