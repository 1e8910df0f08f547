"""Values to many digits with mpmath, for everything that is no rational function.

Variables are real. A value that does not exist over the reals, such as the logarithm of a negative number, raises
`Undefined`, and the point is skipped; complex numbers come in only where ``i`` is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath
from mpmath import mp, mpc, mpf

from .exact import Budget, NotRational, Undefined, exact
from .lex import Node
from .notation import TRIG

MAX_MAGNITUDE = mpf(10) ** 7  # largest argument of exp, sin, ... that is evaluated
MAX_GAMMA = mpf(10) ** 5
MAX_EXPONENT = mpf(2) ** 40

_SIMPLE = {
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "cot": mpmath.cot, "sec": mpmath.sec, "csc": mpmath.csc,
    "arctan": mpmath.atan, "sinh": mpmath.sinh, "cosh": mpmath.cosh, "tanh": mpmath.tanh, "coth": mpmath.coth,
    "arcsinh": mpmath.asinh,
}  # fmt: skip


def _real(value: Any) -> Any:
    """A complex number without imaginary part, as a real one."""
    return value.real if isinstance(value, mpc) and value.imag == 0 else value


def _bounded(value: Any, limit: Any = MAX_MAGNITUDE) -> Any:
    if abs(value) > limit:
        raise Undefined("argument too large")
    return value


class Evaluator:
    """Evaluates nodes at one point; set ``mp.prec`` outside.

    Args:
        point: values of the variables.
        budget: steps that may still be used.
        degrees: what the degree sign stands for outside trigonometric functions: 1 or pi/180.
        log: base of a plain ``log``, 0 for the natural one.
        principal: take the principal complex value where there is no real one, instead of raising `Undefined`.
    """

    def __init__(
        self, point: Mapping[str, Any], budget: Budget, degrees: Any = 1, log: int = 0, principal: bool = False
    ) -> None:
        self.point, self.budget, self.degrees, self.log, self.principal = point, budget, degrees, log, principal

    def __call__(self, node: Node) -> Any:
        """The value as ``mpf`` or ``mpc``.

        Raises:
            Undefined: no value here.
            NotRational: a node that has no number as its value.
        """
        self.budget.spend(8)
        kind = node[0]
        if kind == "num":
            return mpf(node[1].numerator) / node[1].denominator
        if kind == "sym":
            return self.point[node[1]]
        if kind == "const":
            if node[1] == "inf":
                raise Undefined("infinity")
            return +mp.pi if node[1] == "pi" else +mp.e if node[1] == "e" else mpc(0, 1)
        if kind == "add":
            return self(node[1]) + self(node[2])
        if kind == "mul":
            return _real(self(node[1]) * self(node[2]))
        if kind == "neg":
            return -self(node[1])
        if kind == "div":
            below = self(node[2])
            if below == 0:
                raise Undefined("division by zero")
            return _real(self(node[1]) / below)
        if kind == "pow":
            return self.power(node[1], node[2])
        if kind == "root":
            return self.root(self(node[2]), node[1])
        if kind == "deg":
            return self(node[1]) * self.degrees
        if kind == "pct":
            return self(node[1]) / 100
        if kind == "fn":
            return self.function(node)
        raise NotRational(kind)

    def power(self, base_node: Node, exponent_node: Node) -> Any:
        """Real powers; a negative base needs an exponent with an odd denominator, unless ``i`` is involved."""
        base = self(base_node)
        try:
            exponent = exact(exponent_node, self.budget)
        except (NotRational, Undefined):
            value = self(exponent_node)
            if base_node == ("const", "e"):
                return _real(mpmath.exp(_bounded(value, MAX_EXPONENT)))
            if isinstance(base, mpf) and isinstance(value, mpf):
                if base <= 0:
                    if base != 0 and value == int(_bounded(value)):
                        return base ** int(value)
                    if base == 0 or not self.principal:
                        raise Undefined("power of a negative number") from None
                    return mpc(base) ** value
                _bounded(value * (1 + abs(mpmath.log(base))), MAX_EXPONENT)
                return base**value
            if base == 0:
                raise Undefined("power of zero") from None
            _bounded(value, MAX_EXPONENT)
            return _real(base**value)
        if base == 0 and exponent <= 0:
            raise Undefined("power of zero")
        if exponent.denominator == 1:
            if exponent.numerator.bit_length() > 40 or (
                base and abs(exponent.numerator) * (1 + abs(mpmath.log(abs(base)))) > MAX_EXPONENT
            ):
                raise Undefined("exponent too large")
            return _real(base**exponent.numerator)
        if isinstance(base, mpf) and base < 0:
            if exponent.denominator % 2 == 0:
                if not self.principal:
                    raise Undefined("even root of a negative number")
                return mpc(base) ** (mpf(exponent.numerator) / exponent.denominator)
            size = (-base) ** (mpf(exponent.numerator) / exponent.denominator)
            return -size if exponent.numerator % 2 else size
        _bounded(exponent.numerator / exponent.denominator, MAX_EXPONENT)
        return _real(base ** (mpf(exponent.numerator) / exponent.denominator))

    def root(self, value: Any, degree_node: Node) -> Any:
        """A real root; the root of a negative constant is imaginary, of a negative variable undefined."""
        try:
            degree = exact(degree_node, self.budget)
        except (NotRational, Undefined):
            order = self(degree_node)
            if not isinstance(value, mpf) or value <= 0 or order == 0:
                raise Undefined("root") from None
            return value ** (1 / order)
        if degree.denominator != 1 or not 0 < degree.numerator < 10**6:
            raise Undefined("degree of a root")
        if isinstance(value, mpf) and value < 0:
            if degree.numerator % 2 == 0:
                if (
                    self.principal or not self.point
                ):  # the root of a negative number is imaginary; of a negative variable, undefined
                    return (
                        mpc(0, 1) * self.root(-value, degree_node)
                        if degree == 2
                        else mpmath.root(mpc(value), degree.numerator)
                    )
                raise Undefined("even root of a negative number")
            return -mpmath.root(-value, degree.numerator)
        return mpmath.root(value, degree.numerator)

    def function(self, node: Node) -> Any:
        """The value of a function."""
        name, *arguments = node[1:]
        if name == "det":
            return self.determinant(arguments[0])
        self.budget.spend(24)
        if name in TRIG:
            saved, self.degrees = self.degrees, mp.pi / 180
            value = _bounded(self(arguments[0]))
            self.degrees = saved
            self.budget.spend(8)
            result = self.pole(name, value)
            return _real(result)
        values = [self(argument) for argument in arguments]
        value = values[0]
        if name in _SIMPLE:
            _bounded(value)
            if name == "coth" and value == 0:
                raise Undefined("pole")
            return _SIMPLE[name](value)
        if name in ("ln", "log", "logb"):
            return self.logarithm(name, values)
        if name == "abs":
            return abs(value)
        if name == "conj":
            return mpmath.conj(value)
        if name == "Re":
            return mpmath.re(value)
        if name == "Im":
            return mpmath.im(value)
        if name == "arg":
            if value == 0:
                raise Undefined("argument of zero")
            return mpmath.arg(value)
        if name in ("fact", "fact2", "binom"):
            return self.factorial(name, values)
        if name in ("arcsin", "arccos") and self.principal:
            return mpmath.asin(value) if name == "arcsin" else mpmath.acos(value)
        if not all(isinstance(v, mpf) for v in values):
            raise Undefined("a real number is expected")
        if name in ("arcsin", "arccos"):
            if abs(value) > 1:
                raise Undefined("outside [-1, 1]")
            return mpmath.asin(value) if name == "arcsin" else mpmath.acos(value)
        if name == "arccot":
            return mp.pi / 2 - mpmath.atan(value)
        if name == "arccosh":
            if value < 1:
                raise Undefined("below 1")
            return mpmath.acosh(value)
        if name == "arctanh":
            if abs(value) >= 1:
                raise Undefined("outside (-1, 1)")
            return mpmath.atanh(value)
        if name in ("floor", "ceil"):
            near = mpmath.nint(value)
            if abs(value - near) < mpf(10) ** (5 - mp.dps):
                return near
            return mpmath.floor(value) if name == "floor" else mpmath.ceil(value)
        if name in ("sgn", "sign"):
            return mpmath.sign(value)
        if name in ("max", "min"):
            return max(values) if name == "max" else min(values)
        raise NotRational(name)

    def pole(self, name: str, value: Any) -> Any:
        """A trigonometric function away from its poles."""
        tiny = mpf(10) ** (5 - mp.dps)
        if name in ("tan", "sec") and abs(mpmath.cos(value)) < tiny:
            raise Undefined("pole")
        if name in ("cot", "csc") and abs(mpmath.sin(value)) < tiny:
            raise Undefined("pole")
        return _SIMPLE[name](value)

    def logarithm(self, name: str, values: list[Any]) -> Any:
        """Logarithms of positive numbers, or of complex ones."""
        for value in values:
            if value == 0 or (isinstance(value, mpf) and value < 0 and not self.principal):
                raise Undefined("logarithm of a number that is not positive")
        if name == "logb":
            below = mpmath.log(values[0])
            if below == 0:
                raise Undefined("logarithm to base 1")
            return mpmath.log(values[1]) / below
        result = mpmath.log(values[0])
        return result / mpmath.log(self.log) if name == "log" and self.log else result

    def factorial(self, name: str, values: list[Any]) -> Any:
        """Factorials and binomials through the gamma function."""
        self.budget.spend(400)
        for value in values:
            if isinstance(value, mpc):
                raise Undefined("factorial of a complex number")
            _bounded(value, MAX_GAMMA)
        try:
            if name == "fact":
                return mpmath.gamma(values[0] + 1)
            if name == "fact2":
                return mpmath.fac2(values[0])
            n, k = values
            if k == mpmath.nint(k) and 0 <= k <= 200:
                result = mpf(1)
                for j in range(int(k)):
                    result = result * (n - j) / (j + 1)
                return result
            return mpmath.binomial(n, k)
        except ValueError:
            raise Undefined("pole of the gamma function") from None

    def determinant(self, node: Node) -> Any:
        """The determinant of a small matrix."""
        if node[0] != "matrix" or len(node[1]) != len(node[1][0]) or len(node[1]) > 8:
            raise NotRational("determinant")
        self.budget.spend(len(node[1]) ** 3)
        rows = [[self(cell) for cell in row] for row in node[1]]
        return _minor(rows)


def _minor(rows: list[list[Any]]) -> Any:
    """Determinant by expansion, without divisions; fine for the small matrices of answers."""
    if len(rows) == 1:
        return rows[0][0]
    if len(rows) > 5:
        return mpmath.det(mpmath.matrix(rows))
    total = mpf(0)
    for column, value in enumerate(rows[0]):
        if value:
            minor = _minor([row[:column] + row[column + 1 :] for row in rows[1:]])
            total += -value * minor if column % 2 else value * minor
    return total


def value_of(value: Any) -> Any:
    """A fraction, a pair of fractions or a whole number at the current precision, as ``mpf`` or ``mpc``."""
    if isinstance(value, tuple):
        return mpc(*(value_of(part) for part in value))
    return mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else mpf(value)
