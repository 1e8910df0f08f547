"""Labelled answers for a maths verifier: a CSV file of whole responses, or a text file that is quick to write by hand.

The text format, line by line:

    [category]        the name under which the following cases are counted
    = gold            the reference answer of the following cases
    + answer          an answer that is right, put into a box behind a sentence
    - answer          an answer that is wrong
    +> response       a whole response that is right; ``\\n`` stands for a line break
    -> response       a whole response that is wrong

A question mark behind the sign (``+?``) marks a judgement call: a convention decides, not mathematics.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
REFERENCE = DATA / "math_cases.csv"
FURTHER = DATA / "math_more.txt"
_LINE = re.compile(r"([-+])(\??)(>?) ?(.*)")


@dataclass(frozen=True)
class Case:
    """One labelled response; ``policy`` says that a convention decides about it."""

    id: str
    category: str
    gold: str
    response: str
    expected: bool
    policy: bool


def load(path: Path) -> Iterator[Case]:
    """The cases of a file.

    Raises:
        ValueError: a line of a text file has no sign; the message names it.
    """
    yield from _csv(path) if path.suffix == ".csv" else _text(path)


def _csv(path: Path) -> Iterator[Case]:
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            response = row["prediction"]
            if row["encoding"] == "rle":
                response = "".join(piece * count for piece, count in json.loads(response))
            yield Case(row["id"], row["category"], row["gold"], response, row["expected"] == "1", row["policy"] == "1")


def _text(path: Path) -> Iterator[Case]:
    category = gold = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(\w+)\]", line):
            category = match[1]
        elif line.startswith("= "):
            gold = line[2:]
        elif match := _LINE.fullmatch(line):
            sign, doubt, whole, text = match.groups()
            response = text.replace("\\n", "\n") if whole else f"Therefore the final answer is $\\boxed{{{text}}}$."
            yield Case(f"{path.stem}:{number}", category, gold, response, sign == "+", bool(doubt))
        else:
            raise ValueError(f"{path}:{number}: {line!r} begins with none of '=', '+', '-', '[', '#'")
