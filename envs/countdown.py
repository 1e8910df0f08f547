"""Countdown: reach a target with given numbers and the four operations. Answers are read by our own parser, exactly.

The task is the multiset of numbers and the target; ``split`` goes by it, so no order of the same numbers crosses over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from ..schema import Feedback, Task
from .arithmetic import Expression, NotAnExpression, canonical, evaluate, numbers, operators, parse, show
from .registry import env
from .replies import visible
from .turns import Result

MAX_SOLVER_NUMBERS = 6

PROMPTS = ("chat", "compact")


@env("palaestra/Countdown-v0")
def countdown(
    rng: np.random.Generator,
    count: int = 4,
    lo: int = 1,
    hi: int = 50,
    target_lo: int = 1,
    target_hi: int = 999,
    ops: str = "+-*/",
    use_all: bool = False,
    prompt: str = "chat",
) -> Task:
    """Reach a target number with given numbers, each used at most once.

    Args:
        rng: drawn from by ``reset(seed=)``.
        count: how many numbers, 2 to 6.
        lo: smallest number.
        hi: largest number.
        target_lo: smallest target.
        target_hi: largest target.
        ops: operators that may be used, out of ``+-*/``.
        use_all: every number must be used.
        prompt: ``chat`` for a sentence, ``compact`` for ``352>16`` (numbers of one digit).
    """
    _check(count, lo, hi, target_lo, target_hi, ops, prompt)
    given, target = _draw(rng, count, lo, hi, target_lo, target_hi, ops, use_all)
    text = f"{''.join(map(str, given))}>{target}" if prompt == "compact" else _sentence(given, target, ops, use_all)
    metadata = {"numbers": list(given), "target": target, "split_key": [sorted(given), target]}

    def grade(response: str) -> Result:
        return judge(response, given, target, ops=ops, use_all=use_all)

    return Task(prompt=text, answer=grade, metadata=metadata)


@countdown.oracle  # type: ignore[attr-defined]
def _solve(rng: np.random.Generator, **knobs: Any) -> Iterator[str]:
    task = countdown(rng, **knobs)
    given, target = task.metadata["numbers"], task.metadata["target"]
    found = solve(given, target, knobs.get("ops", "+-*/"), knobs.get("use_all", False))
    assert found is not None, "tasks are generated from an expression with whole steps"
    yield found


def judge(response: str, given: Sequence[int], target: int, *, ops: str = "+-*/", use_all: bool = False) -> Result:
    """Grade a reply. Every word of the feedback follows from the attempt and the prompt.

    The result's ``info`` names what was read, for counting distinct right answers: ``solution_key`` is the expression
    without spaces and needless parentheses (``3+5`` and ``5+3`` differ), ``solution_class`` one text for all orders and
    groupings of the same solution. Both are absent when nothing could be read. Over the 1,864 tasks with three numbers
    from 1 to 9, all used, operators ``+-*`` and targets to 99 there are 3.9 keys and 1.14 classes a task.
    """
    text = extract(response)
    try:
        tree = parse(text)
    except NotAnExpression as error:
        what = "The reply is empty" if not text.strip() else f"The answer is not an expression: {error}"
        return Result(0.0, Feedback(text=f"{what}.", kind="format"), "not_an_expression")
    key = show(tree)
    info = {"solution_key": key, "solution_class": canonical(tree), "extracted": key}
    used, available = Counter(numbers(tree)), Counter(given)
    for number in used:
        if number not in available:
            return _wrong(f"{number} is not available", "number_not_available", info)
        if used[number] > available[number]:
            times = "twice" if used[number] == 2 else f"{used[number]} times"
            return _wrong(f"uses {number} {times}", "number_used_too_often", info)
    forbidden = sorted(operators(tree) - set(ops))
    if forbidden:
        return _wrong(f"uses {' '.join(forbidden)}, allowed are {' '.join(ops)}", "operator_not_allowed", info)
    if use_all and used != available:
        missing = next(iter(sorted((available - used).elements())))
        return _wrong(f"{missing} is not used", "number_not_used", info)
    try:
        value = evaluate(tree)
    except ZeroDivisionError:
        return _wrong("divides by zero", "division_by_zero", info)
    if value != target:
        return _wrong(f"value is {_short(value)}", "wrong_value", info)
    return Result(1.0, "Correct.", "correct", {"numbers_used": float(used.total())}, info=info)


def extract(response: str) -> str:
    """The graded part of a reply: the last ``<answer>``, else the last box, else the last line that is not empty."""
    text = visible(response, 20_000)
    tagged = re.findall(r"<answer>([^<]{0,600})</answer>", text)
    if tagged:
        return _side(tagged[-1])
    box = text.rfind("\\boxed{")
    if box >= 0:
        inside = text[box + len("\\boxed{") :]
        depth = 1
        for i, char in enumerate(inside[:600]):
            depth += (char == "{") - (char == "}")
            if depth == 0:
                return _side(inside[:i])
        return ""
    lines = [line for line in text.splitlines() if line.strip()]
    return _side(lines[-1]) if lines else ""


def solve(given: Sequence[int], target: int, ops: str = "+-*/", use_all: bool = False) -> str | None:
    """One solution whose intermediate values are whole and not negative, or None. Every generated task has one.

    Example:
        >>> solve([3, 5, 2], 16, use_all=True)
        '2*(3+5)'
    """
    start: tuple[tuple[int, Expression], ...] = tuple((n, ("num", n)) for n in sorted(given))
    failed: set[tuple[int, ...]] = set()

    def search(values: tuple[tuple[int, Expression], ...]) -> Expression | None:
        if not use_all or len(values) == 1:
            for value, tree in values:
                if value == target:
                    return tree
        key = tuple(sorted(value for value, _ in values))
        if len(values) == 1 or key in failed:
            return None
        for i, (a, x) in enumerate(values):
            for j, (b, y) in enumerate(values):
                if i == j:
                    continue
                rest = tuple(pair for k, pair in enumerate(values) if k not in (i, j))
                for op in ops:
                    result = None if op in "+*" and i > j else _apply(op, a, b)
                    if result is not None:
                        found = search((*rest, (result, (op, x, y))))
                        if found is not None:
                            return found
        failed.add(key)
        return None

    tree = search(start)
    return None if tree is None else show(tree)


def solutions(given: Sequence[int], target: int, ops: str = "+-*/", use_all: bool = False) -> Iterator[str]:
    """All solutions of a task, one for each canonical form, as text; fractions on the way are allowed.

    Beyond four numbers, one solution for each set of numbers used: all of them would not fit into memory. Six numbers
    take minutes; :func:`solve` finds one in milliseconds.

    Raises:
        ValueError: more than six numbers.
    """
    if len(given) > MAX_SOLVER_NUMBERS:
        raise ValueError(f"the solver takes at most {MAX_SOLVER_NUMBERS} numbers, got {len(given)}")
    seen = set()
    for mask, values in _reachable(tuple(sorted(given)), ops).items():
        if use_all and mask.bit_count() != len(given):
            continue
        for tree in values.get(Fraction(target), ()):
            key = canonical(tree)
            if key not in seen:
                seen.add(key)
                yield show(tree)


def count_solutions(given: Sequence[int], target: int, ops: str = "+-*/", use_all: bool = False) -> int:
    """How many essentially different solutions a task has."""
    return sum(1 for _ in solutions(given, target, ops, use_all))


@lru_cache(maxsize=16)
def _reachable(given: tuple[int, ...], ops: str) -> dict[int, dict[Fraction, tuple[Expression, ...]]]:
    """For every subset of positions, as a bit mask: reachable value -> one expression a canonical form."""
    size = len(given)
    table: dict[int, dict[Fraction, dict[str, Expression]]] = {}
    for i, number in enumerate(given):
        table[1 << i] = {Fraction(number): {str(number): ("num", number)}}
    keep_all = size <= 4  # beyond that one expression a value is enough to certify; all would not fit in memory
    for mask in sorted(range(1, 1 << size), key=lambda m: m.bit_count()):
        if mask in table:
            continue
        found: dict[Fraction, dict[str, Expression]] = {}
        left = (mask - 1) & mask
        while left:
            right = mask ^ left
            for a, a_trees in table[left].items():
                for b, b_trees in table[right].items():
                    for op in ops:
                        if (op in "+*" and left > right) or (op == "/" and b == 0):
                            continue
                        value = a + b if op == "+" else a - b if op == "-" else a * b if op == "*" else a / b
                        forms = found.setdefault(value, {})
                        if forms and not keep_all:
                            continue
                        for x in a_trees.values():
                            for y in b_trees.values():
                                forms.setdefault(canonical((op, x, y)), (op, x, y))
            left = (left - 1) & mask
        table[mask] = found
    return {mask: {value: tuple(forms.values()) for value, forms in found.items()} for mask, found in table.items()}


def _draw(
    rng: np.random.Generator, count: int, lo: int, hi: int, target_lo: int, target_hi: int, ops: str, use_all: bool
) -> tuple[tuple[int, ...], int]:
    """Numbers and the value of a random expression over them whose intermediate values are whole and not negative."""
    for _ in range(20_000):
        given = tuple(int(n) for n in rng.integers(lo, hi + 1, count))
        values = list(given)
        keep = 1 if use_all else int(rng.integers(1, max(2, count - 1)))
        while len(values) > keep:
            i, j = (int(k) for k in rng.choice(len(values), 2, replace=False))
            value = _apply(ops[int(rng.integers(len(ops)))], values[i], values[j])
            if value is None:
                break
            values = [v for k, v in enumerate(values) if k not in (i, j)] + [value]
        else:
            target = values[-1]
            if target_lo <= target <= target_hi and target not in given:
                return given, target
    raise ValueError(
        f"no Countdown task found for count={count}, lo={lo}, hi={hi}, target {target_lo}..{target_hi}, ops={ops!r}; "
        "widen them"
    )


def _apply(op: str, a: int, b: int) -> int | None:
    if op == "+":
        return a + b
    if op == "*":
        return a * b
    if op == "-":
        return a - b if a >= b else None
    return a // b if b and a % b == 0 else None


def _sentence(given: Sequence[int], target: int, ops: str, use_all: bool) -> str:
    use = "Use each of them exactly once" if use_all else "Use each of them at most once"
    return (
        f"Numbers: {', '.join(map(str, given))}. Target: {target}.\n"
        f"Write an arithmetic expression that equals the target. {use}, with the operators {' '.join(ops)} "
        "and parentheses. Give the expression as <answer>expression</answer>."
    )


def _side(text: str) -> str:
    """Of ``(3+5)*2 = 16`` the left side."""
    return text.partition("=")[0].strip()


def _short(value: Fraction) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"about {float(value):.3g}"


def _wrong(text: str, reason: str, info: dict[str, Any]) -> Result:
    note = Feedback(text=f"Wrong: {text}.", kind="incorrect" if reason == "wrong_value" else "constraint")
    return Result(0.0, note, reason, info=info)


def _check(count: int, lo: int, hi: int, target_lo: int, target_hi: int, ops: str, prompt: str) -> None:
    if not 2 <= count <= MAX_SOLVER_NUMBERS:
        raise ValueError(f"count={count}: give 2 to {MAX_SOLVER_NUMBERS} numbers")
    if not 0 <= lo <= hi:
        raise ValueError(f"lo={lo}, hi={hi}: give 0 <= lo <= hi")
    if target_lo > target_hi:
        raise ValueError(f"target_lo={target_lo} is above target_hi={target_hi}")
    if not ops or set(ops) - set("+-*/"):
        raise ValueError(f"ops={ops!r}: choose some of '+-*/'")
    if prompt not in PROMPTS:
        raise ValueError(f"prompt={prompt!r}: choose one of {', '.join(PROMPTS)}")
    if prompt == "compact" and hi > 9:
        raise ValueError(f"prompt='compact' writes numbers as single digits; hi={hi} must be at most 9")
