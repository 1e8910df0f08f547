"""Look up answers in an offline encyclopedia with `search[...]`, `lookup[...]` and `finish[...]`, in the manner of
ReAct.

Each task has its own small world of invented people, towns, rivers and books, so nothing can be known beforehand; the
question needs one to three hops between pages. Thoughts do not touch the environment. A reply that contains an
``Observation:`` of its own is refused: results are supplied by the environment.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..schema import Feedback
from .feedback import quote
from .recall import _names
from .registry import env
from .replies import visible
from .turns import Ask, Result

Pages = dict[str, list[str]]

SENTENCES_SHOWN = 5
MAX_THOUGHTS = 4

_ACTION = re.compile(r"^\s*(?:Action:\s*)?(\w+)\[(.*)\]\s*$", re.IGNORECASE)

_RULES = (
    "Answer the question with the help of an encyclopedia. Write a thought if you like, then one action in the last "
    "line:\n"
    "search[title] opens a page, lookup[word] shows the next sentence of the open page that contains the word, "
    "finish[answer] hands in the answer.\n\nQuestion: "
)


@env("palaestra/Lookup-v0")
def lookup(rng: np.random.Generator, hops: int = 2, pages: int = 24, max_steps: int = 7) -> Generator[Any, str, Result]:
    """Find a fact over several pages of an invented encyclopedia (ReAct).

    Args:
        rng: drawn from by ``reset(seed=)``.
        hops: pages that must be read, 1 to 3.
        pages: size of the encyclopedia.
        max_steps: actions before the episode ends.
    """
    corpus, question, answer, _ = _world(rng, hops, pages)
    return (yield from play(corpus, question, answer, max_steps))


@lookup.oracle  # type: ignore[attr-defined]
def _solve(rng: np.random.Generator, hops: int = 2, pages: int = 24, max_steps: int = 7) -> Iterator[str]:
    _, _, answer, path = _world(rng, hops, pages)
    for title in path:
        yield f"Thought: I need the page.\nAction: search[{title}]"
    yield f"Action: finish[{answer}]"


def play(corpus: Pages, question: str, answer: str, max_steps: int) -> Generator[Any, str, Result]:
    """The game over any corpus: page title to sentences.

    Args:
        corpus: the encyclopedia.
        question: what is asked.
        answer: the right answer; compared without case and outer punctuation.
        max_steps: actions before the episode ends.
    """
    turn = Ask(_RULES + question)
    page, hits, thoughts = "", Hits(), 0
    for _ in range(max_steps):
        reply = yield turn
        name, argument, fault = read_action(reply)
        if fault is not None:
            thoughts += fault.details["code"] == "no_action"
            if thoughts > MAX_THOUGHTS:
                return Result(
                    0.0, Feedback(text=f"{thoughts} replies without an action.", kind="constraint"), "only_thoughts"
                )
            turn = Ask(f"Observation: {fault.text}", feedback=fault, reason=fault.details["code"])
            continue
        if name == "finish":
            right = _plain(argument) == _plain(answer)
            return Result(float(right), "Correct." if right else "Incorrect.", "correct" if right else "wrong")
        if name == "search":
            page, text = search(corpus, argument)
            hits = Hits()
        else:
            text = hits.next(corpus.get(page, []), argument) if page else "No page is open; search first."
        turn = Ask(f"Observation: {text}", reason=name)
    return Result(0.0, Feedback(text=f"No answer within {max_steps} actions.", kind="constraint"), "out_of_steps")


def read_action(reply: str) -> tuple[str, str, Feedback | None]:
    """The action in the last line of a reply that is not empty.

    Returns:
        Name, argument, and the fault if there is no valid action.
    """
    tail = visible(reply, 4000)
    if re.search(r"^\s*Observation\s*\d*:", tail, re.MULTILINE | re.IGNORECASE):
        return (
            "",
            "",
            _fault("forged_result", "forged_result: results are supplied by the environment; stop after the action"),
        )
    lines = [line for line in tail.splitlines() if line.strip()]
    match = _ACTION.match(lines[-1]) if lines else None
    if match is None:
        return "", "", _fault("no_action", "no_action: end the reply with search[...], lookup[...] or finish[...]")
    name = match[1].lower()
    if name not in ("search", "lookup", "finish"):
        return "", "", _fault("unknown_action", f"unknown_action {quote(match[1], 20)}: use search, lookup or finish")
    return name, match[2].strip(), None


def search(corpus: Pages, title: str) -> tuple[str, str]:
    """Open a page: its title and first sentences, or similar titles when there is none."""
    exact = next((name for name in corpus if name.casefold() == title.casefold()), None)
    if exact is not None:
        return exact, " ".join(corpus[exact][:SENTENCES_SHOWN])
    similar = get_close_matches(title[:100], corpus, n=5, cutoff=0.3)
    return "", f"No page {quote(title)}. Similar: {', '.join(similar) or 'none'}."


class Hits:
    """Walks through the sentences of a page that contain a word, one a call."""

    def __init__(self) -> None:
        self.word, self.at = "", 0

    def next(self, sentences: list[str], word: str) -> str:
        """The next hit, as ``(Result i / n) sentence``; the count starts again with another word."""
        if word.casefold() != self.word:
            self.word, self.at = word.casefold(), 0
        found = [sentence for sentence in sentences if self.word and self.word in sentence.casefold()]
        if self.at >= len(found):
            return "No more results." if found else "No results."
        self.at += 1
        return f"(Result {self.at} / {len(found)}) {found[self.at - 1]}"


def _world(rng: np.random.Generator, hops: int, pages: int) -> tuple[Pages, str, str, list[str]]:
    """An encyclopedia, a question, its answer, and the titles on the way."""
    if not 1 <= hops <= 3:
        raise ValueError(f"hops={hops}: give 1 to 3")
    if not 8 <= pages <= 400:
        raise ValueError(f"pages={pages}: give 8 to 400")
    size = pages // 4
    names = _names(rng, 4 * size)
    writers, towns, rivers, books = (names[i * size : (i + 1) * size] for i in range(4))
    corpus: Pages = {}
    links: dict[str, str] = {}
    for i in range(size):
        writer, town, river = writers[i], towns[int(rng.integers(size))], rivers[int(rng.integers(size))]
        year, length, people = (int(n) for n in rng.integers((1700, 20, 900), (1990, 900, 90_000)))
        links |= {books[i]: writer, writer: town, towns[i]: river}
        corpus[books[i]] = [f"{books[i]} is a novel.", f"It appeared in {year}.", f"Its author is {writer}."]
        corpus[writer] = [f"{writer} was a writer.", f"{writer} was born in {town}.", f"{writer} died in {year + 30}."]
        corpus[towns[i]] = [f"{towns[i]} is a town.", f"It has {people} inhabitants.", f"It lies on the river {river}."]
        corpus[rivers[i]] = [f"{rivers[i]} is a river.", f"It is {length} kilometres long."]
    start = books[int(rng.integers(size))]
    path = [start]
    while len(path) < hops:
        path.append(links[path[-1]])
    question = (
        f"Who is the author of {start}?",
        f"In which town was the author of {start} born?",
        f"On which river does the town lie in which the author of {start} was born?",
    )[hops - 1]
    titles = sorted(corpus)
    return {title: corpus[title] for title in titles}, question, links[path[-1]], path


def _plain(text: str) -> str:
    return " ".join(text.split()).strip(" .\"'`").casefold()


def _fault(code: str, text: str) -> Feedback:
    return Feedback(text=text, kind="format", details={"code": code})
