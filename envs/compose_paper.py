"""The study's generator: random expressions over ``func_0`` ... ``func_24`` by recursion depth."""

from __future__ import annotations

from typing import Any

from .compose_operators import Operator, parameter_values, word
from .compose_tree import Call, Expression, Leaf, TooLong, evaluate, uses_x

_CASES = (("." + "upper", str.upper), ("." + "lower", str.lower), ("." + "swapcase", str.swapcase))
MAX_TRIES = 2000


def _plus(a: str, b: str) -> str:
    return a + b


def draw(rng: Any, level: int, operators: tuple[Operator, ...]) -> Expression:
    """An expression of recursion depth ``level``.

    A leaf is the input or a literal of 3 to 6 letters with equal chance; one inner node in five has two arguments, half
    of them ``+`` and half an interleaving (if there is one to use); one unary node in fifty is a case method; else
    operators with and without a parameter have equal chances.
    """
    if level == 0:
        return Leaf() if rng.random() < 0.5 else Leaf(word(rng, 3, 6))
    if rng.random() < 0.2:
        weavers = [op for op in operators if op.parameter == "text"]
        left, right = draw(rng, level - 1, operators), draw(rng, level - 1, operators)
        if weavers and rng.random() < 0.5:
            op = weavers[int(rng.integers(len(weavers)))]
            return Call(op.name, op.run, (left, right))
        return Call("+", _plus, (left, right))
    inner = draw(rng, level - 1, operators)
    if rng.random() < 0.02:
        name, method = _CASES[int(rng.integers(len(_CASES)))]
        return Call(name, method, (inner,))
    with_parameter = rng.random() < 0.5
    choice = [op for op in operators if op.parameter != "text" and bool(op.parameter) == with_parameter]
    op = choice[int(rng.integers(len(choice)))]
    return Call(op.name, op.run, (inner,), parameter_values(op.parameter, rng))


def problem(
    rng: Any, level: int, operators: tuple[Operator, ...], require_x: bool, max_output: int = 256
) -> tuple[Expression, str]:
    """An expression and an input of 3 to 10 letters whose values all stay within ``max_output`` characters.

    Raises:
        ValueError: none was found, because ``max_output`` is too small for this level.
    """
    for _ in range(MAX_TRIES):
        node, x = draw(rng, level, operators), word(rng, 3, 10)
        if require_x and not uses_x(node):
            continue
        try:
            evaluate(node, x, max_output)
        except TooLong:
            continue
        return node, x
    raise ValueError(f"no expression of level {level} stays within max_output={max_output} characters; raise it")
