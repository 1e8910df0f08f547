"""Sandboxes shared by the tests: one per level, made once."""

from __future__ import annotations

import pytest

from palaestra.sandbox import LocalSandbox, SandboxUnavailable


def _open(level: str) -> LocalSandbox:
    try:
        return LocalSandbox(slots=2, level=level, retry_starved=False)
    except SandboxUnavailable as error:
        pytest.skip(f"level {level} is not available here: {error}")


@pytest.fixture(scope="session")
def confined():
    """Level C."""
    with _open("C") as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def isolated():
    """Level I."""
    with _open("I") as sandbox:
        yield sandbox


@pytest.fixture(params=["C", "I"])
def sandbox(request):
    """Each level in turn."""
    return request.getfixturevalue("confined" if request.param == "C" else "isolated")
