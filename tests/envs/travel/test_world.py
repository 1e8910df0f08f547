"""Worlds: the same bytes from the same seed, wherever it is built; certified tasks; private copies."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from palaestra.envs.travel import Item, Knobs, Store, draw, look_up, verdicts
from palaestra.envs.travel.gen import Size, image, tables, world
from palaestra.envs.travel.hidden import Sampler
from palaestra.envs.travel.optimum import cheapest

BUILD = """
import hashlib
from palaestra.envs.travel.gen import Size, image, tables
print(hashlib.sha256(image(tables(7, Size()))).hexdigest())
"""


def test_two_builds_are_equal_byte_for_byte_in_every_process():
    here = hashlib.sha256(image(tables(7, Size()))).hexdigest()
    for hash_seed in ("0", "77"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True, check=True, env=env)
        assert done.stdout.strip() == here
    assert image(tables(8, Size())) != image(tables(7, Size()))


def test_worlds_hold_integers_and_names_only():
    for table, rows in tables(3, Size(cities=4)).items():
        assert rows, table
        for row in rows:
            assert all(type(value) in (int, str) for value in row)
    ids = [row.id for rows in tables(3, Size()).values() for row in rows if hasattr(row, "id")]
    assert len(ids) == len(set(ids)) and min(ids) >= 100_000


def test_tables_are_independent_of_each_other():
    few, many = tables(5, Size(days=2)), tables(5, Size(days=2, cities=5))
    assert few == many
    longer = tables(5, Size(days=3))
    assert [row._replace(id=0) for row in few["city"]] != [] and len(longer["leg"]) > len(few["leg"])


def test_every_episode_has_its_own_copy():
    made = world(1, Size())
    a, b = Store(made.image), Store(made.image)
    leg = made.rows["leg"][0]
    a.cancel_leg(leg.id)
    a.book(Item(kind="leg", id=leg.id, day=leg.day), 100)
    assert b.row("leg", leg.id).runs == 1 and b.bookings() == []
    assert Store(made.image).row("leg", leg.id).runs == 1
    a.close()
    a.close()
    b.close()


KNOBS = [
    # (knobs, tasks): 500 in all; the first row alone covers 300 seeds of the default
    (Knobs(), 300),
    (Knobs(cities=1, days=1, constraints=2), 60),
    (Knobs(cities=3, days=4, travellers=5, constraints=6, depth=2, slack=102), 60),
    (Knobs(cities=4, days=7, travellers=6, constraints=10, depth=2, slack=100, wishes=4), 30),
    (Knobs(cities=2, days=2, distractors=0, travellers=4), 50),
]


@pytest.mark.parametrize(("knobs", "count"), KNOBS)
def test_the_hidden_itinerary_keeps_every_rule(knobs, count):
    for seed in range(count):
        task = draw(np.random.default_rng(seed), knobs)
        store = Store(task.world.image)
        trip = look_up(task.hidden, task.query, store)
        found = verdicts(trip, task.query)
        assert all(verdict.ok for verdict in found), (seed, [v for v in found if not v.ok])
        assert trip.cost() <= task.query.budget
        assert len({c.kind for c in task.query.constraints}) == len(task.query.constraints) <= knobs.constraints
        store.close()


def test_slack_makes_budgets_tight():
    wide = [draw(np.random.default_rng(seed), Knobs(slack=150)) for seed in range(5)]
    tight = [draw(np.random.default_rng(seed), Knobs(slack=102)) for seed in range(5)]
    for a, b in zip(wide, tight, strict=True):
        assert a.hidden == b.hidden and a.query.budget > b.query.budget


def test_the_optimum_of_the_easiest_level_is_no_dearer_than_any_plan():
    for seed in range(12):
        task = draw(np.random.default_rng(seed), Knobs(cities=1, days=1, constraints=seed % 4))
        store = Store(task.world.image)
        best = cheapest(task.world, task.query, store)
        assert best is not None and best > 0
        sampler = Sampler(task.world, task.query, np.random.default_rng(seed))
        others = [task.hidden, *(sampler.draw(store)[0] for _ in range(10))]
        for items in others:
            trip = look_up(items, task.query, store)
            if all(verdict.ok for verdict in verdicts(trip, task.query)):
                assert best <= trip.cost()
        store.close()
    task = draw(np.random.default_rng(0), Knobs())
    assert cheapest(task.world, task.query, Store(task.world.image)) is None


@pytest.mark.parametrize(
    "knobs", [{"cities": 0}, {"cities": 3, "days": 2}, {"travellers": 7}, {"slack": 99}, {"days": "3"}, {"wishes": 5}]
)
def test_bad_knobs_are_named(knobs):
    with pytest.raises(ValueError, match=next(iter(knobs))):
        Knobs(**knobs)
