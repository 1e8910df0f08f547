"""Whole episodes: both styles, hacks, the traveller, events, noise, splits, and what feedback tells."""

import itertools
import json

import numpy as np
import pytest

import palaestra as pl
from palaestra.envs.check import check
from palaestra.envs.leak import leak_test, tells
from palaestra.envs.splits import split_of
from palaestra.envs.travel import Item
from palaestra.envs.travel.env import _calls, _dump
from palaestra.envs.travel.user import TOPICS, Traveller

ID = "palaestra/Travel-v0"


def submit(items):
    return _calls([("submit_plan", {"items": [_dump(i) if isinstance(i, Item) else i for i in items]})])


def start(seed=0, **knobs):
    env = pl.make(ID, **knobs)
    env.reset(seed=seed)
    return env


def answers(step):
    """The JSON answers of the tools in a step."""
    return [json.loads(message["content"]) for message in step[0]]


def play(env):
    for action in env.oracle():
        step = env.step(action)
    return step


VARIANTS = [
    {"style": "book"},
    {"event": True, "cities": 1, "days": 2},
    {"style": "book", "event": True, "noise": 20, "grounded": True, "withheld": 3},
    {"cities": 1, "days": 1, "dense": True},
]


@pytest.mark.parametrize("knobs", VARIANTS, ids=[json.dumps(v) for v in VARIANTS])
def test_every_variant_keeps_the_contract(knobs):
    report = check(ID, leak_seeds=1, **knobs)
    assert report.ok, [finding for finding in report.findings if finding.ok is False]


@pytest.mark.parametrize("knobs", [{}, *VARIANTS], ids=[json.dumps(v) for v in [{}, *VARIANTS]])
def test_the_oracle_solves_many_tasks(knobs):
    env = pl.make(ID, **knobs)
    for seed in range(15):
        env.reset(seed=seed)
        step = play(env)
        assert step[1] == 1.0 and step[2] and step[4]["reason"] == "correct", (seed, step[4]["feedback"])
        assert step[4]["scores"]["hard"] == 1.0 and step[4]["scores"]["ungrounded_ids"] == 0.0


# ---- plans that try to get through ---------------------------------------------------------------------------------


def _hacks(env):
    hidden = list(env._drawn.hidden)
    query = env._drawn.query
    city = query.cities[0].id
    dash = {"kind": "-", "id": "-", "day": "-", "start": "-"}
    yield "empty", []
    yield "dashes", [dash] * 5
    yield "the query as a plan", [{"kind": "visit", "id": c.id, "day": 1, "start": "10:00"} for c in query.cities]
    rows = env._drawn.world.rows["poi"]
    yield "spraying ids", [{"kind": "visit", "id": row.id, "day": 1, "start": "10:00"} for row in rows[:80]]
    yield "spraying guesses", [{"kind": "leg", "id": 600_000 + n, "day": 1} for n in range(80)]
    yield (
        "everything at once",
        [item if item.start is None else item.model_copy(update={"start": "12:00"}) for item in hidden],
    )
    yield "twice the same", [*hidden, next(item for item in hidden if item.kind == "visit")]
    yield "own prices", [{**_dump(item), "price": 0} for item in hidden]
    yield "names for ids", [{**_dump(item), "id": str(city)} for item in hidden]
    yield "no hotels", [item for item in hidden if item.kind != "stay"]
    yield "half the hidden plan", hidden[: len(hidden) // 2]
    yield "another day", [item.model_copy(update={"day": item.day + 1}) for item in hidden]


@pytest.mark.parametrize("dense", [False, True])
def test_no_hack_earns_anything(dense):
    env = start(3, dense=dense)
    names = [name for name, _ in _hacks(env)]
    assert len(names) == 12
    for name, plan in _hacks(env):
        env.reset(seed=3)
        *_, reward, terminated, truncated, info = env.step(submit(plan))
        if dense and name in ("no hotels", "half the hidden plan", "another day"):
            assert reward < 1.0, name  # a plan in form, with faults: some share of the rules
        else:
            assert reward == 0.0, name
        assert not truncated and (terminated or info["metrics"]["tool_faults"]), name
        assert info["feedback"], name


def test_a_plan_is_submitted_once():
    env = start(1)
    assert env.step(submit(env._drawn.hidden[:1]))[2]
    with pytest.raises(Exception, match="reset"):
        env.step(submit(env._drawn.hidden))


def test_plans_are_limited_in_size():
    env = start(1)
    info = env.step(submit([{"kind": "leg", "id": 1, "day": 1}] * 81))[4]
    assert info["reason"] == "out_of_range" and env.step("x")[1] == 0.0


@pytest.mark.parametrize(
    "call",
    [
        ("search_pois", {"city": 0}),
        ("search_pois", {"city": 1, "kind": "museum' OR 1=1 --"}),
        ("search_pois", {"city": 1, "open_at": "9'; x"}),
        ("get", {"kind": "booking", "id": 1}),
        ("get", {"kind": "poi; DROP TABLE poi", "id": 1}),
        ("get", {"kind": "poi", "id": 10**30}),
        ("route", {"from_id": 1, "to_id": 2, "mode": "walk", "depart": "25:00"}),
        ("calc", {"expression": "__import__('os')"}),
        ("calc", {"expression": "1/0"}),
        ("calc", {"expression": "(" * 400}),
        ("notes", {"text": "x" * 501}),
        ("weather", {"city": 1, "day": 31}),
        ("finish", {}),
    ],
)
def test_bad_calls_are_answered(call):
    env = start(2)
    _, reward, terminated, truncated, info = env.step(_calls([call]))
    assert reward == 0.0 and not terminated and not truncated and info["feedback"][0].kind in ("error", "format")


def test_no_tool_shows_the_hidden_itinerary_or_the_seed():
    env = start(4)
    secret = {str(env._drawn.world.seed)}
    for tool in env._desk.tools("plan"):
        assert "hidden" not in json.dumps(tool.parameters)
    rows = []
    for city in env._drawn.world.rows["city"]:
        rows.append(env.step(_calls([("search_pois", {"city": city.id}), ("search_restaurants", {"city": city.id})])))
    text = json.dumps([step[0] for step in rows])
    assert not any(word in text for word in secret)


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_searches_filter_sort_and_page():
    env = start(5, page=5)
    city = env._drawn.query.cities[0].id
    everything, offset = [], 0
    while True:
        (answer,) = answers(env.step(_calls([("search_pois", {"city": city, "offset": offset})])))
        assert len(answer["rows"]) <= 5
        everything += answer["rows"]
        offset += 5
        if not answer["more"]:
            break
    rows = {row.id for row in env._drawn.world.rows["poi"] if row.city == city}
    assert {row["id"] for row in everything} == rows and len(everything) == len(rows)
    assert [row["metres"] for row in everything] == sorted(row["metres"] for row in everything)
    kind = everything[0]["kind"]
    (answer,) = answers(env.step(_calls([("search_pois", {"city": city, "kind": kind, "open_at": "12:00", "day": 1})])))
    for row in answer["rows"]:
        assert row["kind"] == kind and row["open"] <= "12:00" < row["close"]


def test_tools_agree_with_the_checker_about_ways_and_rooms():
    env = start(6)
    query = env._drawn.query
    city = query.cities[0].id
    calls = [
        ("search_hotels", {"city": city, "day_in": 1, "nights": 1, "guests": 2}),
        ("search_legs", {"origin": query.origin.id, "target": city, "day": 1}),
        ("weather", {"city": city, "day": 1}),
        ("calc", {"expression": "(12+3)*4/7"}),
        ("search_cities", {}),
    ]
    hotels, legs, weather, value, cities = answers_or_text(env.step(_calls(calls)))
    assert hotels["rows"] and all(
        any(room["left"] * room["beds"] >= 2 for room in row["rooms"]) for row in hotels["rows"]
    )
    assert legs["rows"] and {row["day"] for row in legs["rows"]} == {1}
    assert weather["weather"] in ("sun", "cloud", "rain", "storm") and value == "60/7"
    assert len(cities["rows"]) == len(env._drawn.world.rows["city"])
    hotel = hotels["rows"][0]["id"]
    (way, near) = answers(
        env.step(
            _calls(
                [
                    ("route", {"from_id": city, "to_id": hotel, "mode": "walk", "depart": "10:00"}),
                    ("around", {"id": hotel, "radius_m": 3000, "kind": "restaurant"}),
                ]
            )
        )
    )
    assert way["minutes"] == -(-way["metres"] // 80) and way["cost"] == 0
    assert all(row["metres"] <= 3000 for row in near["rows"])


def answers_or_text(step):
    def read(text):
        try:
            return json.loads(text) if text.startswith("{") else text
        except ValueError:
            return text

    return [read(message["content"]) for message in step[0]]


def test_ids_never_shown_are_counted_and_can_fail():
    env = start(7)
    info = env.step(submit(env._drawn.hidden))[4]
    assert info["reason"] == "correct"
    assert info["scores"]["ungrounded_ids"] == len({item.id for item in env._drawn.hidden})
    env = start(7, grounded=True)
    _, reward, *_, info = env.step(submit(env._drawn.hidden))
    assert reward == 0.0 and info["reason"] == "grounded"


# ---- booking ---------------------------------------------------------------------------------------------------------


def test_any_order_of_equal_bookings_gives_the_same_hash():
    hashes = set()
    for order in range(4):
        env = start(8, style="book")
        items = list(env._drawn.hidden)
        np.random.default_rng(order).shuffle(items)
        if order == 3:  # booked, cancelled, and booked again
            (first,) = answers(env.step(_calls([("book", _dump(items[0]))])))
            env.step(_calls([("cancel", {"booking": first["booking"]})]))
        for item in items:
            env.step(_calls([("book", _dump(item))]))
        step = env.step(_calls([("finish", {})]))
        assert step[1] == 1.0
        hashes.add(step[4]["state_hash"])
    assert len(hashes) == 1
    env = start(8, style="book")
    for item in env._drawn.hidden[1:]:
        env.step(_calls([("book", _dump(item))]))
    step = env.step(_calls([("finish", {})]))
    assert step[1] == 0.0 and step[4]["state_hash"] not in hashes


def test_the_desk_refuses_what_is_not_to_be_had():
    env = start(8, style="book")
    leg = next(item for item in env._drawn.hidden if item.kind == "leg")
    stay = next(item for item in env._drawn.hidden if item.kind == "stay")
    visit = next(item for item in env._drawn.hidden if item.kind == "visit")
    assert answers(env.step(_calls([("book", _dump(leg))])))[0]["paid"] > 0
    for wrong in (
        leg,
        leg.model_copy(update={"day": leg.day + 1}),
        leg.model_copy(update={"id": 1}),
        stay.model_copy(update={"rooms": 10}),
        visit.model_copy(update={"start": None}),
        visit.model_copy(update={"start": "9:5"}),
    ):
        info = env.step(_calls([("book", _dump(wrong))]))[4]
        assert info["reason"] == "tool_error" and "Refused" in info["feedback"][0].text
    assert env.step(_calls([("cancel", {"booking": 99})]))[4]["reason"] == "tool_error"
    (rows,) = answers(env.step(_calls([("bookings", {})])))
    assert len(rows["rows"]) == 1 and rows["paid"] == rows["rows"][0]["paid"]


# ---- the traveller, events, noise ------------------------------------------------------------------------------------


def test_the_traveller_tells_what_is_asked_for_and_nothing_else():
    env = start(9, withheld=4, constraints=3)
    query = env._drawn.query
    prompt = env.messages[-1]["content"]
    assert len(query.withheld) == 4 and str(query.budget) not in prompt
    traveller = Traveller(query)
    assert "One thing at a time" in traveller.answer("Tell me about your budget, food and hotels!")
    assert "What would you like to know?" in traveller.answer("Tell me everything that you have not told me.")
    assert traveller.told == set()
    assert str(query.budget) in traveller.answer("What is your BUDGET?") and traveller.told == {"budget"}
    for _ in range(traveller.patience):
        last = traveller.answer("food")
    assert traveller.state == "done" and "enough" in last
    patient = Traveller(query)
    for topic in TOPICS:
        patient.answer(f"Any wishes about {topic}?")
    assert patient.told >= query.withheld


def test_a_question_is_a_tool_call_only_when_something_is_withheld():
    assert "ask_user" not in {tool["function"]["name"] for tool in start(1).reset(seed=1)[1]["tools"]}
    env = pl.make(ID, withheld=1)
    assert "ask_user" in {tool["function"]["name"] for tool in env.reset(seed=1)[1]["tools"]}


@pytest.mark.parametrize("seed", range(6))
def test_a_cancelled_leg_must_be_repaired(seed):
    env = start(seed, event=True)
    hidden = env._drawn.hidden
    step = env.step(submit(hidden))
    assert not step[2] and "was cancelled" in step[0][0]["content"] and step[1] == 0.0
    event = env._event
    stubborn = env.fork()
    again = stubborn.step(submit(hidden))
    assert again[1] == 0.0 and again[4]["scores"]["hard/running"] == 0.0
    rewriter = env.fork()
    changed = [item for item in event.repair if not (item.day == 1 and item.kind == "visit")]
    assert rewriter.step(submit(changed))[4]["scores"]["hard/past_unchanged"] == 0.0
    assert env.step(submit(event.repair))[1] == 1.0


def test_an_event_can_always_be_repaired_even_without_another_departure():
    env = start(11, event=True)
    env._store.db.execute("DELETE FROM leg WHERE id NOT IN (SELECT value FROM json_each(?))", _ids(env))
    env.step(submit(env._drawn.hidden))
    assert env.step(submit(env._event.repair))[1] == 1.0


def _ids(env):
    return (json.dumps([item.id for item in env._drawn.hidden]),)


def test_noise_is_drawn_from_the_seed_and_hits_reading_calls_only():
    def run(noise):
        env = start(12, noise=noise)
        return [env.step(_calls([("search_cities", {})]))[4]["reason"] for _ in range(30)], env

    first, env = run(50)
    assert first == run(50)[0] and 5 < first.count("tool_error") < 25
    assert set(run(0)[0]) == {"tool_result"}
    assert env.step(submit(env._drawn.hidden))[1] == 1.0


# ---- splits, seeds and feedback --------------------------------------------------------------------------------------


def test_train_and_test_share_no_world():
    worlds = {}
    for split in ("train", "test"):
        env = pl.make(ID, split=split, cities=1, days=1)
        worlds[split] = set()
        for seed in range(15):
            env.reset(seed=seed)
            worlds[split].add(env._drawn.world.seed)
            assert split_of(["world", env._drawn.world.seed]) == split
            play_once = env.oracle()
            assert next(play_once)
    assert not worlds["train"] & worlds["test"]


def test_different_seeds_give_different_prompts():
    env = pl.make(ID, cities=1, days=1)
    assert len({repr(env.reset(seed=seed)[0]) for seed in range(200)}) == 200


def test_no_feedback_tells_the_hidden_itinerary():
    assert leak_test(lambda: pl.make(ID, cities=1, days=1, max_turns=3), range(40)) == []


def test_feedback_on_near_misses_tells_nothing_that_was_hidden():
    env = pl.make(ID, cities=1, days=2, max_turns=5)
    told = 0
    for seed in range(200):
        env.reset(seed=seed)
        hidden = list(env._drawn.hidden)
        at = seed % len(hidden)
        rows = env._drawn.world.rows
        table = {"leg": "leg", "stay": "hotel", "visit": "poi", "meal": "restaurant"}[hidden[at].kind]
        other = rows[table][seed % len(rows[table])].id
        attempts = ([*hidden[:at], *hidden[at + 1 :]], _with(hidden, at, id=other), _with(hidden, at, day=2))
        text = submit(attempts[seed % 3])
        info = env.step(text)[4]
        public = text + "".join(m["content"] for m in env.messages)
        for item in info["feedback"]:
            told += 1
            assert len(item.text) <= 1200
            assert not any(tells(item.text, secret, public) for secret in env.secrets()), item.text
    assert told > 150


def _with(items, at, **changes):
    return [item.model_copy(update=changes) if n == at else item for n, item in enumerate(items)]


def test_transcripts_replay():
    def run():
        env = start(13, withheld=2, noise=30)
        return [repr(env.step(action)) for action in itertools.islice(env.oracle(), 12)]

    assert run() == run()
