"""Typed worlds of string functions: primitives with parameters of their own and names that mean nothing elsewhere.

A world is a number. It fixes which primitives there are, their parameters and their names, so ``mavo`` in world 3 and
``mavo`` in world 4 have nothing in common. Parameters are integers, letters, texts, tables of letters, or other
functions (for conditions); every function takes one text, or two, and returns one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from .compose_operators import (
    VOWELS,
    caesar,
    collapse,
    ensure_digit,
    interleave,
    palindrome,
    rotate,
    stride_permutation,
    word,
)
from .compose_tree import Call, Expression, Leaf, TooLong, pairs, trace

MAX_INTERMEDIATE = 64
MAX_TRIES = 4000

# Kind of a parameter -> how it is drawn. A new kind is one line here.
_DRAW: dict[str, Callable[[Any], Any]] = {
    "small": lambda rng: int(rng.integers(1, 4)),
    "times": lambda rng: int(rng.integers(2, 4)),
    "shift": lambda rng: int(rng.integers(1, 13)),
    "length": lambda rng: int(rng.integers(4, 9)),
    "letter": lambda rng: word(rng, 1, 1),
    "text": lambda rng: word(rng, 2, 3),
    "separator": lambda rng: "-_.:"[int(rng.integers(4))],
    "table": lambda rng: "".join(rng.permutation(list("abcdefghijklmnopqrstuvwxyz"))),
    "half": lambda rng: "abcdefghijklmnopqrstuvwxyz"[int(rng.integers(8, 19))],
}


def _swap_halves(s: str) -> str:
    return s[len(s) // 2 :] + s[: len(s) // 2]


def _runs(s: str) -> str:
    return "".join(f"{char}{sum(1 for _ in group)}" for char, group in groupby(s))


def _letters_mapped(s: str, table: str) -> str:
    return s.translate(str.maketrans("abcdefghijklmnopqrstuvwxyz", table))


def _by_parts(s: str, n: int) -> str:
    return "".join(s[i : i + n][::-1] for i in range(0, len(s), n))


def _fold(s: str) -> str:
    return s[0] + _fold(s[1:])[::-1] if len(s) > 1 else s


def _peel(s: str, n: int) -> str:
    return _peel(s[1:-1], n - 1) if n > 0 and len(s) > 2 else s


# name, function, kinds of its parameters, description with the parameters in braces
_Row = tuple[str, Callable[..., str], tuple[str, ...], str]
PRIMITIVES: tuple[_Row, ...] = (
    ("reverse", lambda s: s[::-1], (), "reverses s"),
    ("rotate_left", rotate, ("small",), "rotates s left by {0}"),
    ("rotate_right", lambda s, n: rotate(s, -n), ("small",), "rotates s right by {0}"),
    ("duplicate", lambda s: "".join(c * 2 for c in s), (), "doubles every character of s"),
    ("weave", interleave, ("text",), "takes characters of s and of {0} in turn, then the rest"),
    (
        "weave_before",
        lambda s, t: interleave(t, s),
        ("text",),
        "takes characters of {0} and of s in turn, then the rest",
    ),
    ("caesar", caesar, ("shift",), "shifts letters by {0} in the alphabet"),
    ("drop_vowels", lambda s: "".join(c for c in s if c not in VOWELS), (), "removes vowels"),
    (
        "keep_vowels_last",
        lambda s: "".join(sorted(s, key=lambda c: c in VOWELS)),
        (),
        "moves vowels to the end, in order",
    ),
    ("sort", lambda s: "".join(sorted(s)), (), "sorts the characters"),
    ("sort_down", lambda s: "".join(sorted(s, reverse=True)), (), "sorts the characters in descending order"),
    ("repeat", lambda s, n: s * n, ("times",), "repeats s {0} times"),
    ("prefix", lambda s, t: t + s, ("text",), "puts {0} before s"),
    ("suffix", lambda s, t: s + t, ("text",), "puts {0} after s"),
    ("wrap", lambda s, t: t + s + t, ("letter",), "puts {0} before and after s"),
    ("swap_halves", _swap_halves, (), "swaps the halves of s (the second is the longer one)"),
    ("run_length", _runs, (), "writes every run of equal characters as the character and its length"),
    ("map_letters", _letters_mapped, ("table",), "replaces the letters a to z by {0}, in this order"),
    ("vowel_digits", lambda s: s.translate(str.maketrans("aeiou", "12345")), (), "turns a, e, i, o, u into 1 to 5"),
    ("stride", stride_permutation, (), "reads every 3rd character cyclically (step raised by 2 until coprime)"),
    ("mirror", lambda s: s + s[::-1], (), "appends the reverse of s"),
    ("palindrome", palindrome, ("small",), "appends its reverse unless s is a palindrome, at most {0} times"),
    ("ensure_digit", ensure_digit, ("small",), "appends 1 if s has no digit"),
    ("collapse", collapse, (), "collapses runs of equal characters"),
    ("join", lambda s, t: t.join(s), ("separator",), "puts {0} between the characters"),
    (
        "alternate",
        lambda s: "".join(c.upper() if i % 2 else c for i, c in enumerate(s)),
        (),
        "odd positions in upper case",
    ),
    ("upper_first", lambda s: s[:1].upper() + s[1:], (), "the first character in upper case"),
    ("swap_case", str.swapcase, (), "swaps upper and lower case"),
    ("drop_first", lambda s, n: s[n:], ("small",), "drops the first {0} characters"),
    ("drop_last", lambda s, n: s[:-n], ("small",), "drops the last {0} characters"),
    ("keep_first", lambda s, n: s[:n], ("length",), "keeps the first {0} characters"),
    ("every_second", lambda s: s[::2], (), "keeps the characters at even positions (from 0)"),
    ("swap_ends", lambda s: s[-1:] + s[1:-1] + s[:1] if len(s) > 1 else s, (), "swaps the first and last character"),
    ("swap_pairs", lambda s: _by_parts(s, 2), (), "swaps neighbours pair by pair"),
    ("reverse_blocks", lambda s, n: _by_parts(s, n + 2), ("small",), "reverses blocks of {0}+2 characters"),
    ("replace", lambda s, a, b: s.replace(a, b), ("letter", "text"), "replaces every {0} by {1}"),
    ("remove", lambda s, a: s.replace(a, ""), ("letter",), "removes every {0}"),
    (
        "halves_by_letter",
        lambda s, a: "".join(sorted(s, key=lambda c: c >= a)),
        ("half",),
        "characters before {0} first, in order",
    ),
    (
        "by_length",
        lambda s, n: s[::-1] if len(s) > n else s + s[:1],
        ("length",),
        "reverses s if longer than {0}, else appends its first character",
    ),
    (
        "by_first",
        lambda s, a: rotate(s, 1) if s[:1] < a else s[:1] + s,
        ("half",),
        "if s starts before {0} rotates left by 1, else doubles the first character",
    ),
    ("fold", _fold, (), "keeps the first character and appends the fold of the rest, reversed"),
    ("peel", _peel, ("small",), "drops both ends while longer than 2, at most {0} times"),
)

_ONSETS = "bdfgklmnprstvz"
_VOWELS = "aeiou"


@dataclass(frozen=True)
class Function:
    """One function of a world: its name there, how it runs, and what it does in words."""

    name: str
    primitive: str
    run: Callable[..., str] = field(repr=False, compare=False)
    parameters: tuple[Any, ...] = ()
    definition: str = ""

    def __call__(self, s: str) -> str:
        return self.run(s, *self.parameters)


@lru_cache(maxsize=64)
def world(number: int, size: int = 12) -> tuple[Function, ...]:
    """The functions of a world.

    Args:
        number: which world.
        size: how many functions it has, at most the number of primitives.

    Raises:
        ValueError: ``size`` is out of range.
    """
    if not 2 <= size <= len(PRIMITIVES):
        raise ValueError(f"functions={size} is out of range; choose 2 to {len(PRIMITIVES)}")
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"compose world {number}".encode()).digest()[:8], "big"))
    names: list[str] = []
    while len(names) < len(PRIMITIVES):
        name = "".join(_ONSETS[int(rng.integers(14))] + _VOWELS[int(rng.integers(5))] for _ in range(2))
        if name not in names:
            names.append(name)
    made = []
    for name, index in zip(names, rng.permutation(len(PRIMITIVES)), strict=True):
        primitive, run, kinds, text = PRIMITIVES[int(index)]
        parameters = tuple(_DRAW[kind](rng) for kind in kinds)
        for i, value in enumerate(parameters):
            text = text.replace(f"{{{i}}}", f'"{value}"' if isinstance(value, str) else str(value))
        made.append(Function(name, primitive, run, parameters, text))
    return tuple(made[:size])


def pair_side(number: int, outer: str, inner: str, test_share: float = 0.25) -> str:
    """Which side a composition belongs to, by a hash of the world and the pair of names."""
    value = int.from_bytes(hashlib.sha256(f"{number}:{outer}({inner})".encode()).digest()[:4], "big")
    return "test" if value < test_share * 2**32 else "train"


def problem(
    rng: Any,
    number: int,
    functions: tuple[Function, ...],
    depth: int,
    fan_in: bool,
    side: str,
    alphabet: str,
    length: int,
) -> tuple[Expression, str]:
    """An expression of the given depth and an input on which every stage changes something.

    All values have at most 64 characters, at least two intermediate values differ, no function acts as the identity,
    and all compositions are on the side asked for.

    Raises:
        ValueError: none was found; the knobs leave too little room.
    """
    by_side = {(f.name, g.name): pair_side(number, f.name, g.name) for f in functions for g in functions}
    for _ in range(MAX_TRIES):
        node = _chain(rng, functions, depth, by_side, side)
        if node is None:
            continue
        if fan_in and depth > 1:
            other = _chain(rng, functions, depth - 1, by_side, side)
            if other is None:
                continue
            node = Call("+", lambda a, b: a + b, (node, other))
        x = word(rng, max(3, length - 2), length, alphabet)
        if _lively(node, x):
            return node, x
    raise ValueError(
        f"no expression of depth {depth} found for world={number}, side={side!r}, functions={len(functions)}, "
        f"alphabet={alphabet!r}, length={length}; widen them"
    )


def _chain(
    rng: Any, functions: tuple[Function, ...], depth: int, by_side: dict[tuple[str, str], str], side: str
) -> Expression | None:
    node: Expression = Leaf()
    last = ""
    for _ in range(depth):
        choice = [f for f in functions if not last or side == "all" or by_side[f.name, last] == side]
        if not choice:
            return None
        function = choice[int(rng.integers(len(choice)))]
        node, last = Call(function.name, function, (node,)), function.name
    return node


def _lively(node: Expression, x: str) -> bool:
    try:
        steps = list(trace(node, x, MAX_INTERMEDIATE))
    except TooLong:
        return False
    values = [value for _, _, value in steps]
    if not all(values) or any(value in texts for _, texts, value in steps):
        return False
    return len(steps) < 2 or len({x, *values}) > 2


def all_pairs(node: Expression) -> set[tuple[str, str]]:
    """Compositions of named functions in an expression."""
    return {(outer, inner) for outer, inner in pairs(node) if "+" not in (outer, inner)}
