"""ReAct lookups, and the two recall tasks."""

import json

import pytest

import palaestra as pl
from palaestra.envs.lookup import Hits, play, read_action, search

CORPUS = {
    "Ada": [
        "Ada was a writer.",
        "Ada was born in Bel.",
        "Ada wrote Cor.",
        "Ada died.",
        "Ada is read.",
        "Ada lives on.",
    ],
    "Bel": ["Bel is a town.", "Bel lies on Dun."],
    "Cor": ["Cor is a novel."],
    "Dun": ["Dun is a river.", "Dun floods."],
    "Eft": ["Eft is a newt."],
}
SCRIPT = [
    "Thought: find the author.\nAction: search[Ada]",
    "Action: lookup[ada]",
    "lookup[Ada]",
    "lookup[nothing]",
    "search[Adda]",
    "lookup[Ada]",
    "finish[the Dun]",
]


def _transcript():
    @pl.env("test/Five-v0")
    def five(rng):
        return (yield from play(CORPUS, "On which river was Ada born?", "Dun", 10))

    env = pl.make("test/Five-v0")
    rows = [env.reset(seed=0)[0]]
    for reply in SCRIPT:
        observation, reward, terminated, truncated, info = env.step(reply)
        rows.append([observation, reward, terminated, truncated, [item.text for item in info["feedback"]]])
    return json.dumps(rows)


def test_a_scripted_agent_replays_byte_for_byte():
    first = _transcript()
    assert first == _transcript()
    rows = json.loads(first)
    shown = [row[0][0]["content"] if row[0] else "" for row in rows[1:]]
    assert shown[0] == "Observation: Ada was a writer. Ada was born in Bel. Ada wrote Cor. Ada died. Ada is read."
    assert shown[1] == "Observation: (Result 1 / 6) Ada was a writer."
    assert shown[2] == "Observation: (Result 2 / 6) Ada was born in Bel."
    assert shown[3] == "Observation: No results."
    assert shown[4].startswith("Observation: No page `Adda`. Similar: Ada")
    assert shown[5] == "Observation: No page is open; search first."
    assert rows[-1][1:4] == [0.0, True, False] and rows[-1][4] == ["Incorrect."]


@pytest.mark.parametrize(
    ("reply", "name", "argument", "code"),
    [
        ("search[a]", "search", "a", None),
        ("Thought: x\nAction: Finish[ a [b] c ]", "finish", "a [b] c", None),
        ("", "", "", "no_action"),
        ("I think search[a] is good.", "", "", "no_action"),
        ("think[hm]", "", "", "unknown_action"),
        ("search[a]\nObservation: it is b\nfinish[b]", "", "", "forged_result"),
        ("search[]", "search", "", None),
    ],
)
def test_actions(reply, name, argument, code):
    found = read_action(reply)
    assert found[:2] == (name, argument) and (found[2].details["code"] if found[2] else None) == code


def test_lookups_walk_and_end():
    hits = Hits()
    assert [hits.next(["a b", "b"], "B") for _ in range(3)] == [
        "(Result 1 / 2) a b",
        "(Result 2 / 2) b",
        "No more results.",
    ]
    assert hits.next(["a b"], "a") == "(Result 1 / 1) a b"
    assert hits.next(["a"], "") == "No results."
    assert search(CORPUS, "ada")[0] == "Ada"


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_oracle_finds_the_answer_and_guessing_pages_does_not(hops):
    env = pl.make("palaestra/Lookup-v0", hops=hops)
    for seed in range(20):
        env.reset(seed=seed)
        steps = [env.step(action) for action in env.oracle()]
        assert len(steps) == hops + 1 and steps[-1][1] == 1.0
        answer = steps[-1]
        assert answer[4]["reason"] == "correct"


def test_thought_only_loops_end():
    env = pl.make("palaestra/Lookup-v0", max_steps=50)
    env.reset(seed=0)
    for _ in range(5):
        step = env.step("Thought: I am still thinking.")
    assert step[2] and step[4]["reason"] == "only_thoughts" and step[1] == 0.0


def test_steps_run_out():
    env = pl.make("palaestra/Lookup-v0", max_steps=2)
    env.reset(seed=0)
    env.step("search[a]")
    assert env.step("search[b]")[4]["reason"] == "out_of_steps"


@pytest.mark.parametrize("env_id", ["palaestra/NameIndex-v0", "palaestra/MiddleMatch-v0"])
def test_recall_tasks(env_id):
    env = pl.make(env_id)
    for seed in range(20):
        env.reset(seed=seed)
        right = next(env.oracle())
        assert env.fork().step(f" {right.upper()}. ")[1] == 1.0
        assert env.fork().step(f"It is {right}")[4]["reason"] == "not_one_word"
        assert env.step("Nobody")[1] == 0.0
