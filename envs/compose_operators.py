"""The 25 string operators of the composition study (arXiv 2509.25123), written from their description.

The operators have meaningless names, ``func_0`` to ``func_24``. Four pairs do the same thing (1/18, 8/19, 7/20, and
9/24
except on palindromes), so the study's split into 13 training and 12 test operators leaks; the strict split keeps each
pair on one side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from math import gcd
from typing import Any

VOWELS = "aeiouAEIOU"
SEPARATORS = "-_|"


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        index: its number in the study.
        run: the operator; takes the text and the parameter, if there is one.
        parameter: what the second argument is: "", ``repeat``, ``rotate``, ``shift``, ``separator``, ``affix``,
            ``depth`` or ``text`` (a second string).
        definition: how it is described where definitions are visible.
    """

    index: int
    run: Callable[..., str]
    parameter: str
    definition: str

    @property
    def name(self) -> str:
        """The opaque name the policy sees."""
        return f"func_{self.index}"


def stride_permutation(s: str) -> str:
    """Read every third character around the text; the step grows by 2 until it is coprime with the length."""
    if len(s) < 2:
        return s
    step = 3
    while gcd(step, len(s)) != 1:
        step += 2
    return "".join(s[i * step % len(s)] for i in range(len(s)))


def interleave(a: str, b: str) -> str:
    """Characters of both texts in turn; what is left of the longer one follows."""
    return "".join(x + y for x, y in zip_longest(a, b, fillvalue=""))


def interleave_recursive(a: str, b: str) -> str:
    """The same, written recursively in the study."""
    shared = min(len(a), len(b))
    return "".join(x + y for x, y in zip(a, b, strict=False)) + a[shared:] + b[shared:]


def rotate(s: str, n: int) -> str:
    """Rotate left by n."""
    return s[n % len(s) :] + s[: n % len(s)] if s else s


def rotate_loop(s: str, n: int) -> str:
    """Rotate left by one, n times."""
    for _ in range(n):
        s = s[1:] + s[:1]
    return s


def caesar(s: str, n: int) -> str:
    """Shift letters in the alphabet, each case in itself."""
    return "".join(
        chr((ord(c) - base + n) % 26 + base) if (base := 97 if "a" <= c <= "z" else 65 if "A" <= c <= "Z" else 0) else c
        for c in s
    )


def collapse(s: str) -> str:
    """One character for each run of equal ones."""
    return "".join(c for i, c in enumerate(s) if i == 0 or s[i - 1] != c)


def ensure_digit(s: str, depth: int) -> str:
    """Search, first come first served, for a text with a digit: append 1, prepend 2, a to 3, reverse."""

    def search(text: str, left: int) -> str | None:
        if any(c.isdigit() for c in text):
            return text
        if left == 0:
            return None
        for step in (text + "1", "2" + text, text.replace("a", "3"), text[::-1]):
            found = search(step, left - 1)
            if found is not None:
                return found
        return None

    return search(s, depth) or s


def palindrome(s: str, depth: int) -> str:
    """Append the reverse until the text is a palindrome, at most ``depth`` times."""
    while depth > 0 and s != s[::-1]:
        s, depth = s + s[::-1], depth - 1
    return s


def _join(s: str, separator: str) -> str:
    return separator.join(s)


_ROWS: tuple[tuple[Callable[..., str], str, str], ...] = (
    (stride_permutation, "", "reads every 3rd character cyclically (step raised by 2 until coprime with the length)"),
    (lambda s, n: s * n, "repeat", "repeats s n times"),
    (lambda s: "".join(c for c in s if c not in VOWELS), "", "removes the vowels of s"),
    (lambda s: "".join(sorted(s)), "", "sorts the characters of s"),
    (lambda s: " ".join(reversed(s.split())), "", "reverses the order of the words of s"),
    (lambda s, p: p + s, "affix", "puts the second argument before s"),
    (lambda s, p: s + p, "affix", "puts the second argument after s"),
    (interleave, "text", "takes characters of both arguments in turn, then the rest of the longer one"),
    (rotate, "rotate", "rotates s left by n"),
    (lambda s: s + s[::-1], "", "appends the reverse of s to s"),
    (
        lambda s: "".join(c.upper() if i % 2 else c.lower() for i, c in enumerate(s)),
        "",
        "lower case at even positions, upper case at odd ones (from 0)",
    ),
    (caesar, "shift", "shifts the letters of s by n in the alphabet"),
    (
        lambda s: "".join(str("aeiou".index(c.lower()) + 1) if c in VOWELS else c for c in s),
        "",
        "a, e, i, o, u become 1 to 5",
    ),
    (_join, "separator", "puts the second argument between the characters of s"),
    (lambda s: "".join(c * 2 for c in s), "", "doubles every character of s"),
    (lambda s: "".join(f"«{c}»" for c in s), "", "wraps every character of s in « »"),
    (collapse, "", "collapses runs of equal characters to one"),
    (lambda s: s[::-1], "", "reverses s"),
    (lambda s, n: "".join(s for _ in range(n)), "repeat", "joins n copies of s in a loop"),
    (rotate_loop, "rotate", "moves the first character of s to its end, n times"),
    (interleave_recursive, "text", "takes the first characters of both arguments, then goes on with the rests"),
    (lambda s: "".join(c for c in s if c.isalpha()), "", "keeps only the letters of s"),
    (lambda s: s[: len(s) - len(s) % 2], "", "drops the last character of s if the length is odd"),
    (ensure_digit, "depth", "if s has no digit, searches for one by: append 1, prepend 2, a to 3, reverse"),
    (palindrome, "depth", "appends its reverse to s unless s is a palindrome"),
)
OPERATORS = tuple(Operator(i, run, parameter, text) for i, (run, parameter, text) in enumerate(_ROWS))

TWINS = ((1, 18), (8, 19), (7, 20), (9, 24))
SPLITS: dict[str, dict[str, frozenset[int]]] = {
    "paper": {
        "train": frozenset((1, 3, 4, 5, 9, 11, 13, 15, 17, 19, 20, 22, 23)),
        "test": frozenset((0, 2, 6, 7, 8, 10, 12, 14, 16, 18, 21, 24)),
    },
    "strict": {
        "train": frozenset((1, 18, 3, 4, 5, 9, 24, 11, 13, 15, 17, 22, 23)),
        "test": frozenset((0, 2, 6, 7, 20, 8, 19, 10, 12, 14, 16, 21)),
    },
}


def members(split: str, side: str) -> tuple[Operator, ...]:
    """Operators of one side (``train``, ``test`` or ``all``) of a split (``paper`` or ``strict``).

    Raises:
        ValueError: an unknown split or side.
    """
    if split not in SPLITS:
        raise ValueError(f"world={split!r} has no operators; choose 'paper' or 'strict'")
    if side == "all":
        return OPERATORS
    if side not in SPLITS[split]:
        raise ValueError(f"side={side!r} is none; choose 'train', 'test' or 'all'")
    return tuple(op for op in OPERATORS if op.index in SPLITS[split][side])


def parameter_values(kind: str, rng: Any) -> tuple[Any, ...]:
    """Draw the second argument of an operator; empty where it takes none."""
    if kind == "":
        return ()
    if kind == "repeat":
        return (int(rng.integers(2, 5)),)
    if kind in ("rotate", "depth"):
        return (int(rng.integers(1, 4)),)
    if kind == "shift":
        return (int(rng.integers(1, 6)),)
    if kind == "separator":
        return (SEPARATORS[int(rng.integers(len(SEPARATORS)))],)
    if kind == "affix":
        return (word(rng, 2, 4),)
    raise ValueError(f"a parameter of kind {kind!r} is not drawn")


def word(rng: Any, low: int, high: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz") -> str:
    """A random lower-case word of ``low`` to ``high`` letters."""
    return "".join(alphabet[int(k)] for k in rng.integers(len(alphabet), size=int(rng.integers(low, high + 1))))
