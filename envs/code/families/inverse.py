"""Write the inverse of a function on texts: g with f(g(x)) = x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..problem import CodeTest, Problem, call
from .common import letters, reply, spin, visibility, whole


class Reversible(NamedTuple):
    """A step with its inverse: source of both on ``x``, and the step as a function."""

    code: str
    back: str
    run: Callable[[str, int], str]
    low: int = 0
    high: int = 0


STEPS = (
    Reversible("x[::-1]", "x[::-1]", lambda x, n: x[::-1]),
    Reversible("x[{n} % len(x):] + x[:{n} % len(x)] if x else x",
               "x[len(x) - {n} % len(x):] + x[:len(x) - {n} % len(x)] if x else x",
               lambda x, n: x[n % len(x) :] + x[: n % len(x)] if x else x, 1, 6),
    Reversible("''.join(chr((ord(c) - 97 + {n}) % 26 + 97) for c in x)",
               "''.join(chr((ord(c) - 97 - {n}) % 26 + 97) for c in x)",
               lambda x, n: "".join(chr((ord(c) - 97 + n) % 26 + 97) for c in x), 1, 25),
    Reversible("x[::2] + x[1::2]",
               "''.join(x[i // 2] if i % 2 == 0 else x[(len(x) + 1) // 2 + i // 2] for i in range(len(x)))",
               lambda x, n: x[::2] + x[1::2]),
    Reversible("x[-1:] + x[1:-1] + x[:1] if len(x) > 1 else x", "x[-1:] + x[1:-1] + x[:1] if len(x) > 1 else x",
               lambda x, n: x[-1:] + x[1:-1] + x[:1] if len(x) > 1 else x),
    Reversible("''.join(x[i:i + 2][::-1] for i in range(0, len(x), 2))",
               "''.join(x[i:i + 2][::-1] for i in range(0, len(x), 2))",
               lambda x, n: "".join(x[i : i + 2][::-1] for i in range(0, len(x), 2))),
)  # fmt: skip


def inverse(rng: np.random.Generator, level: int) -> Problem:
    """Write the inverse of a chain of reversible steps; any g with f(g(x)) = x passes."""
    while True:
        picked = [STEPS[int(k)] for k in rng.choice(len(STEPS), size=1 + level, replace=False)]
        chain = [(step, whole(rng, step.low, step.high)) for step in picked]
        inputs = [letters(rng, whole(rng, 4, 10)) for _ in range(8)]

        def f(text: str, chain: list[tuple[Reversible, int]] = chain) -> str:
            for step, n in chain:
                text = step.run(text, n)
            return text

        if sum(f(f(text)) != text for text in inputs) >= 6 and sum(f(text) != text for text in inputs) >= 6:
            break  # f is neither the identity nor its own inverse

    def undone(got: Any, expected: Any) -> bool:
        return isinstance(got, str) and len(got) <= 100 and _lower(got) and f(got) == expected

    tests = tuple(_test(i, text, undone) for i, text in enumerate(inputs))
    forward = _source("f", [step.code.replace("{n}", str(n)) for step, n in chain])
    backward = _source("g", [step.back.replace("{n}", str(n)) for step, n in reversed(chain)])
    statement = (
        f"{forward}\nWrite a Python function `g(x)` such that f(g(x)) == x for every text x of lower-case letters. "
        "In the examples, the output is f applied to what g returned."
    )
    solutions = {
        "reference": reply(backward),
        "wrong": reply(forward.replace("def f(", "def g(")),
        "slow": reply(spin(backward)),
    }
    return Problem(statement, tests, solutions=solutions)


def _lower(text: str) -> bool:
    return all("a" <= c <= "z" for c in text)


def _test(index: int, text: str, checker: Callable[[Any, Any], bool]) -> CodeTest:
    made = call(str(index + 1), "g", [text], text, visibility(index), checker)
    return CodeTest(made.test, made.visibility, f"f(g({text!r}))", repr(text))


def _source(name: str, lines: list[str]) -> str:
    return f"def {name}(x):\n" + "".join(f"    x = {line}\n" for line in lines) + "    return x\n"
