"""The known name that somebody meant."""

from __future__ import annotations

import pytest

from palaestra.names import nearest, suggestion


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gpro", "grpo"), ("grpoo", "grpo"), ("drgrpo", "dr_grpo"), ("xyzzy", None), ("", None), ("GRPO", None)],
)
def test_the_nearest_name(name, expected):
    assert nearest(name, ["gspo", "dr_grpo", "grpo", "uniqueness"]) == expected


def test_what_is_said_about_it():
    assert suggestion("grop", ["grpo"], "known: grpo") == "did you mean 'grpo'?"
    assert suggestion("zzz", ["grpo"], "known: grpo") == "known: grpo"
    assert suggestion("zzz", [], "known: none") == "known: none"
