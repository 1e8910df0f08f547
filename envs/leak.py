"""The leak test: no feedback tells the answer, an equal form of it, or another secret of the task.

Only feedback is tested, not the turns: a game may say "higher" when that is the game. A value that also stands in the
prompt or in the attempt is no leak, nor is a text that the same attempt draws on tasks with other answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .core import TextEnv

JUNK = "asdf ((( \\boxed{ %%% 🙂"
_NUMBER = re.compile(r"\\boxed\{[^{}]{1,100}\}|(?<![\w.])-?\d+(?:[.,/]\d+)*%?")

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Leak:
    """One feedback text that tells a secret."""

    seed: int
    attempt: str
    feedback: str
    secret: str


def leak_test(make_env: Callable[[], TextEnv], seeds: Iterable[int], max_turns: int = 50) -> list[Leak]:
    """Play empty, junk, wrong and nearly right attempts and look for secrets in the feedback.

    Args:
        make_env: makes the environment.
        seeds: tasks to try.
        max_turns: replies after which an attempt is given up.

    Returns:
        The leaks; none is what every environment must show.
    """
    env = make_env()
    suspects: list[Leak] = []
    told: dict[tuple[str, str], set[str]] = {}
    for seed in seeds:
        env.reset(seed=seed)
        secrets = env.secrets() or said_by_oracle(env)
        for name, attempt in attempts(env).items():
            env.reset(seed=seed)
            texts = list(dict.fromkeys(_feedback(env, attempt, max_turns)))
            public = "\n".join([attempt, *(str(m["content"]) for m in env.messages)])
            for text in texts:
                told.setdefault((name, text), set()).add(repr(secrets))
                suspects += [
                    Leak(seed, attempt, text, str(secret)) for secret in secrets if tells(text, secret, public)
                ]
    env.close()
    return [leak for leak in suspects if not _common(leak, told)]


_INNER = re.compile(
    r"<answer>(.*?)</answer>|\\boxed\{(.*)\}|\"output\":\s*\"(.*)\"|\w+\[(.*)\]\s*$|\"arguments\":\s*\{([^{}]*)\}",
    re.DOTALL,
)


def said_by_oracle(env: TextEnv) -> list[str]:
    """The last right reply and what it holds: the secret of a task whose answer is a checker or stays in a generator.

    Played on a fork, so that the environment stays where it is. Empty when there is no oracle.
    """
    twin, last = env.fork(), ""
    try:
        for action in islice(twin.oracle(), 100):
            last = action
            _, _, terminated, truncated, _ = twin.step(action)
            if terminated or truncated:
                break
    except NotImplementedError:
        return []
    finally:
        twin.close()
    inner = [part for match in _INNER.finditer(last) for part in match.groups() if part]
    return [text for text in (last.strip(), *inner) if text]


# Replies that do not depend on the task, one for each way in which environments read answers.
FIXED = (
    "", JUNK, "7", "123456789", "abcdefghijkl", "\\boxed{12}", "<answer>5</answer>", "<answer>1+2</answer>",
    '{"output": "abab"}', "```python\ndef solve(*a):\n    return a[0]\n```", "```text\n[1, 2]\n```",
)  # fmt: skip


def feedback_bits(make_env: Callable[[], TextEnv], seeds: Iterable[int]) -> tuple[float, str]:
    """How much one reply can learn from feedback in an environment of one turn: no oracle by many tries.

    A reply that does not depend on the task is given to many tasks. What differs in the feedback then tells about the
    task: the prompt, which is known (its words are masked), or the answer, which is not.

    Args:
        make_env: makes the environment.
        seeds: tasks to try.

    Returns:
        Log2 of the most texts that one reply drew, and that reply.
    """
    env = make_env()
    seeds, worst, which = list(seeds), 0.0, ""
    for reply in FIXED:
        plain, masked = set(), set()
        for seed in seeds:
            env.reset(seed=seed)
            known = {word.casefold() for m in env.messages for word in _WORD.findall(f"{m['content']} {reply}")}
            info = env.step(reply)[4]
            plain.add(tuple(item.text for item in info["feedback"]))
            masked.add(tuple(_masked(item.text, known) for item in info["feedback"]))
        bits = math.log2(min(len(plain), len(masked)))  # masking itself may tell texts apart
        if bits > worst:
            worst, which = bits, reply
    env.close()
    return worst, which


def _masked(text: str, known: set[str]) -> str:
    """``text`` with every word that is known blanked out."""
    return _WORD.sub(lambda match: "·" if match[0].casefold() in known else match[0], text)


def attempts(env: TextEnv) -> dict[str, str]:
    """Replies to try on the current task, by kind."""
    tried = {"empty": "", "junk": JUNK, "wrong": "\\boxed{123456789}", "plain wrong": "<answer>zzz</answer>"}
    try:
        right = next(iter(env.oracle()))
    except (NotImplementedError, StopIteration):
        return tried
    digits = list(re.finditer(r"\d", right))
    if digits:
        last = digits[-1]
        changed = str((int(last[0]) + 1) % 10)
        tried["near miss"] = right[: last.start()] + changed + right[last.end() :]
    tried["cut off"] = right[:-1]
    tried["reversed"] = right[::-1]
    return tried


def tells(text: str, secret: Any, public: str) -> bool:
    """Whether ``text`` contains ``secret`` or, for a number, an equal form of it, and ``public`` does not."""
    written = str(secret).strip()
    if not written:
        return False
    # The feedback first: it is short, while a transcript may be long.
    if _occurs(written, text):
        return not _occurs(written, public)
    if isinstance(secret, str) and not _NUMBER.fullmatch(written):
        return False
    shown = {match[0] for match in _NUMBER.finditer(text)}
    if shown:
        shown -= {match[0] for match in _NUMBER.finditer(public)}
    if not shown or _occurs(written, public):
        return False
    from .verify import verify

    boxed = (form if form.startswith("\\boxed") else f"\\boxed{{{form}}}" for form in shown)
    return any(verify(written, form).ok for form in boxed)


def _occurs(needle: str, text: str) -> bool:
    """Whether ``needle`` stands in ``text`` as a whole word."""
    return re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", text, re.IGNORECASE) is not None


def _feedback(env: TextEnv, attempt: str, max_turns: int) -> Iterable[str]:
    for _ in range(max_turns):
        _, _, terminated, truncated, info = env.step(attempt)
        yield from (item.text for item in info["feedback"])
        if terminated or truncated:
            return


def _common(leak: Leak, told: dict[tuple[str, str], set[str]]) -> bool:
    """Whether the same kind of attempt drew the same text on tasks with other secrets, so that it tells nothing."""
    return any(len(golds) > 1 for (_, text), golds in told.items() if text == leak.feedback)
