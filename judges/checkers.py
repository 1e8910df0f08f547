"""Programmatic checks of a response: deterministic, cheap, with evidence, and honest about what they cannot check.

A checker is a function of (response text, item, settings) that returns a `Check`. To add one, write it and decorate it
with ``@checker("name", "setting", ...)``; rubrics then use ``{"type": "name", "setting": ...}``.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..schema import RewardStatus
from .answers import correct_answer, normalised
from .types import Item

MAX_PATTERN = 2_000
REGEX_SECONDS = 2.0


@dataclass(frozen=True)
class Check:
    """Outcome of one check: a score from 0 to 1 with the passage it rests on, or None with the reason in ``status``."""

    score: float | None
    evidence: str | None = None
    status: RewardStatus = RewardStatus.OK


Checker = Callable[[str, Item, Mapping[str, Any]], Check]
CHECKERS: dict[str, Checker] = {}
_SETTINGS: dict[str, frozenset[str]] = {}


def checker(name: str, *settings: str) -> Callable[[Checker], Checker]:
    """Register a checker under a name, with the settings it understands."""

    def register(function: Checker) -> Checker:
        CHECKERS[name] = function
        _SETTINGS[name] = frozenset(settings)
        return function

    return register


def run_check(settings: Mapping[str, Any], text: str, item: Item) -> Check:
    """Run the check a rubric's criterion describes.

    Returns:
        The outcome; ``unsupported`` for an unknown type, ``invalid_input`` when settings or reference do not fit.
    """
    name = settings.get("type")
    found = CHECKERS.get(str(name))
    if found is None:
        return Check(None, f"no check {name!r}; known: {', '.join(sorted(CHECKERS))}", RewardStatus.UNSUPPORTED)
    unknown = set(settings) - {"type"} - _SETTINGS[str(name)]
    if unknown:
        return _invalid(f"check {name!r} has no setting {sorted(unknown)}; known: {sorted(_SETTINGS[str(name)])}")
    try:
        return found(text, item, settings)
    except (TypeError, ValueError, KeyError) as error:
        return _invalid(f"check {name!r}: {error}")


def _invalid(why: str) -> Check:
    return Check(None, why, RewardStatus.INVALID_INPUT)


def _verdict(passed: bool, evidence: str) -> Check:
    return Check(1.0 if passed else 0.0, evidence)


def _span(text: str, start: int, end: int) -> str:
    shown = text[start : min(end, start + 120)]
    return f"characters {start} to {end}: {shown!r}"


def _references(item: Item, settings: Mapping[str, Any]) -> list[Any]:
    reference = settings.get("reference", item.reference)
    if reference is None:
        raise ValueError("there is no reference; give item.reference or the setting 'reference'")
    return list(reference) if isinstance(reference, (list, tuple)) else [reference]


@checker("exact", "reference")
def exact(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """The whole response is the reference, up to surrounding white space."""
    passed = any(text.strip() == str(r).strip() for r in _references(item, settings))
    return _verdict(passed, _span(text, 0, len(text)) if passed else "differs from the reference")


@checker("normalised", "reference")
def normalised_text(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """The response is the reference up to case, white space, Unicode form and a closing full stop."""
    passed = any(normalised(text) == normalised(str(r)) for r in _references(item, settings))
    return _verdict(passed, _span(text, 0, len(text)) if passed else "differs from the reference")


@checker("answer", "reference")
def answer(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """The final answer equals the reference: text, number or mathematics."""
    verdict = correct_answer(text, _references(item, settings))
    if verdict is None:
        return Check(None, "it cannot be decided whether the answers are equal", RewardStatus.UNSCORED)
    return _verdict(verdict, "final answers are equal" if verdict else "final answers differ")


@checker("regex", "pattern", "ignore_case", "whole")
def regex(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """A pattern occurs in the response (or is the whole of it)."""
    pattern = settings["pattern"]
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
        raise ValueError(f"pattern must be text of at most {MAX_PATTERN} characters")
    flags = re.I if settings.get("ignore_case") else 0
    try:
        compiled = re.compile(pattern, flags)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"pattern {pattern[:80]!r} does not compile: {error}") from None
    whole = bool(settings.get("whole"))
    if _may_blow_up(pattern) and len(text) > 20:
        return _regex_aside(pattern, flags, whole, text)
    match = compiled.fullmatch(text) if whole else compiled.search(text)
    return _verdict(match is not None, _span(text, *match.span()) if match else "no match")


def _may_blow_up(pattern: str) -> bool:
    """Whether matching could take more than about linear time: two or more repetitions without a fixed bound."""
    return len(re.findall(r"(?<!\\)[*+]|\{\d*,\d*\}|\\\d", pattern)) > 1


def _regex_aside(pattern: str, flags: int, whole: bool, text: str) -> Check:
    """Match in a process of its own, since a match cannot be interrupted and would hold up every other request."""
    program = (
        "import json,re,sys\np,f,w,t=json.load(sys.stdin)\nc=re.compile(p,f)\n"
        "m=c.fullmatch(t) if w else c.search(t)\nprint(json.dumps(m.span() if m else None))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program],
            input=json.dumps([pattern, flags, whole, text]).encode(), capture_output=True, timeout=REGEX_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Check(None, f"pattern took longer than {REGEX_SECONDS:g} s", RewardStatus.TIMEOUT)
    if done.returncode != 0:
        return Check(None, "the matching process failed", RewardStatus.UPSTREAM_ERROR)
    span = json.loads(done.stdout)
    return _verdict(span is not None, _span(text, *span) if span else "no match")


@checker("json_schema", "schema")
def json_schema(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """The response is JSON (bare or in one fence) that follows a schema; uncommon keywords are refused."""
    schema = settings.get("schema", {})
    unknown = _unknown_keywords(schema)
    if unknown:
        return Check(None, f"schema keywords not supported: {sorted(unknown)}", RewardStatus.UNSUPPORTED)
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?```\s*", text, re.S)
    try:
        value = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError) as error:
        return _verdict(False, f"not JSON: {str(error)[:100]}")
    problem = _schema_problem(schema, value, "$")
    return _verdict(problem is None, problem or "follows the schema")


_KEYWORDS = {
    "type", "properties", "required", "items", "enum", "const", "minimum", "maximum", "additionalProperties",
    "minItems", "maxItems", "minLength", "maxLength", "title", "description", "$schema", "default",
}  # fmt: skip
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
}


def _unknown_keywords(schema: Any) -> set[str]:
    if not isinstance(schema, Mapping):
        return set()
    unknown = set(schema) - _KEYWORDS
    for inner in (schema.get("properties") or {}).values():
        unknown |= _unknown_keywords(inner)
    return unknown | _unknown_keywords(schema.get("items")) | _unknown_keywords(schema.get("additionalProperties"))


def _schema_problem(schema: Any, value: Any, path: str) -> str | None:
    if schema is False:
        return f"{path} is not allowed"
    if not isinstance(schema, Mapping):
        return None
    wanted = schema.get("type")
    kinds = [wanted] if isinstance(wanted, str) else wanted or []
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        return f"{path} is not of type {wanted}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{path} is not one of the allowed values"
    if "const" in schema and value != schema["const"]:
        return f"{path} is not the required value"
    size = len(value) if isinstance(value, (str, list)) else value
    low, high = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
    if not isinstance(value, (str, list)):
        low, high = "minimum", "maximum"
    if isinstance(size, (int, float)) and not isinstance(size, bool):
        if low in schema and size < schema[low]:
            return f"{path} is below {low} {schema[low]}"
        if high in schema and size > schema[high]:
            return f"{path} is above {high} {schema[high]}"
    if isinstance(value, list):
        return next(
            (p for i, v in enumerate(value) if (p := _schema_problem(schema.get("items"), v, f"{path}[{i}]"))), None
        )
    if isinstance(value, dict):
        missing = [name for name in schema.get("required", []) if name not in value]
        if missing:
            return f"{path} lacks {missing}"
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties")
        rows = ((known.get(k, rest), v, f"{path}.{k}") for k, v in value.items())
        return next((p for row in rows if (p := _schema_problem(*row))), None)
    return None


_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")


def _last_number(text: str) -> tuple[float, re.Match[str]] | None:
    found = None
    for found in _NUMBER.finditer(text):  # noqa: B007
        pass
    return (float(found.group(0).replace(",", "")), found) if found else None


@checker("number", "reference", "tolerance", "relative")
def number(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """The last number in the response is within a tolerance (absolute, or relative to the reference)."""
    tolerance, relative = float(settings.get("tolerance", 0.0)), float(settings.get("relative", 0.0))
    targets = [float(str(reference).replace(",", "")) for reference in _references(item, settings)]
    found = _last_number(text)
    if found is None:
        return _verdict(False, "no number")
    value, match = found
    for target in targets:
        allowed = max(tolerance, relative * abs(target))
        if abs(value - target) <= allowed:
            return _verdict(True, _span(text, *match.span()))
    return _verdict(False, f"{_span(text, *match.span())} is outside the tolerance")


@checker("unit", "unit")
def unit(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """The last number in the response is followed by this unit, written out or abbreviated as given."""
    wanted = settings["unit"]
    units = [str(u) for u in (wanted if isinstance(wanted, (list, tuple)) else [wanted])]
    found = _last_number(text)
    if found is None:
        return _verdict(False, "no number")
    after = text[found[1].end() :].lstrip(" ~\\,{}")
    for name in units:
        if after.startswith(name) and not re.match(r"\w|\^|/", after[len(name) : len(name) + 1] or " "):
            return _verdict(True, f"{found[1].group(0)} {name}")
    return _verdict(False, f"{found[1].group(0)} is followed by {after[:20]!r}")


@checker("contains_all", "terms", "ignore_case")
def contains_all(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """Share of the terms that occur as whole words."""
    terms = [str(term) for term in settings["terms"]]
    if not terms:
        raise ValueError("terms is empty; name at least one")
    flags = re.I if settings.get("ignore_case", True) else 0
    missing = [t for t in terms if not re.search(rf"(?<!\w){re.escape(t)}(?!\w)", text, flags)]
    return Check(1 - len(missing) / len(terms), f"missing: {missing}" if missing else "all terms occur")


@checker("length", "min", "max", "unit")
def length(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """The response has between ``min`` and ``max`` characters or words."""
    by = settings.get("unit", "characters")
    if by not in ("characters", "words"):
        raise ValueError(f"unit is {by!r}; use 'characters' or 'words'")
    size = len(text) if by == "characters" else len(text.split())
    low, high = settings.get("min", 0), settings.get("max", float("inf"))
    return _verdict(low <= size <= high, f"{size} {by}")


@checker("citation", "sources")
def citation(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """Share of citations like [2] or [smith] that name an existing source; none at all scores 0."""
    sources = settings.get("sources", item.metadata.get("sources"))
    if sources is None:
        raise ValueError("there are no sources; give the setting 'sources' or item.metadata['sources']")
    known = {str(s) for s in sources} | {str(i + 1) for i in range(len(sources)) if not isinstance(sources, Mapping)}
    cited = re.findall(r"\[([\w:.-]{1,40})\]", text)
    if not cited:
        return _verdict(False, "no citation")
    wrong = sorted({c for c in cited if c not in known})
    return Check(
        sum(c in known for c in cited) / len(cited), f"unknown: {wrong}" if wrong else f"{len(cited)} citations"
    )


_SCRIPTS = {
    "zh": r"[\u4e00-\u9fff]", "ja": r"[\u3040-\u30ff\u4e00-\u9fff]", "ko": r"[\uac00-\ud7af]", "ru": r"[\u0400-\u04ff]",
    "el": r"[\u0370-\u03ff]", "ar": r"[\u0600-\u06ff]", "he": r"[\u0590-\u05ff]", "th": r"[\u0e00-\u0e7f]",
    "hi": r"[\u0900-\u097f]", "latin": r"[A-Za-z\u00c0-\u024f]",
}  # fmt: skip


@checker("language", "language", "share")
def language(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """Most letters are of the script of a language; languages that share a script cannot be told apart."""
    wanted = settings["language"]
    pattern = _SCRIPTS.get(wanted)
    if pattern is None:
        return Check(None, f"{wanted!r} has no script of its own; known: {sorted(_SCRIPTS)}", RewardStatus.UNSUPPORTED)
    letters = [c for c in text if c.isalpha()]
    if not letters:
        return _verdict(False, "no letters")
    share = sum(bool(re.match(pattern, c)) for c in letters) / len(letters)
    return _verdict(share >= float(settings.get("share", 0.8)), f"{share:.0%} of the letters")


@checker("code_compiles", "language")
def code_compiles(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """The last fenced block (or the whole response) is syntactically valid Python. Nothing is run."""
    if settings.get("language", "python") != "python":
        return Check(None, "only Python can be parsed", RewardStatus.UNSUPPORTED)
    code = last_code(text)
    if len(code) > 200_000:
        return Check(None, "more than 200000 characters of code", RewardStatus.TRUNCATED_INPUT)
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _verdict(False, f"{type(error).__name__}: {error}"[:200])
    return _verdict(bool(code.strip()), "parses" if code.strip() else "no code")


@checker("tests_pass", "tests", "seconds")
def tests_pass(text: str, item: Item, settings: Mapping[str, Any]) -> Check:
    """Share of tests the last fenced block passes in the sandbox; tests come from the setting or item.metadata."""
    tests = settings.get("tests", item.metadata.get("tests"))
    if not isinstance(tests, list) or not tests or not all(isinstance(t, dict) for t in tests):
        raise ValueError("there are no tests; give the setting 'tests' or item.metadata['tests'], a list of objects")
    from .sandboxed import tests_pass as run

    return run(text, tests, float(settings.get("seconds", 10.0)))


def last_code(text: str) -> str:
    """The last fenced block of a response, else all of it."""
    blocks = re.findall(r"```[\w+-]*\n(.*?)```", text, re.S)
    return blocks[-1] if blocks else text
