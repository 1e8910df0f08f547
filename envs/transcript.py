"""Transcripts as text, and as parts of Markdown pages that can be checked: what the manual shows is what happens.

A page holds a comment with the episode and, after it, the block that the episode renders to:

    <!-- transcript {"env": "palaestra/Sort-v0", "seed": 1, "replies": ["0123"]} -->
    ```text
    ...
    ```

``python -m palaestra.envs.transcript PAGE.md ...`` writes the blocks anew; a test compares them.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .registry import make

WIDTH, MARGIN = 118, 12
SHOWN = 1500

_BLOCK = re.compile(r"<!-- transcript (\{.*?\}) -->\n\n?````?text\n(.*?)^````?$", re.DOTALL | re.MULTILINE)


def transcript(
    env: str, replies: Sequence[str], seed: int = 0, knobs: Mapping[str, Any] | None = None, shown: int = SHOWN
) -> str:
    """Play an episode and write down what was said.

    Args:
        env: a registered id.
        replies: what the policy says, in turn; those after the end are left out.
        seed: names the task.
        knobs: difficulty knobs and settings.
        shown: longer messages are cut here.

    Example:
        >>> print(transcript("palaestra/Sort-v0", ["123"], 0, {"digits": 3}))
        user>       865
        assistant>  123
        feedback>   The reply does not have the digits of the prompt. (constraint)
        reward 0.0, finished, reason wrong_digits
    """
    world = make(env, **(knobs or {}))
    try:
        observation, info = world.reset(seed=seed)
        lines = [_said(m["role"], _content(m), shown) for m in observation]
        for reply in replies:
            lines.append(_said("assistant", reply, shown))
            observation, reward, terminated, truncated, info = world.step(reply)
            lines += [_said(m["role"], _content(m), shown) for m in observation]
            if terminated or truncated or reward:
                lines += [_said("feedback", f"{item.text} ({item.kind})", shown) for item in info["feedback"]]
                ending = f", {info['stop_reason']}" if terminated or truncated else ""
                lines.append(f"reward {reward}{ending}, reason {info['reason']}")
            if terminated or truncated:
                break
    finally:
        world.close()
    return "\n".join(lines)


def blocks(page: str) -> list[tuple[dict[str, Any], str]]:
    """The episodes of a page and the blocks that stand there for them."""
    return [(json.loads(match[1]), match[2].rstrip("\n")) for match in _BLOCK.finditer(page)]


def renewed(page: str) -> str:
    """The page with every block played anew."""

    def again(match: re.Match[str]) -> str:
        episode = json.loads(match[1])
        return f"<!-- transcript {match[1]} -->\n````text\n{transcript(**episode)}\n````"

    return _BLOCK.sub(again, page)


def _content(message: Mapping[str, Any]) -> str:
    return str(message["content"])


def _said(who: str, text: str, shown: int) -> str:
    """One message with its speaker in the margin."""
    text = text if len(text) <= shown else text[:shown] + " […]"
    lines: list[str] = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip(" "))]
        lines += textwrap.wrap(line, WIDTH - MARGIN, subsequent_indent=indent, break_on_hyphens=False) or [""]
    body = f"\n{' ' * MARGIN}".join(lines)
    return "\n".join(line.rstrip() for line in f"{who + '>':{MARGIN}}{body}".split("\n"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
