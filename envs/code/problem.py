"""What a code task is made of: tests that say who may see them, and a problem that holds them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...sandbox.grading import AssertTest, CallTest, StdioTest
from ..replies import visible
from . import checkers

Visibility = Literal["public", "feedback", "hidden"]
Test = StdioTest | CallTest | AssertTest

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)
MAX_CODE = 100_000


@dataclass(frozen=True)
class CodeTest:
    """A test and who may see it.

    Attributes:
        test: what the sandbox runs; its expected output stays on the host.
        visibility: ``public`` (in the prompt), ``feedback`` (shown on failure) or ``hidden`` (never shown).
        shown_input: how the input is shown to a policy.
        shown_output: how the expected output is shown; never used for hidden tests.
    """

    test: Test = field(repr=False)
    visibility: Visibility = "hidden"
    shown_input: str = field(default="", repr=False)
    shown_output: str = field(default="", repr=False)


@dataclass(frozen=True)
class Problem:
    """A code task.

    Attributes:
        statement: what is asked, without the public tests.
        tests: all tests, in the order in which they are run.
        language: what the reply's block holds: ``python``, ``sql`` or ``text``.
        time_limit: seconds for one test.
        prepare: makes the program that is run from the code in the reply; for stubs and wrappers.
        constraint: looks at the code before it runs and says what rule it breaks, or "".
        judge: grades the data one call returned, instead of tests with expected outputs; see `Judged`.
        solutions: replies ``reference``, ``wrong`` and ``slow``, where the problem is generated.
        baseline: share of the tests that a program printed in the statement passes as it stands. Copying it earns
            nothing: rewards by share count what lies above.
        id: name of the problem, if it has one.
    """

    statement: str
    tests: tuple[CodeTest, ...] = ()
    language: str = "python"
    time_limit: float = 2.0
    prepare: Callable[[str], str] | None = field(default=None, repr=False)
    constraint: Callable[[str], str] | None = field(default=None, repr=False)
    judge: Callable[[Any], Judged] | None = field(default=None, repr=False)
    solutions: Mapping[str, str] = field(default_factory=dict, repr=False)
    baseline: float = 0.0
    id: str = ""

    def earned(self, share: float) -> float:
        """The reward for a share of the tests."""
        return max(0.0, (share - self.baseline) / (1.0 - self.baseline))

    @property
    def prompt(self) -> str:
        """The statement with its public tests."""
        parts = [self.statement.rstrip()]
        for number, item in enumerate((t for t in self.tests if t.visibility == "public"), 1):
            parts.append(f"Example {number}\nInput:\n{item.shown_input}\nOutput:\n{item.shown_output}")
        if self.language == "text":
            parts.append("Give the output in a ```text block.")
        else:
            parts.append(f"Reply with one ```{self.language} block.")
        return "\n\n".join(parts)


@dataclass(frozen=True)
class Judged:
    """What a problem's own judge says: the share earned and what the policy may read."""

    share: float
    text: str = ""
    reason: str = ""


def stdio(
    id: str,
    stdin: str,
    expected: str,
    visibility: Visibility,
    checker: Any = checkers.decimal_lines,
    tolerance: float = 1e-6,
) -> CodeTest:
    """A test that feeds standard input."""
    return CodeTest(StdioTest(id, stdin, expected, checker, tolerance), visibility, stdin, expected)


def call(
    id: str,
    function: str,
    args: Sequence[Any],
    expected: Any,
    visibility: Visibility,
    checker: Any = checkers.exact_data,
    tolerance: float = 1e-9,
) -> CodeTest:
    """A test that calls a function."""
    shown = f"{function.rpartition('.')[2]}({', '.join(map(repr, args))})"
    test = CallTest(id, function, list(args), {}, expected, checker, tolerance)
    return CodeTest(test, visibility, shown, repr(expected))


def check(id: str, source: str, visibility: Visibility, setup: str = "", entry: str | None = None) -> CodeTest:
    """A test made of assert statements."""
    return CodeTest(AssertTest(id, source, setup, entry), visibility, source, "no error")


def from_gold(gold: Mapping[str, Any], prompt: str = "") -> Problem:
    """A problem from an author's answer ``{"tests": [...]}``.

    Each test is ``{"input", "output"}`` for a program, ``{"args", "expected"}`` for the function named by
    ``gold["entry"]``, or text with assert statements. ``visibility`` may stand in each; it is ``hidden`` otherwise.
    The first two may have a ``checker`` (``exact_lines``, ``tokens``, ``float`` or ``unordered_lines`` for output,
    ``exact``, ``float`` or ``set`` for values, or a function of what came and what was expected) and a ``tolerance``.
    By default lines are compared as words and decimals, values as plain data.

    Raises:
        ValueError: a test has none of these forms, or there are none.
    """
    found: list[CodeTest] = []
    entry = gold.get("entry")
    for number, item in enumerate(gold["tests"], 1):
        id = str(number)
        if isinstance(item, CodeTest):
            found.append(replace(item, test=replace(item.test, id=id)))
            continue
        if isinstance(item, str):
            item = {"assert": item}
        visibility = item.get("visibility", "hidden")
        if visibility not in ("public", "feedback", "hidden"):
            raise ValueError(f"tests[{number - 1}]: visibility={visibility!r}; choose public, feedback or hidden")
        how = {name: item[name] for name in ("checker", "tolerance") if name in item}
        if "assert" in item:
            found.append(check(id, item["assert"], visibility, gold.get("setup", ""), entry))
        elif "args" in item and (item.get("function") or entry):
            function = str(item.get("function") or entry)
            found.append(call(id, function, item["args"], item.get("expected"), visibility, **how))
        elif "input" in item and "output" in item:
            found.append(stdio(id, str(item["input"]), str(item["output"]), visibility, **how))
        else:
            raise ValueError(
                f"tests[{number - 1}] has the keys {sorted(item)}; give input and output, args and expected (with "
                "'entry' beside 'tests'), or assert"
            )
    if not found:
        raise ValueError("an answer with 'tests' needs at least one test")
    return Problem(prompt, tuple(found), time_limit=float(gold.get("time_limit", 2.0)))


def extract_code(response: str, language: str = "python") -> str | None:
    """The code a reply commits to: the last closed block of the language, else the last closed block, else the whole
    reply if it is a Python program. Blocks inside ``<think>`` do not count.
    """
    text = visible(response, 4 * MAX_CODE)
    fences = list(_FENCE.finditer(text))
    blocks: list[tuple[str, str]] = []
    at = 0
    while at + 1 < len(fences):
        opening, closing = fences[at], fences[at + 1]
        if closing[1]:  # a new block begins before this one ended
            at += 1
            continue
        blocks.append((opening[1].lower(), text[opening.end() + 1 : closing.start()]))
        at += 2
    names = {"python": ("python", "py", "python3"), "sql": ("sql", "sqlite"), "text": ("text", "txt", "")}[language]
    for wanted in ((name in names) for name, _ in reversed(blocks)):
        if wanted:
            return next(body for name, body in reversed(blocks) if name in names)[:MAX_CODE]
    if blocks:
        return blocks[-1][1][:MAX_CODE]
    return text if language == "python" and not fences and is_program(text) else None


def is_program(text: str) -> bool:
    """Is a text without a block a Python program rather than a sentence?"""
    if len(text) > MAX_CODE or not re.search(
        r"^(?:def|import|from|print|class|for|while|\w+\s*=)\b", text, re.MULTILINE
    ):
        return False
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def shown_json(value: Any) -> str:
    """A value as JSON for showing it; text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
