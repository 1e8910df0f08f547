"""The labelled cases, read once."""

import csv
import importlib.util
import json
import sys
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


@pytest.fixture(scope="session")
def further_cases():
    """The cases of the text files, read by the benchmark's loader."""
    path = Path(__file__).parents[3] / "benchmarks" / "math_cases.py"
    spec = importlib.util.spec_from_file_location("math_case_files", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [case for name in ("math_more.txt", "math_rules.txt") for case in module.load(module.DATA / name)]
