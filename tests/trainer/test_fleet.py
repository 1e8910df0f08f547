"""The division of GPUs, and that the manual's table is what the function says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from palaestra.trainer.fleet import Batch, Device, fleet
from palaestra.trainer.sizing import Shape

MODELS = {
    "Qwen3-0.6B": Shape(28, 1024, 16, 8, 128, 3072, 151936),
    "Qwen3-8B": Shape(36, 4096, 32, 8, 128, 12288, 151936, tied=False),
    "Qwen3-32B": Shape(64, 5120, 64, 8, 128, 25600, 151936, tied=False),
}
COUNTS = (1, 2, 8, 64, 256, 1024)


def row(name: str, devices: int) -> str:
    """A line of the manual's table."""
    found = fleet(MODELS[name], devices)
    if found is None:
        return f"| {name} | {devices:,} | does not fit | | | | | |"
    tokens = Batch().rows * Batch().completion / found.step
    return (
        f"| {name} | {devices:,} | {found.learners} + {found.samplers} | {found.learner_memory / 1e9:.0f} | "
        f"{found.rollout:.0f} | {found.train:.0f} | {found.transfer:.2f} | {tokens:,.0f} |"
    )


def test_the_manual_shows_what_the_model_says():
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    for name in MODELS:
        for devices in COUNTS:
            assert row(name, devices) in page, row(name, devices)


@pytest.mark.parametrize("name", MODELS)
def test_more_devices_are_never_slower_and_never_faster_than_their_number(name):
    found = {n: fleet(MODELS[name], n) for n in COUNTS}
    fitting = [n for n in COUNTS if found[n] is not None]
    assert fitting[-1] == 1024
    for few, many in pairwise(fitting):
        assert found[many].step <= found[few].step * 1.001
        if few > 1:  # one device alone does both in turn, on less memory
            assert found[few].step / found[many].step <= many / few * 2
        assert found[many].learners + found[many].samplers == many


def test_it_knows_what_does_not_fit_and_what_holds_it_back():
    small = replace(Device(), memory=24e9)
    assert fleet(MODELS["Qwen3-8B"], 1, device=small) is None
    assert fleet(MODELS["Qwen3-8B"], 64, device=small) is not None
    slow = fleet(MODELS["Qwen3-8B"], 64, device=replace(Device(), link=1e9))
    assert slow.step > fleet(MODELS["Qwen3-8B"], 64).step
