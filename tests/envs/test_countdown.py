"""Countdown and Sort: the parser, the rules of numbers, solvers, compact prompts."""

from fractions import Fraction
from itertools import combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import palaestra as pl
from palaestra.envs.arithmetic import NotAnExpression, canonical, evaluate, numbers, parse, show
from palaestra.envs.countdown import _reachable, count_solutions, extract, judge, solutions, solve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1+2*3", 7), ("(1+2)*3", 9), ("7-3-2", 2), ("8/4/2", 1), ("1/3", Fraction(1, 3)), ("-(2-5)", 3), ("2--3", 5),
        (" 3 × 4 ", 12), ("8 ÷ 2", 4), ("5 − 2", 3), ("$2 \\times 3$", 6), ("\\left(1+1\\right)*2", 4), ("007", 7),
    ],
)  # fmt: skip
def test_values_are_exact(text, value):
    assert evaluate(parse(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "1+", "(1", "1)", "1 2", "2(3)", "a+1", "1.5", "2**3", "2^3", "1,2", "__import__('os')", "exit()", "1;2",
        "0x10",
        "1e3", "٣+1", "9" * 13, "(" * 200 + "1" + ")" * 200, "-" * 100 + "1", "1+" * 400 + "1", "lambda: 1", "\x001",
    ],
)  # fmt: skip
def test_everything_else_is_no_expression(text):
    with pytest.raises(NotAnExpression):
        parse(text)
    assert judge(text, [1, 2, 3], 6).reason == "not_an_expression"


def _trees(depth=3):
    leaf = st.integers(0, 50).map(lambda n: ("num", n))
    return st.recursive(leaf, lambda inner: st.tuples(st.sampled_from("+-*/"), inner, inner), max_leaves=6)


@given(_trees())
@settings(max_examples=200)
def test_show_parses_back_to_the_same_value_and_numbers(tree):
    again = parse(show(tree))
    assert sorted(numbers(again)) == sorted(numbers(tree)) and canonical(again) == canonical(tree)
    try:
        value = evaluate(tree)
    except ZeroDivisionError:
        return
    assert evaluate(again) == value


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("(3+5)*2", "2*(5+3)", True), ("1+2+3", "3+(1+2)", True), ("5-(2-1)", "5+1-2", True),
        ("8/(4/2)", "8*2/4", True),
        ("-(3-5)*2", "(5-3)*2", True), ("3*5*2", "(3+5)*2", False), ("6/2", "6-3", False),
        ("2*3+4", "2*(3+4)", False),
    ],
)  # fmt: skip
def test_canonical_forms(a, b, same):
    assert (canonical(parse(a)) == canonical(parse(b))) is same


@pytest.mark.parametrize(
    ("reply", "reason", "text"),
    [
        ("(3+5)*2", "correct", "Correct."),
        ("<answer>(3+5)*2</answer>", "correct", "Correct."),
        ("I find <answer>1</answer> no, <answer>2*(5+3) = 16</answer>", "correct", "Correct."),
        ("So \\boxed{(3+5)*2}.", "correct", "Correct."),
        ("<think>3+5</think>\n(3+5)*2", "correct", "Correct."),
        ("8*2", "number_not_available", "Wrong: 8 is not available."),
        ("3+5+5+3", "number_used_too_often", "Wrong: uses 3 twice."),
        ("3*5", "wrong_value", "Wrong: value is 15."),
        ("3/5", "wrong_value", "Wrong: value is 3/5."),
        ("3/(5-5)", "number_used_too_often", "Wrong: uses 5 twice."),
        ("", "not_an_expression", "The reply is empty."),
        ("__import__('os').system('touch x')", "not_an_expression", None),
        ("16", "number_not_available", None),
    ],
)
def test_judgement_and_feedback(reply, reason, text):
    result = judge(reply, [3, 5, 2], 16)
    assert result.reason == reason and result.reward == float(reason == "correct")
    if text is not None:
        note = result.feedback if isinstance(result.feedback, str) else result.feedback.text
        assert note == text


def test_use_all_operators_and_zero():
    assert judge("3+5", [3, 5, 2], 8, use_all=True).reason == "number_not_used"
    assert judge("6/2", [6, 2], 3, ops="+-*").reason == "operator_not_allowed"
    assert judge("3/(5-5)", [3, 5, 5], 3).reason == "division_by_zero"
    assert judge("7/2*2", [7, 2, 2], 7).reward == 1.0


def test_the_small_world_has_the_known_number_of_tasks():
    tasks = 0
    for given_numbers in combinations_with_replacement(range(1, 10), 3):
        values = _reachable(given_numbers, "+-*")[0b111]
        tasks += sum(1 for value in values if value.denominator == 1 and 1 <= value <= 99)
    assert tasks == 1864


def test_solvers_certify_generated_tasks():
    for knobs in ({}, {"count": 3, "use_all": True}, {"count": 6, "hi": 100, "use_all": True}):
        env = pl.make("palaestra/Countdown-v0", **knobs)
        for seed in range(8):
            env.reset(seed=seed)
            given_numbers, target = env.current_task.metadata["numbers"], env.current_task.metadata["target"]
            found = solve(given_numbers, target, use_all=knobs.get("use_all", False))
            assert judge(found, given_numbers, target, use_all=knobs.get("use_all", False)).reward == 1.0


def test_all_solutions_are_right_and_different():
    found = list(solutions([3, 5, 2], 16, use_all=True))
    assert len(found) == count_solutions([3, 5, 2], 16, use_all=True) == len({canonical(parse(text)) for text in found})
    assert "(3+5)*2" in found or "2*(3+5)" in found
    assert all(judge(text, [3, 5, 2], 16, use_all=True).reward == 1.0 for text in found)
    assert solve([1, 1], 7) is None and count_solutions([1, 1], 7) == 0
    with pytest.raises(ValueError, match="at most 6"):
        count_solutions([1] * 7, 7)


def test_solution_keys():
    env = pl.make(
        "palaestra/Countdown-v0", count=3, lo=1, hi=9, target_hi=99, ops="+-*", use_all=True, prompt="compact"
    )
    observation, _ = env.reset(seed=1)
    digits, _, target = observation[0]["content"].partition(">")
    assert len(digits) == 3 and digits.isdigit() and 1 <= int(target) <= 99 and len(observation) == 1
    info = env.step(f" {next(env.oracle())} ")[4]
    assert " " not in info["solution_key"] and info["solution_class"] and info["reason"] == "correct"
    a, b = judge("3+5", [3, 5], 8).info, judge("(5)+3", [3, 5], 8).info
    assert a["solution_key"] == "3+5" and b["solution_key"] == "5+3" and a["solution_class"] == b["solution_class"]


@pytest.mark.parametrize(
    "knobs",
    [
        {"count": 7},
        {"lo": 5, "hi": 2},
        {"ops": "%"},
        {"prompt": "x"},
        {"prompt": "compact"},
        {"target_lo": 9, "target_hi": 1},
    ],
)
def test_bad_knobs_are_named(knobs):
    with pytest.raises(ValueError, match=next(iter(knobs))):
        pl.make("palaestra/Countdown-v0", **knobs).reset(seed=0)


def test_impossible_knobs_end():
    with pytest.raises(ValueError, match="no Countdown task"):
        pl.make("palaestra/Countdown-v0", count=2, lo=1, hi=2, target_lo=900).reset(seed=0)


def test_extract_takes_the_last_answer():
    assert extract("<answer>1</answer> then <answer> 2 </answer>") == "2"
    assert extract("\\boxed{1} \\boxed{\\frac{1}{2}}") == "\\frac{1}{2}"
    assert extract("\\boxed{1") == "" and extract("a\n\n b = 3 \n") == "b"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("012457", "correct"), (" 012457\n", "correct"), ("12457", "wrong_length"), ("012458", "wrong_digits"),
     ("102457", "wrong_order"), ("0 1 2 4 5 7", "not_digits"), ("٠12457", "not_digits"), ("", "not_digits")],
)  # fmt: skip
def test_sort(reply, reason):
    env = pl.make("palaestra/Sort-v0")
    for seed in range(10_000):
        if sorted(env.reset(seed=seed)[0][0]["content"]) == list("012457"):
            break
    else:
        raise AssertionError("no such prompt")
    assert env.step(reply)[4]["reason"] == reason
