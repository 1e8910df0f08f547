"""slime's own ``remote_rm``, from a copy of its slime/rollout/rm_hub/__init__.py (slime is not on PyPI)."""

import asyncio
import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import httpx
import pytest

VARIABLE = "PALAESTRA_SLIME_RM_HUB"


class Anything(ModuleType):
    """Stands in for slime's other modules, which `remote_rm` does not use."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return object


@pytest.fixture
def remote_rm(load_file, monkeypatch):
    path = os.environ.get(VARIABLE)
    if not path:
        pytest.skip(f"set {VARIABLE} to slime/rollout/rm_hub/__init__.py of a checkout of slime")
    pytest.importorskip("aiohttp")
    package = Anything("slime_rm_hub")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "slime_rm_hub", package)
    for name in re.findall(r"^from (\S+) import", Path(path).read_text(), re.MULTILINE):
        full = f"slime_rm_hub{name}" if name.startswith(".") else name
        monkeypatch.setitem(sys.modules, full, Anything(full))
    return load_file(Path(path), "slime_rm_hub.client").remote_rm


def test_rewards_are_bare_numbers(remote_rm, exact_judge):
    async def run():
        options = SimpleNamespace(rm_url=f"{exact_judge}/slime")
        samples = [SimpleNamespace(prompt="2+2?", response=text, label="4") for text in ("4", "5")]
        return [await remote_rm(options, sample, max_retries=1) for sample in samples]

    assert asyncio.run(run()) == [1.0, 0.0]


def test_the_same_exchange_without_their_code(exact_judge):
    """What their client sends and reads, for where no checkout is at hand."""
    reply = httpx.post(f"{exact_judge}/slime", json={"prompt": "2+2?", "response": "4", "label": "4"})
    assert reply.headers["content-type"].startswith("application/json") and reply.json() == 1.0
