"""Homogeneity and identity reports over rollouts."""

import numpy as np
import pytest

from palaestra.schema import Message, Rollout
from palaestra.trainer.metrics.reports import homogeneity_report, identity_of


def said(task, text):
    return Rollout(task_id=task, messages=(Message(role="user", content=task), Message(role="assistant", content=text)))


def policies(seed=0, tasks=12, habit=""):
    rng = np.random.default_rng(seed)
    words = [f"word{i}" for i in range(80)]
    narrow = {t: " ".join(rng.choice(words, 12)) for t in range(tasks)}
    out = {"narrow": [], "wide": []}
    for t in range(tasks):
        for _ in range(4):
            out["narrow"].append(said(f"t{t}", narrow[t]))
            out["wide"].append(said(f"t{t}", habit + " ".join(rng.choice(words, 12))))
    return out


def test_homogeneity_tells_a_narrow_policy_from_a_wide_one():
    table = homogeneity_report(policies())["policies"]
    assert table["narrow"]["mean"] == pytest.approx(1) and table["narrow"]["vendi"] == pytest.approx(1)
    assert table["narrow"]["clusters"] == 1 and table["wide"]["clusters"] > 3
    assert table["wide"]["mean"] < 0.6 and table["narrow"]["floor"] < 0.6
    assert "narrow|wide" in table
    with pytest.raises(ValueError, match="at least two responses"):
        homogeneity_report({"one": [said("t", "x")]})


def test_identity_sees_a_habit_and_its_removal():
    report = identity_of(policies(tasks=60, habit="Well, honestly, I would say that "))
    assert report["none"]["accuracy"] > 0.9 and report["none"]["chance"] == 0.5
    assert report["shuffle_letters"]["accuracy"] <= report["none"]["accuracy"]
