"""Expressions over string functions: their text, their value, and what kind of mistake a wrong value is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from .replies import visible

FAILURES = ("correct", "ignored_composition", "partial_trace", "wrong_composition", "atomic_error")


@dataclass(frozen=True)
class Call:
    """A function applied to arguments; plain values among them are parameters.

    Attributes:
        name: what the policy sees; ``+`` and the case methods are written as in Python.
        run: the function.
        arguments: expressions that are evaluated first.
        parameters: values handed over as they are.
    """

    name: str
    run: Callable[..., str] = field(repr=False, compare=False)
    arguments: tuple[Expression, ...] = ()
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Leaf:
    """The input ``x`` (``text`` None) or a literal."""

    text: str | None = None


Expression = Call | Leaf


class TooLong(ValueError):
    """An intermediate value exceeds the limit."""


def show(node: Expression) -> str:
    """The expression as it stands in the prompt."""
    if isinstance(node, Leaf):
        return "x" if node.text is None else json.dumps(node.text, ensure_ascii=False)
    if node.name == "+":
        return f"({show(node.arguments[0])} + {show(node.arguments[1])})"
    if node.name.startswith("."):
        return f"{show(node.arguments[0])}{node.name}()"
    parts = [show(argument) for argument in node.arguments]
    parts += [
        json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value) for value in node.parameters
    ]
    return f"{node.name}({', '.join(parts)})"


def trace(node: Expression, x: str, limit: int = 256) -> Iterator[tuple[Expression, tuple[str, ...], str]]:
    """All calls in the order they run, with the texts they get and what they return.

    Raises:
        TooLong: a value is longer than ``limit``.
    """
    _, steps = _run(node, x, limit)
    yield from steps


def evaluate(node: Expression, x: str, limit: int = 256) -> str:
    """The value of an expression for an input.

    Raises:
        TooLong: a value is longer than ``limit``.
    """
    return _run(node, x, limit)[0]


def _run(node: Expression, x: str, limit: int) -> tuple[str, list[tuple[Expression, tuple[str, ...], str]]]:
    if isinstance(node, Leaf):
        return (x if node.text is None else node.text), []
    texts, steps = [], []
    for argument in node.arguments:
        value, inner = _run(argument, x, limit)
        texts.append(value)
        steps += inner
    value = node.run(*texts, *node.parameters)
    if len(value) > limit:
        raise TooLong(f"a value of {len(value)} characters")
    return value, [*steps, (node, tuple(texts), value)]


def depth(node: Expression) -> int:
    """Nesting depth: 0 for a leaf."""
    return 0 if isinstance(node, Leaf) else 1 + max((depth(argument) for argument in node.arguments), default=0)


def uses_x(node: Expression) -> bool:
    """Does the input occur in the expression?"""
    return node.text is None if isinstance(node, Leaf) else any(uses_x(argument) for argument in node.arguments)


def calls(node: Expression) -> Iterator[Call]:
    """All calls, inner ones first."""
    if isinstance(node, Call):
        for argument in node.arguments:
            yield from calls(argument)
        yield node


def pairs(node: Expression) -> Iterator[tuple[str, str]]:
    """All compositions (outer function, inner function) in the expression."""
    for call in calls(node):
        for argument in call.arguments:
            if isinstance(argument, Call):
                yield call.name, argument.name


def failure_class(node: Expression, x: str, answer: str, limit: int = 256) -> str:
    """What kind of mistake an answer is, as far as its value tells.

    ``ignored_composition``: only one function was applied, to the input, or none at all. ``partial_trace``: the
    value of a part of the expression. ``wrong_composition``: the functions in another order. ``atomic_error``:
    anything else.

    Args:
        node: the expression asked about.
        x: its input.
        answer: the text given as its value.
        limit: longest value that is followed.
    """
    if answer == evaluate(node, x, limit):
        return "correct"
    single = {x}
    for call in calls(node):
        if len(call.arguments) == 1:
            single.add(call.run(x, *call.parameters))
    if answer in single and depth(node) > 1:
        return "ignored_composition"
    if any(answer == value or answer in texts for _, texts, value in trace(node, x, limit)):
        return "partial_trace"
    chain = [call for call in calls(node) if len(call.arguments) == 1]
    if 2 <= len(chain) <= 5 and len(chain) == sum(1 for _ in calls(node)):
        for order in permutations(chain):
            value = x
            for call in order:
                value = call.run(value, *call.parameters)[: limit + 1]
            if value == answer:
                return "wrong_composition"
    return "atomic_error"


def read_output(response: str) -> str | None:
    """The answer in a reply: ``output`` of the last JSON object that has one, else what ``<answer>`` tags hold.

    One pair of quotes or backticks around an answer in tags is dropped. None if there is neither.
    """
    text = visible(response, 20_000)
    decoder = json.JSONDecoder()
    at = len(text)
    for _ in range(200):
        at = text.rfind("{", 0, at)
        if at < 0:
            break
        try:
            value, _ = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, Mapping) and isinstance(value.get("output"), str):
            return value["output"]
    close = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, close) if close >= 0 else -1
    if start < 0:
        return None
    inner = text[start + len("<answer>") : close].strip()
    if len(inner) >= 2 and inner[0] == inner[-1] and inner[0] in "\"'`":
        inner = inner[1:-1]
    return inner
