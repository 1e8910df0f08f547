"""Judges for ranking tests: perfect, biased, tied, cyclic, broken."""

import json
from pathlib import Path

import pytest

from palaestra.judges.ranking import Outcome, RankGroup, RankOptions, rank_groups_sync

TOPOLOGIES = ["round_robin", "anchor", "single_elimination", "double_elimination", "swiss"]
DESIGNS = ["balanced", "adaptive", "random"]
ORACLES = {o["id"]: o for o in json.loads((Path(__file__).parents[2] / "data" / "oracles.json").read_text())}


class Judge:
    """Scores by quality plus a bonus for the first slot; counts its calls."""

    def __init__(self, quality, bonus=0.0, graded=True, failing=()):
        self.quality, self.bonus, self.graded = quality, bonus, graded
        self.failing = {frozenset(pair) for pair in failing}
        self.calls = []

    def __call__(self, call):
        self.calls.append(call)
        if frozenset((call.first, call.second)) in self.failing:
            return Outcome(status="timeout")
        first, second = self.quality[call.first] + self.bonus, self.quality[call.second]
        if self.graded:
            return Outcome(score_first=first, score_second=second)
        return Outcome(winner="tie" if first == second else "first" if first > second else "second")


@pytest.fixture
def oracle():
    return lambda name: ORACLES[name]


@pytest.fixture
def make_judge():
    return Judge


@pytest.fixture
def rank():
    """Rank one group of ids with a judge."""

    def go(ids, judge, contents=None, **options):
        return rank_groups_sync([RankGroup("g", list(ids), contents)], judge, RankOptions(**options))[0]

    return go
