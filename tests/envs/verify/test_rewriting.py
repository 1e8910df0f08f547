"""Random expressions: every way to write one is the same answer, every change of its value is another."""

import os
import random
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import palaestra.envs.verify as package
from palaestra.envs.verify import Reason, verify
from palaestra.envs.verify.compare import compare_texts
from palaestra.envs.verify.exact import Budget

LETTERS = ("x", "y", "a", "\\theta")
FUNCTIONS = ("\\sin", "\\cos", "\\arctan", "\\exp")


def trees(functions):
    """Expressions as nested tuples: numbers, letters, sums, products, quotients by a number, squares, functions."""
    leaf = st.one_of(
        st.integers(1, 9).map(lambda n: ("num", n)), st.sampled_from(LETTERS).map(lambda name: ("sym", name))
    )

    def grow(inner):
        kinds = [
            st.tuples(st.just("add"), inner, inner),
            st.tuples(st.just("mul"), inner, inner),
            st.tuples(st.just("div"), inner, st.integers(2, 9)),
            st.tuples(st.just("neg"), inner),
            st.tuples(st.just("pow"), inner, st.integers(2, 3)),
        ]
        if functions:
            kinds.append(st.tuples(st.sampled_from(FUNCTIONS), leaf))
        return st.one_of(kinds)

    return st.recursive(leaf, grow, max_leaves=7)


def show(tree, rng):
    """The expression in LaTeX or plain notation, with a random choice of spelling at every place."""
    kind, *parts = tree
    if kind in ("num", "sym"):
        return str(parts[0])
    if kind == "add":
        return f"({show(parts[0], rng)}{rng.choice(['+', ' + '])}{show(parts[1], rng)})"
    if kind == "mul":
        sign = rng.choice(["\\cdot ", "*", "\\times ", ")(", "\\,\\cdot\\,"])
        return f"({show(parts[0], rng)}{sign}{show(parts[1], rng)})".replace("((", "( (")
    if kind == "div":
        above, below = show(parts[0], rng), parts[1]
        return rng.choice([f"\\frac{{{above}}}{{{below}}}", f"\\dfrac{{{above}}}{{{below}}}", f"(({above})/({below}))"])
    if kind == "neg":
        return f"(-{show(parts[0], rng)})"
    if kind == "pow":
        return f"{{({show(parts[0], rng)})}}^{{{parts[1]}}}"
    return f"{kind}\\left({show(parts[0], rng)}\\right)"


def rewritten(tree, rng):
    """Another expression with the same value everywhere."""
    kind, *parts = tree
    parts = [rewritten(part, rng) if isinstance(part, tuple) else part for part in parts]
    tree = (kind, *parts)
    choice = rng.randrange(5)
    if kind in ("add", "mul") and choice < 2:
        return (kind, parts[1], parts[0])
    if kind == "mul" and parts[0][0] == "add" and choice == 2:
        return ("add", ("mul", parts[0][1], parts[1]), ("mul", parts[0][2], parts[1]))
    if kind == "pow" and choice < 3:
        return ("mul", parts[0], parts[0] if parts[1] == 2 else ("pow", parts[0], 2))
    if kind == "neg" and choice < 3:
        return ("mul", ("neg", ("num", 1)), parts[0])
    if kind == "div" and choice < 3:
        return ("div", ("mul", ("num", 3), parts[0]), 3 * parts[1])
    if kind == "num" and choice == 0 and parts[0] > 1:
        return ("add", ("num", parts[0] - 1), ("num", 1))
    return tree


def said(gold, answer):
    return verify(gold, f"\\boxed{{{answer}}}").ok


@given(trees(functions=False), st.integers(0, 2**32))
@settings(deadline=None, max_examples=120)
def test_rewriting_a_polynomial_changes_nothing_in_either_direction(tree, seed):
    rng = random.Random(seed)
    one, two = show(tree, rng), show(rewritten(tree, rng), rng)
    assert said(one, two) and said(two, one) and said(one, one)


@given(trees(functions=True), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_rewriting_with_functions_changes_nothing(tree, seed):
    rng = random.Random(seed)
    one, two = show(tree, rng), show(rewritten(tree, rng), rng)
    assert said(one, two) and said(two, one)


@given(trees(functions=True), st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 12))
@settings(deadline=None, max_examples=100)
def test_a_change_of_value_is_another_answer_however_small(tree, seed, size, digits):
    """What is added is a letter or a small number, so the two are equal at single points at most."""
    rng = random.Random(seed)
    extra = ("div", ("num", size), 10**digits) if rng.random() < 0.5 else ("sym", rng.choice(LETTERS))
    one, two = show(tree, rng), show(("add", rewritten(tree, rng), extra), rng)
    assert not said(one, two) and not said(two, one)


@given(st.lists(trees(functions=False), min_size=2, max_size=4), st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_collections_of_expressions(items, seed):
    rng = random.Random(seed)
    changed = [rewritten(item, rng) for item in items]
    gold = ",\\ ".join(show(item, rng) for item in items)
    answer = ",\\ ".join(show(item, rng) for item in changed)
    assert said(f"({gold})", f"({answer})")
    rng.shuffle(changed)
    shuffled = ",\\ ".join(show(item, rng) for item in changed)
    assert said(f"\\{{{gold}\\}}", f"\\{{{shuffled}\\}}")
    other = ",\\ ".join([shuffled, "z"])
    assert not said(f"\\{{{gold}\\}}", f"\\{{{other}\\}}")


def test_changed_and_spliced_answers_break_nothing(further_cases, caplog):
    """Golds with a character dropped, doubled or replaced, and halves of two: a verdict each, and no defect logged."""
    rng = random.Random(3)
    golds = [case.gold for case in further_cases[::3]]
    for gold in golds:
        at = rng.randrange(len(gold))
        other = rng.choice(golds)
        change = rng.choice(["", gold[at] * 2, other[:1], "{", "}", "\\", "^", "_", "$", ",", "\\frac", "\\text{"])
        for text in (gold[:at] + change + gold[at + 1 :], gold[at:] + other[at:], gold[:at], f"{gold}<{other}"):
            assert compare_texts(gold, text).reason in Reason
    assert not caplog.records


def test_verdicts_and_steps_repeat_whatever_the_hash_seed():
    code = (
        "import random, sys\n"
        "from palaestra.envs.verify import compare\n"
        "used = []\n"
        "class Counting(compare.Budget):\n"
        "    def spend(self, steps=1):\n"
        "        used.append(steps); super().spend(steps)\n"
        "compare.Budget = Counting\n"
        "pairs = [(r'\\sqrt{2}x+\\sin y', r'\\sin y+x\\sqrt2'), (r'\\{a,b,\\pi\\}', r'\\{\\pi,b,a\\}'),\n"
        "         ('x^9-1', '(x-1)x^8'),\n"
        "         (r'(-\\infty,2]\\cup[3,7)', r'x\\le2\\text{ or }3\\le x<7'), (r'e^{x+y}', r'e^xe^y')]\n"
        "for gold, answer in pairs:\n"
        "    result = compare.compare_texts(gold, answer)\n"
        "    print(result.ok, result.reason, sum(used), len(used))\n"
    )
    above = Path(package.__file__).parents[3]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, timeout=60, check=True,
            env={**os.environ, "PYTHONPATH": str(above), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "77")
    }  # fmt: skip
    assert len(outputs) == 1 and outputs.pop().count("\n") == 5


def test_a_used_up_budget_is_too_large_and_no_exception():
    budget = Budget(0)
    try:
        budget.spend()
    except ValueError as error:
        assert error.reason.value == "too_large"
    deep = "+".join(f"(x+{n})^{{3}}" for n in range(60))
    assert compare_texts(deep, f"{deep}+1", heavy=True).reason.value in ("wrong", "too_large")
