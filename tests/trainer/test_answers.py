"""Votes, the metrics made of them, and win rates."""

from types import SimpleNamespace

import pytest

from palaestra.schema import Group, Message, Rollout, Task
from palaestra.trainer.answers import RIGHT, ballots, canonical
from palaestra.trainer.config import EvalConfig
from palaestra.trainer.evaluation import report
from palaestra.trainer.rollout import Play
from palaestra.trainer.winrate import win_rate_report


def play(rewards, answers=(), keys=(), task="t", texts=()):
    rollouts = []
    for i, reward in enumerate(rewards):
        said = texts[i] if texts else f"reply {i}"
        messages = (Message(role="user", content="Q"), Message(role="assistant", content=said))
        error = None if reward is not None else "failed"
        rollouts.append(
            Rollout(id=f"{task}-{i}", task_id=task, group_id=task, messages=messages, reward=reward, error=error)
        )
    named = [
        {f"{task}-{i}": value for i, value in enumerate(values) if value is not None} for values in (keys, answers)
    ]
    return Play(Group(id=task, task=Task(id=task, prompt="Q"), rollouts=tuple(rollouts)), *named)


def test_answers_lose_accidents_of_writing():
    assert canonical("0.50") == canonical(" 1/2 ") == canonical("5e-1")
    assert canonical("Paris ") == canonical("paris") != canonical("London")
    assert canonical("1/0") == "1/0"
    assert canonical("9" * 10_000) == "9" * 10_000


def test_right_replies_vote_alike_and_unreadable_ones_not_at_all():
    votes, right = ballots(play([1.0, 0.0, 1.0, 0.0, None, 0.0], ["1/2", "3", "0.5", "3.0", "7", None]))
    assert votes == [RIGHT, 3, RIGHT, 3, None] and right == {RIGHT}
    votes, right = ballots(play([1.0, 1.0, 0.0], keys=["a", "b", "c"]))
    assert len(set(votes)) == 3 and right == set(votes[:2])


def test_the_report_counts_votes_and_all_of_k():
    config = EvalConfig(samples=4, pass_at=(1, 2, 4))
    first = play([1.0, 1.0, 0.0, 0.0], ["1", "1", "2", "3"])
    second = play([0.0, 0.0, 0.0, 1.0], ["5", "5", "5", "1"], task="u")
    found = report([first, second], None, config, env="e", policy="p")
    assert found.pass_at[1].value == found.majority[1].value == pytest.approx((0.5 + 0.25) / 2)
    assert found.majority[4].value == 0.5  # the first task's plurality is right, the second's is wrong
    assert found.pass_all[2].value == pytest.approx((1 / 6) / 2) and found.pass_all[4].value == 0
    assert found.area["mean"].value == pytest.approx((0.5 + 5 / 6 + 1 + 1 + 0.25 + 0.5 + 0.75 + 1) / 8)
    assert found.majority[4].tasks == 2 and found.majority[4].low <= 0.5 <= found.majority[4].high
    silent = report([play([1.0, 0.0, 0.0, 0.0])], None, config, env="e", policy="p")
    assert silent.majority == {}  # nobody said what was answered, so nobody can vote


class Judge:
    """Prefers longer replies, has no answer about "odd", and always likes the first slot where lengths are equal."""

    def compare_sync(self, pairs, rubric=None):
        found = []
        for pair in pairs:
            gap = len(pair["a"]) - len(pair["b"])
            orders = []
            for first in ("a", "b"):
                winner = "a" if gap > 0 else "b" if gap < 0 else first
                orders.append(SimpleNamespace(first=first, winner=None if "odd" in pair["a"] else winner))
            found.append(SimpleNamespace(orders=orders))
        return found


def test_win_rate_counts_both_orders_and_leaves_failures_out():
    ours = [play([1, 1], texts=["long reply", "same"]), play([1, None], texts=["odd", "lost"], task="u")]
    theirs = [play([0, 0], texts=["short", "name"]), play([0, 0], texts=["x", "y"], task="u")]
    found = win_rate_report(Judge(), ours, theirs)
    assert (found["win_rate"], found["n"], found["unscored"]) == (0.75, 2, 2)
    assert found["ties"] == 1 and found["first_slot"] == 0.75
    assert found["interval"].value == 0.75 and found["interval"].tasks == 1
    assert found["mean_length"] == pytest.approx((10 + 4 + 3) / 3)
