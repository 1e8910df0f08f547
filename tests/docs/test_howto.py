"""The programs of the how-to and interoperation pages run, block after block, against a judge server."""

import re
from pathlib import Path

import pytest

import palaestra
from palaestra.judges.testing import judge_server

DOCS = Path(palaestra.__file__).parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in [*sorted((DOCS / "howto").glob("*.md")), DOCS / "interoperation.md", DOCS / "ideas.md"]
    if "```python" in page.read_text()
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_run(page):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    names = {}
    with judge_server() as url:
        for block in blocks:
            exec(compile(block.replace("http://127.0.0.1:8400", url), str(page), "exec"), names)
    if page.stem == "reward-group":
        assert names["rewards"] == {"a": 1.0, "b": 0.0, "c": 0.0}
        assert names["labels"]["a"] != names["labels"]["c"]
        assert names["advantages"]["a"] > 0 > names["advantages"]["b"]
