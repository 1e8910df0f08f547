"""Every rule and constraint has two plans that differ in one thing and in nothing but its verdict.

The world is small and written by hand.
"""

from dataclasses import replace

import pytest

from palaestra.envs.travel import Constraint, Item, Party, Query, Store, look_up, verdicts
from palaestra.envs.travel.check import feedback, share
from palaestra.envs.travel.constraints import KINDS_OF_CONSTRAINT
from palaestra.envs.travel.gen import image
from palaestra.envs.travel.predicates import RULES
from palaestra.envs.travel.rows import City, District, Hotel, Leg, Poi, Restaurant, Room, Weather

HOME, ONE, TWO = City(1, "Home", 0, 0, 0), City(2, "One", 100_000, 0, 0), City(3, "Two", 0, 100_000, 0)


def _poi(id, city, dx, kind="museum", closed=-1, indoor=1, kids=1, steps=1, opens=540, closes=1080, minutes=60):
    return Poi(id, city.id, city.id + 10, kind, f"P{id}", city.x + dx, city.y, opens, closes, closed, 500, minutes, 30, indoor, kids, steps)  # fmt: skip # noqa: E501


def _meal(id, city, dx, cuisine="grill", steps=1, price=1000, opens=660):
    return Restaurant(id, city.id, city.id + 10, cuisine, f"R{id}", city.x + dx, city.y, opens, 1320, -1, price, 40, steps)  # fmt: skip # noqa: E501


def _leg(id, a, b, day, dep, minutes=70, mode="train", seats=9, price=2000):
    start = (day - 1) * 1440 + dep
    return Leg(id, mode, a.id, b.id, day, start, start + minutes, price, seats, 10, 1)


ROWS = {
    "city": (HOME, ONE, TWO),
    "district": tuple(District(city.id + 10, city.id, f"D{city.id}", city.x, city.y, 20) for city in (HOME, ONE, TWO)),
    "poi": (
        _poi(101, ONE, 400),
        _poi(102, ONE, 800, "park", indoor=0),
        _poi(103, ONE, 400, "tower", closed=1),  # closed on Tuesdays: day 2
        _poi(104, ONE, 400, "zoo", kids=0),
        _poi(105, ONE, 400, "gallery", steps=0),
        _poi(106, ONE, 4000, "market"),
        _poi(111, TWO, 400),
    ),
    "restaurant": (
        _meal(201, ONE, 400, opens=300),
        _meal(202, ONE, 480, "curry"),
        _meal(203, ONE, 400, "seafood", price=4000),
        _meal(209, HOME, 0, opens=300),
    ),
    "hotel": (
        Hotel(301, 2, 12, "H301", 100_400, 0, 3, 1, 1, 1, 1),
        Hotel(302, 2, 12, "H302", 100_400, 0, 2, 0, 1, 1, 1),
        Hotel(303, 2, 12, "H303", 100_400, 0, 3, 1, 1, 1, 2),  # two nights at least
        Hotel(304, 2, 12, "H304", 100_400, 0, 3, 1, 0, 0, 1),  # no children, not step-free
    ),
    "room": tuple(
        Room(hotel, day, type, cap, 5000, 0 if type == "family" else 3)
        for hotel in (301, 302, 303, 304)
        for day in (1, 2)
        for type, cap in (("double", 2), ("family", 4), ("single", 1))
    ),
    "leg": (
        _leg(401, HOME, ONE, 1, 480),
        _leg(402, ONE, HOME, 2, 1000),
        _leg(403, ONE, HOME, 2, 1000, mode="flight"),
        _leg(404, ONE, HOME, 2, 1000, seats=1),
        _leg(405, ONE, HOME, 2, 1200),
        _leg(406, HOME, ONE, 1, 480, price=90_000),
    ),
    "weather": tuple(
        Weather(city.id, day, "rain" if day == 2 else "sun") for city in (HOME, ONE, TWO) for day in (1, 2)
    ),
}

LEG_OUT = Item(kind="leg", id=401, day=1)
VISIT = Item(kind="visit", id=101, day=1, start="10:00")
MEAL = Item(kind="meal", id=201, day=1, start="12:00")
STAY = Item(kind="stay", id=301, day=1)
VISIT_2 = Item(kind="visit", id=102, day=2, start="09:00")
MEAL_2 = Item(kind="meal", id=202, day=2, start="11:30")
LEG_BACK = Item(kind="leg", id=402, day=2)
GOOD = (LEG_OUT, VISIT, MEAL, STAY, VISIT_2, MEAL_2, LEG_BACK)


def swap(old, new=None, **changes):
    """The good plan with one item replaced, changed, or (with None and no changes) left out."""
    new = old.model_copy(update=changes) if changes else new
    return tuple(item for other in GOOD if (item := new if other is old else other) is not None)


def add(item):
    """The good plan with one item more."""
    return (*GOOD, item)


def request(*constraints, adults=2, children=0, wheelchair=False, budget=10**7, **more):
    """The request that the good plan answers."""
    made = tuple(Constraint(kind, args) for kind, args in constraints)
    return Query(HOME, (ONE,), 2, 0, Party(adults, children, wheelchair), budget, made, **more)


@pytest.fixture
def store():
    made = Store(image(ROWS))
    yield made
    made.close()


@pytest.fixture
def failing(store):
    """Names of the rules that a plan breaks."""

    def check(plan, query=None, **more):
        query = query or request()
        found = verdicts(look_up(plan, query, store), query, **more)
        assert all(bool(verdict.reason) != verdict.ok for verdict in found)
        return {verdict.name for verdict in found if not verdict.ok}

    return check


# rule -> (plan that breaks it and nothing else, request)
BROKEN = {
    "ids_exist": (add(Item(kind="visit", id=999, day=2, start="10:30")), request()),
    "times_given": (add(Item(kind="visit", id=103, day=1)), request()),
    "no_overlap": (swap(MEAL, start="10:30"), request()),
    "no_repeats": (add(Item(kind="visit", id=101, day=1, start="14:00")), request()),
    "in_trip": (swap(LEG_BACK, day=1), request()),
    "closed_route": (add(Item(kind="meal", id=209, day=1, start="06:00")), request()),
    "all_cities": (GOOD, request()),
    "right_city": (GOOD, request()),
    "reachable": (swap(VISIT, start="09:12"), request()),
    "bus_hours": (GOOD, request()),
    "open_hours": (swap(VISIT_2, start="08:30"), request()),
    "open_days": (swap(VISIT_2, id=103), request()),
    "days_covered": (swap(MEAL_2), request()),
    "every_night": (add(Item(kind="stay", id=302, day=1)), request()),
    "beds": (swap(STAY, room="single"), request()),
    "rooms_left": (swap(STAY, room="family"), request()),
    "min_stay": (swap(STAY, id=303), request()),
    "seats": (swap(LEG_BACK, id=404), request()),
    "budget": (swap(LEG_OUT, id=406), request(budget=50_000)),
    "children": (swap(VISIT, id=104), request(adults=1, children=1)),
    "step_free": (swap(VISIT, id=105), request(wheelchair=True)),
    "grounded": (add(Item(kind="visit", id=105, day=1, start="14:00")), request(grounded=True)),
    "only_mode": (swap(LEG_BACK, id=403), request(("only_mode", ("train",)))),
    "no_mode": (swap(LEG_BACK, id=403), request(("no_mode", ("flight",)))),
    "home_by": (swap(LEG_BACK, id=405), request(("home_by", (1080,)))),
    "cuisine": (swap(MEAL, id=203), request(("cuisine", ("grill",)))),
    "no_cuisine": (swap(MEAL, id=203), request(("no_cuisine", ("seafood",)))),
    "meal_price": (swap(MEAL, id=203), request(("meal_price", (2000,)))),
    "stars": (swap(STAY, id=302), request(("stars", (3,)))),
    "pets": (swap(STAY, id=302), request(("pets", ()))),
    "must_visit": (swap(VISIT, id=104), request(("must_visit", (101, "P101", "One")))),
    "no_kind": (swap(VISIT, id=104), request(("no_kind", ("zoo",)))),
    "dry": (GOOD, request(("dry", ()))),
    "walking": (add(Item(kind="visit", id=106, day=1, start="15:00")), request(("walking", (3000,)))),
    "visits": (GOOD, request(("visits", (3,)))),
    "kind_count": (swap(VISIT, id=104), request(("kind_count", ("museum", 1)))),
    "near_station": (GOOD, request(("near_station", (300,)))),
    "early_meals": (swap(MEAL_2, start="13:00"), request(("early_meals", (750,)))),
}
# The plan that keeps the rule, where it is not the good plan.
KEPT = {
    "dry": swap(VISIT_2, id=104),
    "visits": add(Item(kind="visit", id=105, day=1, start="14:00")),
}
SEEN = {item.id for item in GOOD}


@pytest.mark.parametrize("name", sorted(set(BROKEN) - {"all_cities", "right_city", "bus_hours", "near_station"}))
def test_each_rule_has_a_minimal_pair(name, failing):
    plan, query = BROKEN[name]
    broken = failing(plan, query, seen=SEEN)
    assert broken == {name}
    assert failing(KEPT.get(name, GOOD), query, seen=SEEN) == set()


def test_a_cancelled_leg_breaks_only_running(failing, store):
    assert failing(GOOD) == set()
    store.cancel_leg(402)
    assert failing(GOOD) == {"running"}


def test_every_city_that_was_asked_for_needs_a_visit(failing):
    two = replace(request(), cities=(ONE, TWO))
    assert failing(GOOD, two) == {"all_cities"}


def test_a_visit_in_another_city_than_one_is_in(failing):
    two = replace(request(), cities=(ONE, TWO))
    there = add(Item(kind="visit", id=111, day=1, start="14:00"))
    assert failing(there, two) >= {"right_city"} and "right_city" not in failing(GOOD, two)
    # back at the table in the first city, the rest of the day is as it was
    back = (*there, Item(kind="meal", id=203, day=1, start="18:00"))
    assert failing(back, two) == {"right_city"}


def test_no_bus_at_night(failing):
    late = Item(kind="meal", id=203, day=1, start="21:00", by="walk")
    assert failing(add(late)) == set()
    by_bus = (*swap(STAY, by="bus"), late)
    assert failing(by_bus) == set()  # the meal is over at 22:00
    _, query = BROKEN["bus_hours"]
    early = swap(LEG_OUT, by="bus")
    assert failing(early, query) == set()  # at the station already: no way, no bus


def test_no_bus_after_eleven(failing, store):
    store.db.execute("UPDATE restaurant SET close = 1439 WHERE id = 203")
    store.db.execute("UPDATE restaurant SET x = x + 100 WHERE id = 203")
    late = Item(kind="meal", id=203, day=1, start="22:10")
    assert failing((*swap(STAY, by="bus"), late)) == {"bus_hours"}
    assert failing((*swap(STAY, by="taxi"), late)) == set()


def test_the_hotel_must_be_reached_by_midnight(failing, store):
    store.db.execute("UPDATE restaurant SET close = 1440, x = x + 4000 WHERE id = 203")
    late = Item(kind="meal", id=203, day=1, start="22:30", by="taxi")
    assert failing((*swap(STAY, by="walk"), late)) == {"reachable"}
    assert failing((*swap(STAY, by="taxi"), late)) == set()


def test_nobody_leaves_the_hotel_before_seven(failing, store):
    store.db.execute("UPDATE poi SET open = 300 WHERE id = 104")
    assert failing(add(Item(kind="visit", id=104, day=2, start="06:30"))) == {"reachable"}
    assert failing(add(Item(kind="visit", id=104, day=2, start="07:30"))) == set()


def test_hotels_near_the_station(failing):
    plan, query = BROKEN["near_station"]
    assert failing(plan, query) == {"near_station"}
    assert failing(plan, request(("near_station", (400,)))) == set()


def test_every_rule_and_constraint_is_covered():
    assert {rule.name for rule in RULES} - set(BROKEN) == {"running"}
    assert set(KINDS_OF_CONSTRAINT) <= set(BROKEN)


def test_nothing_passes_by_absence(store):
    every = [
        (kind, args) for _, query in BROKEN.values() for kind, args in [(c.kind, c.args) for c in query.constraints]
    ]
    query = request(*every, adults=1, children=1, wheelchair=True, grounded=True)
    found = verdicts(look_up((), query, store), query)
    assert [verdict.name for verdict in found if verdict.ok] == []
    assert share(found, look_up((), query, store), query) == 0.0 and feedback(found)[0].text == "The plan is empty."


def test_the_dense_reward_pays_for_what_is_there(store):
    def dense(plan):
        query = request()
        trip = look_up(plan, query, store)
        return share(verdicts(trip, query), trip, query)

    assert dense(GOOD) == 1.0
    assert dense((VISIT,)) < 0.2 and dense((MEAL,)) < 0.2
    order = [(VISIT,), (VISIT, MEAL), (LEG_OUT, VISIT, MEAL), (LEG_OUT, VISIT, MEAL, STAY), swap(MEAL_2), GOOD]
    earned = [dense(plan) for plan in order]
    assert earned == sorted(earned) and len(set(earned)) == len(earned)


def test_costs_come_from_the_database(store):
    query = request()
    trip = look_up(GOOD, query, store)
    assert trip.costs() == {"legs": 8000, "rooms": 5000, "visits": 2000, "meals": 4000, "ways": 0}
    assert trip.cost() == 19_000
    taxi = look_up(swap(VISIT, id=106, by="taxi", start="10:00"), query, store)
    assert taxi.costs()["ways"] == 400 + 150 * 4000 // 1000


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (swap(VISIT_2, id=103), "Day 2: Poi 103 is closed on Tuesdays."),
        (swap(VISIT_2, start="08:30"), "Day 2: Poi 102 opens at 09:00, you come at 08:30."),
        (
            swap(VISIT, start="09:12"),
            "Day 1: Poi 101 begins before you can be there (needs 5 min by walk, have 2).",
        ),
    ],
)
def test_feedback_says_what_and_where(plan, text, store):
    query = request()
    notes = feedback(verdicts(look_up(plan, query, store), query))
    assert [note.text for note in notes] == [text]


def test_form_comes_before_content_and_reasons_are_few(store):
    query = request(budget=1)
    both = (*swap(VISIT_2, id=103), Item(kind="visit", id=999, day=1, start="15:00"))
    assert [n.text for n in feedback(verdicts(look_up(both, query, store), query))] == [
        "Day 1: there is no visit with id 999."
    ]
    lonely = feedback(verdicts(look_up([VISIT], query, store), query))
    assert len(lonely) == 5 and lonely[-1].text.endswith("more rules are broken.")


def test_an_unasked_wish_is_not_told_by_the_verdict(store):
    query = request(("stars", (5,)), withheld=frozenset({"stars"}))
    hidden = feedback(verdicts(look_up(GOOD, query, store), query))
    assert [n.text for n in hidden] == ["A wish of the traveller that you did not ask about is not met."]
    told = feedback(verdicts(look_up(GOOD, query, store), query, told={"stars"}))
    assert [n.text for n in told] == ["Hotel 301 has 3 stars; at least 5 were asked for."]
