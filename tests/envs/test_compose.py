"""Composition of string functions: operators, splits, generators, grading and failure classes."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

import palaestra as pl
from palaestra.envs import compose_paper, compose_typed
from palaestra.envs.compose_operators import OPERATORS, SPLITS, TWINS, members, word
from palaestra.envs.compose_tree import (
    Call,
    Leaf,
    calls,
    depth,
    evaluate,
    failure_class,
    read_output,
    show,
    trace,
    uses_x,
)

WORLDS = ("paper", "strict", 0, 7)
ORACLE = next(
    o for o in json.loads((Path(__file__).parents[1] / "data" / "oracles.json").read_text()) if o["id"] == "FGX-1"
)


def run(index, *arguments):
    return OPERATORS[index].run(*arguments)


def test_worked_operators():
    expected = ORACLE["expected"]
    assert run(16, run(14, "hello")) == expected['16(14("hello"))']
    assert run(9, "abc") == expected['9("abc")']
    assert run(0, "abcdef") == expected['0("abcdef")']
    assert run(11, "xyz", 3) == expected['11("xyz",3)']
    assert run(23, "abc", 1) == expected['23("abc",1)']
    assert run(13, "abc", "-") == expected['13("abc","-")']
    assert run(22, "abc") == expected['22("abc")']


def test_twins_agree_and_the_strict_split_keeps_them_together():
    rng = np.random.default_rng(0)
    agree = dict.fromkeys(TWINS, 0)
    for _ in range(1000):
        s, t, n = word(rng, 3, 10), word(rng, 3, 10), int(rng.integers(1, 4))
        for a, b in TWINS:
            second = {(7, 20): (t,), (9, 24): ()}.get((a, b), (n,))
            agree[a, b] += run(a, s, *second) == run(b, s, *(second or (n,)))
    assert agree[1, 18] == agree[8, 19] == agree[7, 20] == 1000 and 980 <= agree[9, 24] < 1000
    for split in SPLITS.values():
        assert not split["train"] & split["test"] and split["train"] | split["test"] == set(range(25))
    for a, b in TWINS:
        assert len({side for side in ("train", "test") for i in (a, b) if i in SPLITS["strict"][side]}) == 1
    assert any((a in SPLITS["paper"]["train"]) != (b in SPLITS["paper"]["train"]) for a, b in TWINS)


@pytest.mark.parametrize("world", WORLDS)
def test_the_oracle_scores_one_at_every_depth_and_an_echo_does_not(world):
    for level in range(1, 9):
        env = pl.make("palaestra/Compose-v0", world=world, level=level, max_output=256)
        for seed in range(4):
            env.reset(seed=seed)
            (reply,) = env.oracle()
            assert env.step(reply)[1] == 1.0
            env.reset(seed=seed)
            x = env.current_task.metadata["input"]
            *_, info = env.step(json.dumps({"output": x}))
            if world == 0:
                assert info["reason"] != "correct"


@pytest.mark.parametrize("world", WORLDS)
def test_same_seed_same_task(world):
    prompts = []
    for _ in range(2):
        env = pl.make("palaestra/Compose-v0", world=world, level=3, examples=2)
        prompts.append([env.reset(seed=seed)[0][-1]["content"] for seed in range(5)])
    assert prompts[0] == prompts[1] and len(set(prompts[0])) == 5


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("side", ["train", "test"])
def test_only_operators_of_the_side_occur(split, side):
    allowed = {op.name for op in members(split, side)}
    rng = np.random.default_rng(1)
    for level in (1, 2, 4, 6):
        for _ in range(30):
            node, x = compose_paper.problem(rng, level, members(split, side), require_x=True)
            assert uses_x(node) and depth(node) == level
            assert {call.name for call in calls(node) if call.name.startswith("func_")} <= allowed
            assert all(len(value) <= 256 for _, _, value in trace(node, x))


def test_many_expressions_of_the_study_do_not_depend_on_the_input():
    rng = np.random.default_rng(42)
    share = {}
    for level in (1, 2, 3):
        nodes = [compose_paper.draw(rng, level, members("paper", "train")) for _ in range(800)]
        share[level] = sum(not uses_x(node) for node in nodes) / len(nodes)
    assert share[1] > share[2] > share[3] > 0.1


def test_typed_worlds_have_no_idle_stage_and_disjoint_pairs():
    rng = np.random.default_rng(3)
    functions = compose_typed.world(5, 14)
    seen = {"train": set(), "test": set()}
    for side in seen:
        for level in (2, 3, 5):
            for _ in range(25):
                node, x = compose_typed.problem(rng, 5, functions, level, False, side, "abcdefgh", 8)
                steps = list(trace(node, x, compose_typed.MAX_INTERMEDIATE))
                assert all(value not in texts and len(value) <= 64 for _, texts, value in steps)
                assert len({x, *(value for _, _, value in steps)}) >= 3
                seen[side] |= compose_typed.all_pairs(node)
    assert seen["train"] and seen["test"] and not seen["train"] & seen["test"]


def test_names_mean_something_else_in_another_world():
    one, two = compose_typed.world(1, 42), compose_typed.world(2, 42)
    shared = {f.name: f for f in one}.keys() & {f.name: f for f in two}.keys()
    assert sum({f.name: f.primitive for f in one}[n] == {f.name: f.primitive for f in two}[n] for n in shared) <= 2
    assert len(compose_typed.PRIMITIVES) >= 40 and len({f.name for f in one}) == 42


@pytest.mark.parametrize("primitive", [row[0] for row in compose_typed.PRIMITIVES])
def test_primitives_take_any_text(primitive):
    function = next(f for f in compose_typed.world(3, 42) if f.primitive == primitive)
    for text in ("", "a", "ab", "Abc1", "«x»", "zzzzzzzzzz"):
        assert isinstance(function(text), str)
    assert function.definition and "{" not in function.definition


def test_fan_in_and_hidden_definitions():
    env = pl.make("palaestra/Compose-v0", world=2, level=3, fan_in=True, visible=False)
    (message,), _ = env.reset(seed=1)
    assert " + " in message["content"] and "work on strings" not in message["content"]


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ('{"output": "ab"}', "ab"),
        ('first {"output": "x"} then {"output": "a}b"}', "a}b"),
        ('```json\n{"output": "«a»|b"}\n```', "«a»|b"),
        ("<answer>`ab`</answer>", "ab"),
        ('<answer>"ab"</answer>', "ab"),
        ('<think>{"output": "no"}</think>', None),
        ('{"output": 5}', None),
        ("ab", None),
        ("{" * 5000, None),
        ('{"output": "ab"', None),
    ],
)
def test_reading_the_answer(reply, answer):
    assert read_output(reply) == answer


def chain(*indices):
    node = Leaf()
    for index in indices:
        node = Call(OPERATORS[index].name, OPERATORS[index].run, (node,))
    return node


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("bbaa", "correct"),
        ("ba", "ignored_composition"),
        ("ab", "ignored_composition"),
        ("aabb", "ignored_composition"),
        ("zz", "atomic_error"),
    ],
)
def test_failure_classes(answer, expected):
    assert failure_class(chain(17, 14), "ab", answer) == expected


def test_partial_traces_and_swapped_functions_are_told_apart():
    node = chain(14, 17, 22, 9)  # double, reverse, even length, append the mirror image
    x = "abc"
    values = [value for _, _, value in trace(node, x)]
    assert failure_class(node, x, values[1]) == "partial_trace"
    swapped = evaluate(chain(9, 14, 17, 22), x)
    assert failure_class(chain(3, 9), "cab", evaluate(chain(9, 3), "cab")) == "wrong_composition"
    assert failure_class(node, x, swapped) in ("wrong_composition", "correct")


def test_hints_are_off_by_default():
    for hints, texts in ((False, {"Incorrect."}), (True, {"Incorrect: the length differs."})):
        env = pl.make("palaestra/Compose-v0", hints=hints, level=2)
        env.reset(seed=0)
        *_, info = env.step('{"output": "q"}')
        assert {item.text for item in info["feedback"]} == texts


@pytest.mark.parametrize("knobs", [{"world": "moon"}, {"level": 0}, {"side": "left"}, {"functions": 1}])
def test_bad_knobs_are_named(knobs):
    with pytest.raises(Exception, match=next(iter(knobs))):
        pl.make("palaestra/Compose-v0", **knobs).reset(seed=0)


def test_a_tabular_agent_has_the_accuracy_that_its_skills_predict():
    """Knowing each function with probability p and composing with probability c gives p**d * c**(d-1)."""
    p, c, rng = 0.9, 0.8, random.Random(5)
    for level in (1, 2, 3):
        right, predicted, n = 0, 0.0, 1500
        source = np.random.default_rng(level)
        functions = compose_typed.world(9, 10)
        for k in range(n):
            if k % 10 == 0:
                node, x = compose_typed.problem(source, 9, functions, level, False, "all", "abcdefgh", 8)
                correct = evaluate(node, x, 64)
            value, ok = x, True
            for i, call in enumerate(calls(node)):
                ok = rng.random() < p and (i == 0 or rng.random() < c)
                value = call.run(value) if ok else "?"
                if not ok:
                    break
            right += value == correct
            predicted += p**level * c ** (level - 1)
        assert abs(right - predicted) / n < 0.04
    assert show(Leaf()) == "x"
