"""The labelled reference cases, read once."""

import csv
import json
from pathlib import Path

import pytest

CASES = Path(__file__).parents[2] / "data" / "math_cases.csv"


@pytest.fixture(scope="session")
def cases():
    """Rows of the reference file with their predictions written out."""
    with open(CASES, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["encoding"] == "rle":
            row["prediction"] = "".join(piece * count for piece, count in json.loads(row["prediction"]))
    return rows
