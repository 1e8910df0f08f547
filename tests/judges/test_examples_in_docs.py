"""The examples in the docstrings of the judging mathematics run as written."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "annotators",
    "calibrate",
    "diversity",
    "equivalence",
    "equivalence_text",
    "partition",
    "partition.cluster",
    "partition.one_shot",
    "partition.rewards",
    "partition.short_text",
    "ranking",
    "ranking.elimination",
    "ranking.rewards",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(import_module(f"palaestra.judges.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
