"""The last resort: sympy, on a tree built from ours. It runs in a worker only, where a deadline can kill it.

Text never reaches sympy: every number, name and function is made from a parsed node, one by one. What sympy decides may
depend on its version and, through the deadline, on the machine; so it is asked for by name, and only about golds that
hold an unevaluated sum, product, integral or limit and pairs that the test points left undecided.
"""

from __future__ import annotations

from typing import Any

import sympy

from .compare import Result, kind_of, readings
from .exact import Budget, NotRational, Undefined, exact
from .lex import Node
from .opaque import NOTHING, taken_apart
from .text import normalise
from .verdict import Reason, Unreadable

_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "inf": sympy.oo}
_FUNCTIONS: dict[str, Any] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "sinh": sympy.sinh, "cosh": sympy.cosh,
    "tanh": sympy.tanh, "ln": sympy.log, "log": sympy.log, "abs": sympy.Abs, "floor": sympy.floor,
    "ceil": sympy.ceiling, "fact": sympy.factorial, "fact2": sympy.factorial2, "binom": sympy.binomial,
    "conj": sympy.conjugate, "Re": sympy.re, "Im": sympy.im, "max": sympy.Max, "min": sympy.Min, "sgn": sympy.sign,
}  # fmt: skip
_WHOLE = frozenset("kmnjp")  # letters that stand for whole numbers in sums, factorials and binomials


def decide(gold: str, answer: str) -> Result | None:
    """Compare two answers with sympy.

    Returns:
        The verdict "equal", or None where sympy does not show it.
    """
    try:
        lefts, rights = readings(normalise(gold)), readings(normalise(answer))
    except Unreadable:
        return None
    if isinstance(lefts, Reason) or isinstance(rights, Reason):
        return None
    for left in lefts:
        for right in rights:
            try:
                one, two = Builder()(left), Builder()(right)
                same = sympy.simplify(one.doit() - two.doit()) == 0
            except (NotRational, Undefined, Unreadable, ArithmeticError, TypeError, ValueError, NotImplementedError):
                continue
            if same:
                return Result(True, Reason.EQUAL, kind_of(left), kind_of(right))
    return None


class Builder:
    """Makes a sympy expression from a node. Raises NotRational for a node that is no single value."""

    def __init__(self) -> None:
        self.budget = Budget(20_000)

    def symbol(self, name: str) -> Any:
        """A real variable; one of the letters that count is a positive whole number."""
        whole = name[:1] in _WHOLE
        return sympy.Symbol(name, integer=True, positive=True) if whole else sympy.Symbol(name, real=True)

    def __call__(self, node: Node) -> Any:
        self.budget.spend()
        kind = node[0]
        if kind == "num":
            return sympy.Rational(node[1].numerator, node[1].denominator)
        if kind == "sym":
            return self.symbol(node[1])
        if kind == "const":
            return _CONSTANTS[node[1]]
        if kind == "neg":
            return -self(node[1])
        if kind == "add":
            return self(node[1]) + self(node[2])
        if kind == "mul":
            return self(node[1]) * self(node[2])
        if kind == "div":
            return self(node[1]) / self(node[2])
        if kind == "pow":
            return self.power(node)
        if kind == "root":
            return sympy.root(self(node[2]), self(node[1]))
        if kind == "fn" and node[1] == "logb":
            return sympy.log(self(node[3])) / sympy.log(self(node[2]))
        if kind == "fn" and node[1] in _FUNCTIONS:
            return _FUNCTIONS[node[1]](*(self(argument) for argument in node[2:]))
        if kind == "opaque":
            return self.operator(node)
        raise NotRational(kind)

    def power(self, node: Node) -> Any:
        """A power, unless it is a number with too many digits to write down."""
        base, exponent = self(node[1]), self(node[2])
        if base.is_number and exponent.is_number and abs(exponent) > 1000:
            exact(node, self.budget)  # raises NotRational above the cap
        return base**exponent

    def operator(self, node: Node) -> Any:
        """A sum, product, integral or limit that sympy is to evaluate."""
        name, variable, low, high, body = taken_apart(node)
        if variable is None or low == NOTHING or (high == NOTHING) != (name == "lim"):
            raise NotRational(name)
        index, inner = self.symbol(variable), self(body)
        if name == "lim":
            return sympy.Limit(inner, index, self(low), "+-" if self(low).is_finite else "-")
        if name == "int":
            return sympy.Integral(inner, (index, self(low), self(high)))
        makers = {"sum": sympy.Sum, "prod": sympy.Product}
        if name not in makers:
            raise NotRational(name)
        return makers[name](inner, (index, self(low), self(high)))
