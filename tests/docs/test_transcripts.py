"""The transcripts in the manual are what happens when the same replies are given to the same seeds."""

from pathlib import Path

import pytest

import palaestra
from palaestra.envs.transcript import blocks, transcript

PAGES = sorted((Path(palaestra.__file__).parent / "docs" / "environments").glob("*.md"))
EPISODES = [(page.stem, episode, shown) for page in PAGES for episode, shown in blocks(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "episode", "shown"), EPISODES, ids=[f"{p}-{e['env']}" for p, e, _ in EPISODES])
def test_a_transcript_is_what_happens(page, episode, shown):
    if episode["env"] == "palaestra/Code-v0":
        from palaestra.envs.code.grading import shared_sandbox
        from palaestra.sandbox import SandboxError

        try:
            shared_sandbox()
        except SandboxError as error:
            pytest.skip(f"no sandbox here: {error}")
    if episode["env"] == "palaestra/ReasoningGym-v0":
        pytest.importorskip("reasoning_gym")
    assert transcript(**episode) == shown


def test_every_environment_has_a_page():
    from palaestra.envs.builtin import BUILTIN

    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert {id for id in BUILTIN if f"`{id}`" not in text and f"# {id}" not in text} == set()
