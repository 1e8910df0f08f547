"""From a judge's text to a checked verdict. What cannot be read is an error; nothing is guessed and nothing clamped."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PARSER_VERSION = 1
MAX_SCAN = 200_000  # characters from the end of a reply that are looked at
MAX_OBJECTS = 2_000

_ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_THINK = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.S | re.I)
_THINK_OPEN = re.compile(r"<(think|thinking|reasoning)>", re.I)
_FRACTION = re.compile(r"^\s*([+-]?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*$")


class ParseError(ValueError):
    """The verdict is missing, malformed or outside what was offered."""


@dataclass(frozen=True)
class Slot:
    """One value of a verdict: a number within bounds, a choice from a menu, or a list of label lists."""

    name: str
    kind: Literal["number", "choice", "clusters"]
    low: float = 0.0
    high: float = 1.0
    menu: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Shape:
    """What a verdict looks like: the slots on top level, and those under ``scores``."""

    name: str
    slots: tuple[Slot, ...] = ()
    scores: tuple[Slot, ...] = ()
    labels: tuple[str, ...] = field(default=())

    def json_schema(self) -> dict[str, Any]:
        """The response format for servers that enforce one; the reasoning comes before the verdict."""
        properties: dict[str, Any] = {"reasoning": {"type": "string"}}
        if self.scores:
            inner = {s.name: _slot_schema(s, self.labels) for s in self.scores}
            properties["scores"] = {
                "type": "object", "properties": inner, "required": list(inner), "additionalProperties": False,
            }  # fmt: skip
        properties |= {s.name: _slot_schema(s, self.labels) for s in self.slots}
        schema = {
            "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
        }  # fmt: skip
        return {
            "type": "json_schema",
            "json_schema": {"name": f"palaestra_{self.name}", "strict": True, "schema": schema},
        }

    def describe(self) -> str:
        """The same in words, for every server: the object a judge has to end with."""
        parts = ['"reasoning": <what you found, briefly>']
        if self.scores:
            parts.append(
                '"scores": {' + ", ".join(f"{json.dumps(s.name)}: {_slot_words(s)}" for s in self.scores) + "}"
            )
        parts += [f"{json.dumps(s.name)}: {_slot_words(s)}" for s in self.slots]
        return "{" + ", ".join(parts) + "}"

    def read(self, text: str, data: Sequence[str] = ()) -> dict[str, Any]:
        """The last verdict in a text, checked against the slots.

        Args:
            text: the judge's reply.
            data: the judged texts; an object copied from one of them is an echo and not a verdict.

        Returns:
            Slot names to values; score slots under ``"scores"``; ``"reasoning"`` when given.

        Raises:
            ParseError: naming what is wrong.
        """
        candidates = json_objects(strip_reasoning(text.translate(_ZERO_WIDTH)))
        names = {s.name for s in self.slots} | ({"scores"} if self.scores else set())
        verdicts = [c for c in candidates if names & c.keys()]
        if verdicts and data:
            echoes = [o for d in data for o in json_objects(d.translate(_ZERO_WIDTH)) if names & o.keys()]
            verdicts = [v for v in verdicts if v not in echoes]
        if not verdicts:
            raise ParseError(f"no JSON object with {sorted(names)} in the judge's reply")
        return self._check(verdicts[-1])

    def _check(self, verdict: dict[str, Any]) -> dict[str, Any]:
        read: dict[str, Any] = {}
        if isinstance(verdict.get("reasoning"), str):
            read["reasoning"] = verdict["reasoning"]
        if self.scores:
            inner = verdict.get("scores")
            if not isinstance(inner, dict):
                raise ParseError(f"scores is {type(inner).__name__}, not an object")
            unknown = sorted(set(inner) - {s.name for s in self.scores})
            if unknown:
                raise ParseError(f"scores has names that were not asked for: {unknown[:5]}")
            read["scores"] = {s.name: _read_slot(s, inner, self.labels) for s in self.scores}
        for slot in self.slots:
            if slot.optional and verdict.get(slot.name) is None:
                continue
            read[slot.name] = _read_slot(slot, verdict, self.labels)
        return read


def _slot_schema(slot: Slot, labels: Sequence[str]) -> dict[str, Any]:
    if slot.kind == "number":
        return {"type": "number", "minimum": slot.low, "maximum": slot.high}
    if slot.kind == "choice":
        return {"type": "string", "enum": list(slot.menu)}
    return {"type": "array", "items": {"type": "array", "items": {"type": "string", "enum": list(labels)}}}


def _slot_words(slot: Slot) -> str:
    if slot.kind == "number":
        return f"<number from {slot.low:g} to {slot.high:g}>"
    if slot.kind == "choice":
        return f"<one of {json.dumps(list(slot.menu))}>"
    return "<list of lists of labels; every label exactly once>"


def _read_slot(slot: Slot, verdict: dict[str, Any], labels: Sequence[str]) -> Any:
    if slot.name not in verdict:
        raise ParseError(f"{slot.name!r} is missing")
    value = verdict[slot.name]
    if slot.kind == "number":
        return read_number(value, slot.low, slot.high, slot.name)
    if slot.kind == "choice":
        return read_choice(value, slot.menu, slot.name)
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise ParseError(f"{slot.name!r} is not a list of lists")
    return [[str(label).strip() for label in row] for row in value]


def read_number(value: Any, low: float, high: float, name: str = "score") -> float:
    """A number within bounds from a number, "7", "7.5", or "8/10" when 10 is the top of the scale.

    Raises:
        ParseError: for words, decimal commas ("8,5" may mean 8.5 or a list), booleans, NaN, and values out of range.
    """
    if isinstance(value, bool) or value is None:
        raise ParseError(f"{name!r} is {value!r}, not a number")
    if isinstance(value, str):
        fraction = _FRACTION.match(value)
        if fraction:
            if float(fraction[2]) != high:
                raise ParseError(f"{name!r} is {value[:40]!r}, out of {fraction[2]} instead of {high:g}")
            value = fraction[1]
        try:
            value = float(value.strip())
        except ValueError:
            raise ParseError(f"{name!r} is {value[:40]!r}, not a number") from None
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ParseError(f"{name!r} is {str(value)[:40]!r}, not a finite number")
    if not low <= value <= high:
        raise ParseError(f"{name!r} is {value:g}, outside {low:g} to {high:g}")
    return float(value)


def read_choice(value: Any, menu: Sequence[str], name: str = "verdict") -> str:
    """A menu entry, compared whole and without case: "INCORRECT" is not "CORRECT", "not correct" is neither."""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise ParseError(f"{name!r} is {str(value)[:40]!r}, not one of {list(menu)}")
    wanted = str(value).translate(_ZERO_WIDTH).strip().strip("\"'*`.[]").strip().casefold()
    for entry in menu:
        if wanted == entry.casefold():
            return entry
    raise ParseError(f"{name!r} is {str(value)[:40]!r}, not one of {list(menu)}")


def strip_reasoning(text: str) -> str:
    """Text without its thinking block. One that is never closed hides everything after it: there is no verdict then."""
    text = _THINK.sub(" ", text)
    unclosed = _THINK_OPEN.search(text)
    return text[: unclosed.start()] if unclosed else text


def json_objects(text: str) -> list[dict[str, Any]]:
    """All top-level JSON objects in a text in order, whatever stands around them (prose, fences)."""
    text = text[-MAX_SCAN:]
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    position = text.find("{")
    attempts = 0
    while position != -1 and attempts < MAX_OBJECTS:  # bounds the work on a wall of open braces
        attempts += 1
        try:
            value, end = decoder.raw_decode(text, position)
            if isinstance(value, dict):
                found.append(value)
        except (ValueError, RecursionError):
            end = position + 1
        position = text.find("{", end)
    return found


def last_label(text: str, menu: Sequence[str]) -> str:
    """The last whole-word menu entry announced in free text ("Grade: C", "Verdict: same"), last one winning.

    Raises:
        ParseError: when none is announced, or the entry is negated or part of a longer word.
    """
    text = strip_reasoning(text.translate(_ZERO_WIDTH))
    pattern = r"(?im)(?<![\w-])(?:grade|verdict|label|answer|winner)\s*(?:is)?\s*[:=]\s*[\"'*`\[]*\s*([^\n\"'*`\].,;]+)"
    announced = re.findall(pattern, text)
    if not announced:
        stripped = text.strip()
        announced = stripped.splitlines()[-1:] if stripped else []
    if not announced:
        raise ParseError("the judge's reply has no verdict")
    return read_choice(announced[-1], menu)
