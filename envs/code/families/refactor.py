"""Rewrite a function under a limit: without loops, or fast enough for large inputs."""

from __future__ import annotations

import ast
import bisect
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..problem import Problem, call
from .common import choice, reply, source, spin, visibility, whole

LARGE = 60_000  # a quadratic program needs minutes for this, one with sorting a fraction of a second
_HEADER = """
def numbers(n, seed):
    out = []
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) % 2147483648
        out.append(seed // 65536 % {m})
    return out
"""


def generated(n: int, seed: int, m: int) -> list[int]:
    """The numbers that the header of the programs makes."""
    out = []
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) % 2147483648
        out.append(seed // 65536 % m)
    return out


class Fast(NamedTuple):
    """A task with a quadratic and a fast solution."""

    slow: str
    fast: str
    wrong: str
    run: Callable[[list[int]], int]


def _inversions(x: list[int]) -> int:
    seen: list[int] = []
    total = 0
    for v in x:
        total += len(seen) - bisect.bisect_right(seen, v)
        bisect.insort(seen, v)
    return total


FAST = (
    Fast(
        source("""
            def solve(n, seed):
                x = numbers(n, seed)
                total = 0
                for i in range(n):
                    for j in range(i + 1, n):
                        if x[i] > x[j]:
                            total += 1
                return total
        """),
        source("""
            import bisect

            def solve(n, seed):
                seen, total = [], 0
                for v in numbers(n, seed):
                    total += len(seen) - bisect.bisect_right(seen, v)
                    bisect.insort(seen, v)
                return total
        """),
        "bisect_left",
        _inversions,
    ),
    Fast(
        source("""
            def solve(n, seed):
                x = numbers(n, seed)
                total = 0
                for i in range(n):
                    for j in range(i + 1, n):
                        if x[i] == x[j]:
                            total += 1
                return total
        """),
        source("""
            from collections import Counter

            def solve(n, seed):
                return sum(c * (c - 1) // 2 for c in Counter(numbers(n, seed)).values())
        """),
        "c * c // 2",
        lambda x: sum(c * (c - 1) // 2 for c in Counter(x).values()),
    ),
)


class Loop(NamedTuple):
    """A task with a solution that loops and one that recurses or folds."""

    loops: str
    without: str
    run: Callable[[int], int]


LOOPS = (
    Loop(
        source("""
            def solve(n):
                total = 0
                while n > 0:
                    total += n % 10
                    n //= 10
                return total
        """),
        source("""
            def solve(n):
                return 0 if n == 0 else n % 10 + solve(n // 10)
        """),
        lambda n: sum(map(int, str(n))),
    ),
    Loop(
        source("""
            def solve(n):
                steps = 0
                while n != 1:
                    n = n // 2 if n % 2 == 0 else 3 * n + 1
                    steps += 1
                return steps
        """),
        source("""
            def solve(n):
                return 0 if n == 1 else 1 + solve(n // 2 if n % 2 == 0 else 3 * n + 1)
        """),
        lambda n: _collatz(n),
    ),
    Loop(
        source("""
            def solve(n):
                count = 0
                for d in range(1, n + 1):
                    if n % d == 0:
                        count += d
                return count
        """),
        source("""
            def solve(n):
                return sum(map(lambda d: d if n % d == 0 else 0, range(1, n + 1)))
        """),
        lambda n: sum(d for d in range(1, n + 1) if n % d == 0),
    ),
)


def _collatz(n: int) -> int:
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


# Ways to run code that the syntax tree does not show.
_FORBIDDEN = frozenset(
    {
        "exec", "eval", "compile", "__import__", "__builtins__", "builtins", "importlib", "runpy", "code", "getattr",
        "globals", "locals", "vars", "subprocess", "os", "sys", "types", "marshal", "pickle", "ctypes", "timeit",
        "inspect",
    }
)  # fmt: skip


def _names(node: ast.AST) -> list[str]:
    """The names a node of a syntax tree speaks of: variables, attributes and imports."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Import):
        return [part for alias in node.names for part in alias.name.split(".")]
    if isinstance(node, ast.ImportFrom):
        return [*(node.module or "").split("."), *(alias.name for alias in node.names)]
    return []


def uses_no_loops(code: str) -> str:
    """The rule a program breaks: loops and comprehensions are forbidden; "" if it breaks none."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""  # the sandbox will say what is wrong with it
    forbidden = (ast.For, ast.While, ast.AsyncFor, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    for node in ast.walk(tree):
        if isinstance(node, forbidden):
            return f"Line {node.lineno} holds a loop or a comprehension; neither is allowed here."
        for name in _names(node):
            if name in _FORBIDDEN:
                return f"`{name}` is not allowed here."
    return ""


def refactor(rng: np.random.Generator, level: int) -> Problem:
    """Keep what a function does, and make it obey a limit."""
    return _without_loops(rng, level) if rng.integers(2) else _fast(rng, level)


def _without_loops(rng: np.random.Generator, level: int) -> Problem:
    task = choice(rng, LOOPS)
    inputs = [whole(rng, 2, 30 * 10**level // 3) for _ in range(8)]
    tests = tuple(call(str(i + 1), "solve", [n], task.run(n), visibility(i)) for i, n in enumerate(inputs))
    statement = (
        "Rewrite this function so that it does the same without `for`, `while` and comprehensions "
        f"(recursion, `map` and `sum` are fine).\n\n{task.loops}"
    )
    solutions = {"reference": reply(task.without), "wrong": reply(task.loops), "slow": reply(_pause(task.without))}
    return Problem(statement, tests, constraint=uses_no_loops, solutions=solutions)


def _pause(code: str) -> str:
    """A program without loops that is far too slow."""
    return code.replace("    return ", "    sum(range(10**12))\n    return ")


def _fast(rng: np.random.Generator, level: int) -> Problem:
    task, m = choice(rng, FAST), whole(rng, 50, 5000)
    header = _HEADER.replace("{m}", str(m)).strip() + "\n\n\n"
    sizes = [whole(rng, 10, 40) for _ in range(5)] + [LARGE]
    cases = [(n, whole(rng, 1, 10**6)) for n in sizes]
    tests = tuple(
        call(str(i + 1), "solve", [n, seed], task.run(generated(n, seed, m)), visibility(i) if n < LARGE else "hidden")
        for i, (n, seed) in enumerate(cases)
    )
    statement = (
        f"This program is right but takes quadratic time. Write `solve(n, seed)` so that it takes about n log n steps; "
        f"n can be {LARGE}, and each call has 2 seconds.\n\n{header}{task.slow}"
    )
    wrong = task.fast.replace("bisect_right", "bisect_left").replace("c * (c - 1) // 2", "c * c // 2")
    solutions = {
        "reference": reply(header + task.fast),
        "wrong": reply(header + wrong),
        "slow": reply(header + task.slow),
    }
    # the program of the statement passes all but the large input
    return Problem(statement, tests, solutions=solutions, baseline=(len(tests) - 1) / len(tests))


__all__ = ["refactor", "spin", "uses_no_loops"]
