"""The words of mathematical notation: functions, Greek letters, relations, and what the parser makes of them."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """A set of words."""
    return frozenset(text.split())


FUNCTIONS = words(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth arcsinh arccosh arctanh ln log lg exp "
    "max min gcd lcm det Re Im arg sgn sign floor ceil abs sqrt cbrt conj cis"
)
FUNCTION_ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "cosec": "csc", "tg": "tan", "ctg": "cot", "arctg": "arctan",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "arsinh": "arcsinh", "arcosh": "arccosh",
    "artanh": "arctanh", "ceiling": "ceil", "real": "Re", "imag": "Im", "log10": "lg",
}  # fmt: skip
OTHER_OPERATORS = words("mod bmod pmod or and lim sum prod int infty pi")
TRIG = words("sin cos tan cot sec csc")
INVERSE = {
    "sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sinh": "arcsinh", "cosh": "arccosh",
    "tanh": "arctanh",
}  # fmt: skip
GLUED = (
    "arcsin", "arccos", "arctan", "sqrt", "sinh", "cosh", "tanh", "sin", "cos", "tan", "cot", "sec", "csc", "ln", "log",
)  # fmt: skip
GREEK = words(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron rho sigma varsigma tau upsilon "
    "phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar aleph varrho"
)
OPAQUE = words("int iint iiint oint sum prod lim limsup liminf")
RELATIONS = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "approx": "~", "in": "in", "notin": "notin",
    "equiv": "=", "subset": "subset", "subseteq": "subset",
}  # fmt: skip
PLAIN_CONSTANTS = {"pi": "pi", "infinity": "inf", "inf": "inf", "infty": "inf"}
SPACED_UNITS = words("m s g h L l N J W V K")
FACTOR_COMMANDS = words(
    "frac sqrt pi infty binom lfloor lceil begin overline bar langle norm i e overrightarrow overleftarrow"
) | (FUNCTIONS | FUNCTION_ALIASES.keys() | GREEK | OPAQUE)
NUMBER_SET_LETTERS = {"R": "Reals", "Z": "Integers", "N": "Naturals", "Q": "Rationals", "C": "Complexes"}
NUMBER_SETS = words("Reals Integers Naturals Rationals Complexes")
PIECES = words("cases dcases rcases")
LISTING = PIECES | words("aligned align align* gathered split gather")
MATRICES = words(
    "matrix pmatrix bmatrix vmatrix Vmatrix Bmatrix smallmatrix psmallmatrix bsmallmatrix vsmallmatrix array"
)
