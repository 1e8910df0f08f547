"""Code blocks of assistant messages."""

from __future__ import annotations

import pytest

from palaestra.rlm import Limits, Reply, Status
from palaestra.rlm.fences import find_blocks

CASES = {
    "python": ("```python\na\n```", ["a"]),
    "repl": ("```repl\na\nb\n```", ["a\nb"]),
    "py alias": ("```py\na\n```", ["a"]),
    "other language": ("```json\n{}\n```", []),
    "no language": ("```\na\n```", []),
    "crlf": ("```repl\r\na\r\nb\r\n```\r\n", ["a\nb"]),
    "indented": ("  ```repl\n  if a:\n      b\n  ```", ["if a:\n    b"]),
    "indented four is text": ("    ```repl\n    a\n    ```", []),
    "longer fence": ("````repl\nx = '''\n```\n'''\n````", ["x = '''\n```\n'''"]),
    "empty block": ("```repl\n```", [""]),
    "prose between": ("one\n```repl\na\n```\ntwo\n```repl\nb\n```\n", ["a", "b"]),
    "tildes are no code": ("~~~repl\na\n~~~", []),
    "block inside tildes": ("~~~\n```repl\na\n```\n~~~", []),
    "stray tildes": ("~~~\n```repl\na\n```", ["a"]),
    "fence in a string": (
        "```repl\ns = '''\n```\ninner\n```\n'''\nprint(s)\n```\nafter",
        ["s = '''\n```\ninner\n```\n'''\nprint(s)"],
    ),
    "block in a block of another language": ("```text\n```repl\na\n```", []),
    "inline ticks": ("use ```a``` or `b`", []),
    "info string": ("```repl title=x\na\n```", ["a"]),
    "upper case": ("```REPL\na\n```", ["a"]),
    "broken code ends at its fence": ("```repl\nx = (\n```\nand it's\n```repl\nb\n```", ["x = (", "b"]),
    "closing fence with indent": ("```repl\na\n   ```\nrest", ["a"]),
    "unterminated": ("```repl\na", ["a"]),
}


@pytest.mark.parametrize("text,codes", CASES.values(), ids=CASES)
def test_table(text, codes):
    assert [block.code for block in find_blocks(text)] == codes


def test_unterminated_is_marked():
    assert [b.closed for b in find_blocks("```repl\na\n```\n```repl\nb")] == [True, False]


@pytest.mark.parametrize(
    "text", ["```repl\n" * 20_000, "`" * 1_000_000, "```repl\n'''\n" + "```\n" * 50_000, "~~~\n" * 50_000]
)
def test_hostile_texts_are_quick(text):
    import time

    began = time.monotonic()
    find_blocks(text)
    assert time.monotonic() - began < 10


def test_cut_off_block_is_not_run(play):
    replies = [Reply("```repl\nllm('never')", "length"), Reply("```repl\nsubmit('fine')\n```")]
    result = play(lambda messages, tags: replies[tags["turn"]])
    assert result.answer == "fine" and result.usage.total.calls == 2
    assert "cut off" in result.trace.root.messages[3]["content"]


def test_unterminated_block_of_a_finished_reply_runs(play):
    result = play(lambda messages, tags: Reply("```repl\nsubmit('fine')", "stop"), limits=Limits(max_turns=1))
    assert result.status is Status.ANSWERED
