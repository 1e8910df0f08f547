"""Worked numbers by id."""

import json
from pathlib import Path

import pytest

ORACLES = {item["id"]: item for item in json.loads(Path("tests/data/oracles.json").read_text(encoding="utf-8"))}


@pytest.fixture(scope="session")
def oracle():
    """oracle(id) -> (inputs, expected, tolerance)."""

    def find(name):
        item = ORACLES[name]
        return item["inputs"], item["expected"], max(item["tolerance"], 1e-9)

    return find
