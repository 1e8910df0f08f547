"""f(g(x)): apply string functions inside one another. A clean test of composing known skills.

``world="paper"`` and ``"strict"`` use the 25 operators of arXiv 2509.25123; a number is a typed world of our own whose
names mean nothing in another world. In the study, definitions are visible while single functions are learned and hidden
while compositions are trained. Many expressions there do not depend on the input; ``require_x`` leaves those out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..schema import Feedback, Task
from . import compose_paper, compose_typed
from .compose_operators import OPERATORS, members
from .compose_tree import Call, Expression, calls, depth, evaluate, failure_class, read_output, show, uses_x
from .registry import env
from .turns import Result

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@env("palaestra/Compose-v0")
def compose(
    rng: np.random.Generator,
    world: str | int = 0,
    level: int = 2,
    side: str = "train",
    require_x: bool = True,
    visible: bool = True,
    examples: int = 0,
    functions: int = 12,
    fan_in: bool = False,
    alphabet: str = LETTERS,
    length: int = 8,
    max_output: int = 256,
    hints: bool = False,
) -> Task:
    """Work out the value of nested string functions.

    Args:
        rng: drawn from by ``reset(seed=)``.
        world: ``paper`` or ``strict`` for the study's operators, or the number of a typed world.
        level: nesting depth.
        side: ``train``, ``test`` or ``all``: of the operators (study) or of the pairs that are composed (typed).
        require_x: leave out expressions that do not use the input (typed worlds always use it).
        visible: show what the functions do.
        examples: worked examples for each function used.
        functions: how many functions a typed world has.
        fan_in: join two chains at the top (typed worlds).
        alphabet: letters of the input (typed worlds).
        length: longest input (typed worlds).
        max_output: longest value anywhere in the expression (study).
        hints: say of a wrong answer whether its length or only the order of its letters is wrong.
    """
    if not 0 <= examples <= 50:
        raise ValueError(f"examples={examples}: give 0 to 50")
    node, x, definitions, limit = _draw(
        rng, world, level, side, require_x, functions, fan_in, alphabet, length, max_output
    )
    answer = evaluate(node, x, limit)
    lines = []
    used = list(dict.fromkeys(call.name for call in calls(node)))
    if visible:
        lines += ["These functions work on strings:"]
        lines += [f"- {name}: {definitions[name]}" for name in used if name in definitions] + [""]
    for call in {call.name: call for call in calls(node)}.values():
        if call.name in definitions:
            for _ in range(examples):
                lines.append(_example(rng, call, alphabet))
    lines += [
        "def main_solution(x):",
        f"    return {show(node)}",
        "",
        f'What does main_solution({json.dumps(x)}) return? End your reply with a JSON object {{"output": "..."}}.',
    ]
    metadata = {
        "level": depth(node), "uses_x": uses_x(node), "functions": used, "input": x, "expression": show(node),
        "split_key": [str(world), show(node), x],
    }  # fmt: skip

    def grade(response: str) -> Result:
        return judge(response, node, x, answer, limit, hints)

    return Task(id="", prompt="\n".join(lines), answer=grade, metadata=metadata)


@compose.oracle  # type: ignore[attr-defined]
def _solve(rng: np.random.Generator, **knobs: Any) -> Iterator[str]:
    defaults: dict[str, Any] = {
        "world": 0, "level": 2, "side": "train", "require_x": True, "functions": 12, "fan_in": False,
        "alphabet": LETTERS, "length": 8, "max_output": 256,
    }  # fmt: skip
    chosen = {name: knobs.get(name, value) for name, value in defaults.items()}
    node, x, _, limit = _draw(rng, **chosen)
    yield json.dumps({"output": evaluate(node, x, limit)}, ensure_ascii=False)


def judge(response: str, node: Expression, x: str, answer: str, limit: int, hints: bool = False) -> Result:
    """Grade a reply by exact equality of strings.

    Args:
        response: the policy's whole reply.
        node: the expression asked about.
        x: its input.
        answer: its value.
        limit: longest value there can be.
        hints: tell wrong length from wrong order.

    Returns:
        Reward 1 or 0; ``info["failure_class"]`` names the kind of a mistake, for metrics.
    """
    given = read_output(response)
    if given is None:
        return _wrong('No JSON object with the key "output" was found.', "format", "no_answer")
    info = {"failure_class": failure_class(node, x, given, limit), "extracted": given[:200]}
    if given == answer:
        return Result(1.0, "Correct.", "correct", info=info)
    if not given:
        return _wrong("The answer is empty.", "incorrect", "empty", info)
    if len(given) > limit:
        return _wrong("The answer is longer than any output can be.", "incorrect", "too_long", info)
    if given != given.strip():
        return _wrong("The answer has spaces at its ends.", "incorrect", "spaces", info)
    if hints and len(given) != len(answer):
        return _wrong("Incorrect: the length differs.", "incorrect", "length", info)
    if hints and sorted(given) == sorted(answer):
        return _wrong("Incorrect: the same letters in another order.", "incorrect", "order", info)
    return _wrong("Incorrect.", "incorrect", "wrong_value", info)


def _wrong(text: str, kind: str, reason: str, info: dict[str, Any] | None = None) -> Result:
    return Result(0.0, Feedback(text=text, kind=kind), reason, info=info or {})  # type: ignore[arg-type]


def _draw(
    rng: Any, world: str | int, level: int, side: str, require_x: bool, functions: int, fan_in: bool, alphabet: str,
    length: int, max_output: int,
) -> tuple[Expression, str, dict[str, str], int]:  # fmt: skip
    """Expression, input, definitions by name, and the longest value allowed."""
    for name, value, most in (("length", length, 64), ("max_output", max_output, 10_000)):
        if not 1 <= value <= most:
            raise ValueError(f"{name}={value}: give 1 to {most}")
    if not alphabet or len(alphabet) > 1000:
        raise ValueError(f"alphabet={alphabet[:40]!r}: give 1 to 1,000 letters")
    if not 1 <= level <= 12:
        raise ValueError(f"level={level!r} is out of range; choose 1 to 12")
    if world in ("paper", "strict"):
        operators = members(str(world), side)
        node, x = compose_paper.problem(rng, level, operators, require_x, max_output)
        return node, x, {op.name: op.definition for op in OPERATORS}, max_output
    if not str(world).isdigit():
        raise ValueError(f"world={world!r} is none; choose 'paper', 'strict' or a number")
    if side not in ("train", "test", "all"):
        raise ValueError(f"side={side!r} is none; choose 'train', 'test' or 'all'")
    number = int(world)
    members_ = compose_typed.world(number, functions)
    node, x = compose_typed.problem(rng, number, members_, level, fan_in, side, alphabet, length)
    return node, x, {f.name: f.definition for f in members_}, compose_typed.MAX_INTERMEDIATE


def _example(rng: Any, call: Call, alphabet: str) -> str:
    texts = [compose_typed.word(rng, 3, 6, alphabet) for _ in call.arguments]
    value = call.run(*texts, *call.parameters)
    arguments = [
        json.dumps(v, ensure_ascii=False) if isinstance(v, str) else str(v) for v in (*texts, *call.parameters)
    ]
    return f"{call.name}({', '.join(arguments)}) = {json.dumps(value, ensure_ascii=False)}"
