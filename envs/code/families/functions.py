"""Implement, or predict the output of, a function that is a random chain of primitive steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..checkers import exact_data
from ..problem import Judged, Problem, call
from .common import choice, letters, numbers, reply, spin, visibility, whole


class Step(NamedTuple):
    """One primitive: what it does in words, as Python source on ``x``, and as a function. ``{n}`` is its parameter."""

    words: str
    code: str
    run: Callable[[Any, int], Any]
    low: int = 0
    high: int = 0


LIST_STEPS = (
    Step("add {n} to every element", "[v + {n} for v in x]", lambda x, n: [v + n for v in x], 1, 9),
    Step("multiply every element by {n}", "[v * {n} for v in x]", lambda x, n: [v * n for v in x], 2, 5),
    Step("reverse the list", "x[::-1]", lambda x, n: x[::-1]),
    Step("sort the list in ascending order", "sorted(x)", lambda x, n: sorted(x)),
    Step("keep the elements greater than {n}", "[v for v in x if v > {n}]",
         lambda x, n: [v for v in x if v > n], -5, 5),
    Step("drop the first {n} elements", "x[{n}:]", lambda x, n: x[n:], 1, 2),
    Step("keep every second element, the first one included", "x[::2]", lambda x, n: x[::2]),
    Step("replace every element by its remainder modulo {n} (never negative)", "[v % {n} for v in x]",
         lambda x, n: [v % n for v in x], 3, 11),
    Step("replace the list by its running totals", "[sum(x[:i + 1]) for i in range(len(x))]",
         lambda x, n: [sum(x[: i + 1]) for i in range(len(x))]),
    Step("rotate the list left by {n}", "x[{n} % len(x):] + x[:{n} % len(x)] if x else x",
         lambda x, n: x[n % len(x) :] + x[: n % len(x)] if x else x, 1, 4),
    Step("keep the first occurrence of each value", "list(dict.fromkeys(x))", lambda x, n: list(dict.fromkeys(x))),
    Step("replace the list by the differences of neighbours (next minus this)", "[b - a for a, b in zip(x, x[1:])]",
         lambda x, n: [b - a for a, b in pairwise(x)]),
)  # fmt: skip
TEXT_STEPS = (
    Step("reverse the text", "x[::-1]", lambda x, n: x[::-1]),
    Step("change it to upper case", "x.upper()", lambda x, n: x.upper()),
    Step("sort its characters", "''.join(sorted(x))", lambda x, n: "".join(sorted(x))),
    Step("repeat it {n} times", "x * {n}", lambda x, n: x * n, 2, 3),
    Step("drop the vowels a, e, i, o, u in both cases", "''.join(c for c in x if c not in 'aeiouAEIOU')",
         lambda x, n: "".join(c for c in x if c not in "aeiouAEIOU")),
    Step("rotate it left by {n}", "x[{n} % len(x):] + x[:{n} % len(x)] if x else x",
         lambda x, n: x[n % len(x) :] + x[: n % len(x)] if x else x, 1, 5),
    Step("double every character", "''.join(c * 2 for c in x)", lambda x, n: "".join(c * 2 for c in x)),
    Step("keep every second character, the first one included", "x[::2]", lambda x, n: x[::2]),
    Step("append its own reverse", "x + x[::-1]", lambda x, n: x + x[::-1]),
    Step("drop the last {n} characters", "x[:-{n}]", lambda x, n: x[:-n], 1, 3),
)  # fmt: skip
NUMBER_STEPS = (
    Step("add {n}", "x + {n}", lambda x, n: x + n, 2, 50),
    Step("multiply by {n}", "x * {n}", lambda x, n: x * n, 2, 9),
    Step("take the sum of its decimal digits, ignoring the sign", "sum(int(c) for c in str(abs(x)))",
         lambda x, n: sum(int(c) for c in str(abs(x)))),
    Step("take the remainder modulo {n} (never negative)", "x % {n}", lambda x, n: x % n, 7, 97),
    Step("square it", "x * x", lambda x, n: x * x),
    Step("reverse its decimal digits, ignoring the sign", "int(str(abs(x))[::-1])",
         lambda x, n: int(str(abs(x))[::-1])),
    Step("take the bitwise exclusive or with {n}", "x ^ {n}", lambda x, n: x ^ n, 3, 255),
    Step("halve it if it is even, else multiply it by 3 and add 1", "x // 2 if x % 2 == 0 else 3 * x + 1",
         lambda x, n: x // 2 if x % 2 == 0 else 3 * x + 1),
)  # fmt: skip
KINDS = (("a list of integers", LIST_STEPS), ("a text", TEXT_STEPS), ("an integer", NUMBER_STEPS))

Chain = list[tuple[Step, int]]


def draw_chain(rng: np.random.Generator, steps: tuple[Step, ...], size: int) -> Chain:
    """Different steps with their parameters."""
    picked = rng.choice(len(steps), size=size, replace=False)
    return [(steps[int(k)], whole(rng, steps[int(k)].low, steps[int(k)].high)) for k in picked]


def run_chain(chain: Chain, value: Any) -> Any:
    """The value after all steps."""
    for step, n in chain:
        value = step.run(value, n)
    return value


def chain_source(chain: Chain, name: str = "solve") -> str:
    """The chain as a Python function."""
    body = "".join(f"    x = {step.code.replace('{n}', str(n))}\n" for step, n in chain)
    return f"def {name}(x):\n{body}    return x\n"


def draw_input(rng: np.random.Generator, kind: str) -> Any:
    """An input of the kind a chain works on."""
    if kind == "a list of integers":
        return numbers(rng, -20, 20, whole(rng, 4, 10))
    return letters(rng, whole(rng, 4, 10)) if kind == "a text" else whole(rng, 1, 9999)


def _distinguished(rng: np.random.Generator, chain: Chain, wrong: Chain, kind: str, count: int) -> list[Any] | None:
    """Inputs on which the chain and its wrong version mostly differ; None if they hardly ever do."""
    inputs = [draw_input(rng, kind) for _ in range(count)]
    differ = sum(run_chain(chain, value) != run_chain(wrong, value) for value in inputs)
    return inputs if differ >= count // 2 else None


def function(rng: np.random.Generator, level: int) -> Problem:
    """Implement a function that is described step by step."""
    while True:
        kind, steps = choice(rng, KINDS)
        chain = draw_chain(rng, steps, 2 + level)
        wrong = chain[:-1]
        inputs = _distinguished(rng, chain, wrong, kind, 10)
        if inputs is not None:
            break
    listed = "\n".join(f"{i}. {step.words.replace('{n}', str(n))}" for i, (step, n) in enumerate(chain, 1))
    task = f"Write a Python function `solve(x)`. It takes {kind} and does, in this order:"
    statement = f"{task}\n{listed}\nIt returns the result."
    tests = tuple(
        call(str(i + 1), "solve", [value], run_chain(chain, value), visibility(i)) for i, value in enumerate(inputs)
    )
    code = chain_source(chain)
    solutions = {"reference": reply(code), "wrong": reply(chain_source(wrong)), "slow": reply(spin(code))}
    return Problem(statement, tests, solutions=solutions)


def predict(rng: np.random.Generator, level: int) -> Problem:
    """Predict what a program returns, without running it."""
    kind, steps = choice(rng, KINDS)
    chain = draw_chain(rng, steps, 2 + level)
    value = draw_input(rng, kind)
    expected = run_chain(chain, value)
    statement = f"{chain_source(chain)}\nWhat does `solve({value!r})` return? Write it as JSON."

    def judge(text: str) -> Judged:
        try:
            given = json.loads(text.strip()[:20_000])
        except (ValueError, RecursionError):
            return Judged(0.0, "The answer is not JSON.", "not_json")
        right = exact_data(given, expected)
        return Judged(
            float(right), "Correct." if right else "Incorrect output.", "correct" if right else "wrong_answer"
        )

    other = (
        [*expected, 0] if isinstance(expected, list) else expected + "x" if isinstance(expected, str) else expected + 1
    )
    solutions = {"reference": reply(json.dumps(expected), "text"), "wrong": reply(json.dumps(other), "text")}
    return Problem(statement, language="text", judge=judge, solutions=solutions)
