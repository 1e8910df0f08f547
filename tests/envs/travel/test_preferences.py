"""Soft wishes: an oracle ranking of plans with the same hard result, and a rubric that judges take."""

from dataclasses import replace

import numpy as np
import pytest

from palaestra.envs.travel import Knobs, Store, compare, describe, draw, look_up, ranking, rubric, verdicts
from palaestra.envs.travel.hidden import Sampler
from palaestra.envs.travel.preferences import WISHES, points, utility
from palaestra.judges.rubric import Rubric


def _plans(seed, count=8):
    """Some good plans of one task, and one bad one."""
    task = draw(np.random.default_rng(seed), Knobs(constraints=0, wishes=3, slack=300))
    query = replace(task.query, budget=10**9)
    store = Store(task.world.image)
    sampler = Sampler(task.world, query, np.random.default_rng(seed + 100))
    plans = {f"p{n}": sampler.draw(store)[0] for n in range(count)}
    plans["bad"] = plans["p0"][:-1]
    checked = {id: (trip := look_up(items, query, store), verdicts(trip, query)) for id, items in plans.items()}
    store.close()
    return query, checked


@pytest.mark.parametrize("seed", range(4))
def test_the_ranking_agrees_with_comparisons_and_keeps_hard_results_apart(seed):
    query, checked = _plans(seed)
    classes = ranking(checked, query)
    assert len(classes) == 2 and [["bad"]] in classes
    good = next(places for places in classes if places != [["bad"]])
    assert sorted(id for place in good for id in place) == sorted(set(checked) - {"bad"})
    place = {id: n for n, ids in enumerate(good) for id in ids}
    for a in place:
        assert compare(checked[a], checked["bad"], query) is None
        for b in place:
            expected = (place[a] < place[b]) - (place[a] > place[b])
            assert compare(checked[a], checked[b], query) == expected


def test_points_lie_between_0_and_100_and_differ_between_plans():
    query, checked = _plans(5)
    everything = replace(query, wishes=tuple((name, 1) for name in WISHES))
    table = [points(trip, everything) for trip, _ in checked.values()]
    assert all(type(value) is int and 0 <= value <= 100 for row in table for value in row.values())
    varied = [name for name in WISHES if len({row[name] for row in table}) > 1]
    assert len(varied) >= 6
    trip = checked["p0"][0]
    assert utility(trip, query) == sum(weight * WISHES[name].points(trip) for name, weight in query.wishes)


def test_judges_take_the_rubric():
    query, checked = _plans(6)
    made = Rubric(**rubric(query))
    assert [c.name for c in made.criteria] == [name for name, _ in query.wishes]
    text = describe(checked["p0"][0])
    assert "metres on foot" in text and "Day 1" in text
