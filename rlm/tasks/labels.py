"""Label tiers: how visible the hidden class of a record is. The tier, not the length, decides what must be read.

T0  the label is printed                            code alone is enough
T1  one of K keyword templates of the class         code with the right word list is enough
T2  two classes are named, the sentence decides     a keyword count is fooled
T3  first docstring sentence of a library function  real English, with the noise that implies; the label is its
                                                    package, its kind, or whether the body raises an exception

T0 to T2 can be solved by a perfect parser: they train the use of the REPL, batching and aggregation, not semantics.
"""

# ruff: noqa: E501, SIM905 - word banks read better as text
from __future__ import annotations

import ast
import math
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

from .base import Rng

_Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
TIERS = ("T0", "T1", "T2", "T3")

KEYWORDS: dict[str, tuple[str, ...]] = {
    "weather": tuple("drizzle thunder frost humidity snowfall breeze hail fog sunshine blizzard monsoon overcast".split()),
    "cooking": tuple("saucepan oregano dough simmering marinade whisk casserole garlic batter roasting broth pastry".split()),
    "travel": tuple("passport luggage itinerary hostel boarding sightseeing customs layover voyage visa excursion souvenir".split()),
    "finance": tuple("mortgage dividend invoice ledger interest pension audit loan budget tariff savings inflation".split()),
    "medicine": tuple("vaccine bandage diagnosis surgery pharmacy fever prescription clinic antibiotic therapy dosage symptom".split()),
    "sport": tuple("goalkeeper marathon racket referee sprint stadium dribble penalty javelin tournament relay batting".split()),
    "music": tuple("violin chorus melody rehearsal tempo guitar orchestra lyric drummer sonata harmony piano".split()),
    "law": tuple("verdict plaintiff statute testimony appeal warrant contract judge lawsuit acquittal clause jury".split()),
}  # fmt: skip
_CARRIERS = (
    "We talked about the {k} for most of the evening",
    "There was a long note on the {k} pinned to the wall",
    "She could not stop thinking of the {k}",
    "The article began with the {k} and never left it",
    "He asked me twice about the {k}",
    "Nobody had expected the {k} to matter so much",
    "It all started with the {k}",
    "They sent a card with a picture of the {k}",
    "Most of the message was about the {k}",
    "My uncle has strong views on the {k}",
    "The {k} came up again yesterday",
    "What I remember best is the {k}",
    "A question on the {k} was left without a reply",
    "You should have heard them on the {k}",
    "The whole page dealt with the {k}",
    "I still have to write something about the {k}",
    "All the same, the {k} was the topic of the day",
    "Two letters on the {k} came in the same week",
    "The radio had a programme on the {k} at noon",
    "Her notebook opens with three pages on the {k}",
    "I overheard a quarrel about the {k} on the train",
    "The {k} is what he always returns to",
    "For once nobody made a joke about the {k}",
    "The minutes say that the {k} was discussed at length",
    "An old photograph of the {k} hung in the hall",
    "We lost an hour to the {k} again",
    "The postcard mentions the {k} and nothing else",
    "Half of the questions were about the {k}",
    "They named the boat after the {k}",
    "The {k} is all that the report describes",
    "There is a chapter on the {k} that I skipped",
    "Somebody had underlined every line on the {k}",
    "The children drew the {k} from memory",
    "He could talk about the {k} until midnight",
)
_DECIDES = (  # {a} is named, {b} is the class of the record
    "She wanted to write about the {a}, then changed her mind and chose the {b}",
    "It was not the {a} but the {b} that the letter was about",
    "Everybody expected the {a}; in the end the talk was on the {b}",
    "The {b} it was, after the {a} had been ruled out",
    "He crossed out the {a} and put the {b} in its place",
    "Though the title says {a}, every paragraph is about the {b}",
    "The {b} replaced the {a} at the last minute",
    "I would call it the {b}, and never the {a}",
    "First they said the {a}; they took it back and said the {b}",
    "Forget the {a}: this one concerns the {b}",
    "Only a fool would file this under the {a} when the {b} is all it speaks of",
    "The {b} is the subject here and the {a} is only a comparison",
)


class Labeller(Protocol):
    """One tier: the classes, how to write a record of a class, and the host's perfect reading of a record."""

    labels: tuple[str, ...]
    rubric: str

    def text(self, rng: Rng, label: str) -> str: ...

    def label_of(self, text: str) -> str | None: ...


class Printed:
    """T0: the label stands in the record."""

    rubric = "The label of a record is printed in square brackets."

    def __init__(self, n_labels: int) -> None:
        self.labels = tuple(KEYWORDS)[:n_labels]

    def text(self, rng: Rng, label: str) -> str:
        return f"[{label}] note {rng.between(1000, 9999)}"

    def label_of(self, text: str) -> str | None:
        found = re.search(r"\[(\w+)\]", text)
        return found[1] if found else None


class Keyword:
    """T1: one keyword of the class in a carrier sentence; `k` templates a class, half of the words for each split."""

    def __init__(self, n_labels: int, k: int, split: str) -> None:
        self.labels = tuple(KEYWORDS)[:n_labels]
        self.words = {name: _half(KEYWORDS[name], split) for name in self.labels}
        per_word = max(1, math.ceil(k / len(next(iter(self.words.values())))))
        self.carriers = _CARRIERS[: min(per_word, len(_CARRIERS))]
        if k < len(next(iter(self.words.values()))):
            self.words = {name: words[: max(1, k)] for name, words in self.words.items()}
        self._of = {word: name for name, words in self.words.items() for word in words}
        self.rubric = f"The label of a record is its topic, one of: {', '.join(self.labels)}."

    def text(self, rng: Rng, label: str) -> str:
        return rng.pick(self.carriers).replace("{k}", rng.pick(self.words[label]))

    def label_of(self, text: str) -> str | None:
        return next((self._of[w] for w in re.findall(r"[a-z]+", text) if w in self._of), None)


class Compositional(Keyword):
    """T2: two classes are named; negation, override or correction decides which one counts."""

    def __init__(self, n_labels: int, k: int, split: str) -> None:
        super().__init__(n_labels, k, split)
        self.patterns = _half(_DECIDES, split)
        self._read = [re.compile(re.escape(p).replace(r"\{a\}", r"(?P<a>\w+)").replace(r"\{b\}", r"(?P<b>\w+)")) for p in self.patterns]  # fmt: skip
        self.rubric += " Records name two topics; the label is the one the record is really about."

    def text(self, rng: Rng, label: str) -> str:
        other = rng.pick([name for name in self.labels if name != label])
        pattern = rng.pick(self.patterns)
        return pattern.replace("{a}", rng.pick(self.words[other])).replace("{b}", rng.pick(self.words[label]))

    def label_of(self, text: str) -> str | None:
        found = next((m for m in (p.search(text) for p in self._read) if m), None)
        return self._of.get(found["b"]) if found else None


SUBJECTS = {
    "package": "The label is the package, one of",
    "kind": "The label is what it documents, one of",
    "raises": "The label tells whether its body contains a raise statement (raises) or not (silent), one of",
}


class Docstring:
    """T3: first docstring sentence of a standard-library function or class; `subject` says what the label is."""

    def __init__(self, n_labels: int, split: str, subject: str) -> None:
        table = docstrings(subject)
        self.labels = tuple(sorted(table, key=lambda p: (-len(table[p]), p))[:n_labels])
        self.sentences = {name: _half(table[name], split) for name in self.labels}
        self._of = {text: name for name, texts in self.sentences.items() for text in texts}
        self.rubric = (
            "Each record is the first sentence of the documentation of a function, method or class in the Python "
            f"standard library. {SUBJECTS[subject]}: {', '.join(self.labels)}."
        )

    def text(self, rng: Rng, label: str) -> str:
        return rng.pick(self.sentences[label])

    def label_of(self, text: str) -> str | None:
        return self._of.get(text.strip())


def _half(items: Sequence[str], split: str) -> tuple[str, ...]:
    if split not in ("train", "eval"):
        raise ValueError(f"split is {split!r}; choose train or eval")
    return tuple(items[0 if split == "train" else 1 :: 2])


@lru_cache(maxsize=32)
def labeller(tier: str, n_labels: int = 6, k: int = 6, split: str = "train", subject: str = "package") -> Labeller:
    """The labeller of a tier.

    Args:
        tier: one of `TIERS`.
        n_labels: classes, 2 to 8.
        k: templates per class at T1 and T2, 1 to 200.
        split: train or held-out templates.
        subject: what the label of T3 is, one of `SUBJECTS`; ``kind`` has three labels and ``raises`` two at most.
    """
    if subject not in SUBJECTS:
        raise ValueError(f"subject is {subject!r}; choose one of {', '.join(SUBJECTS)}")
    if tier not in TIERS or not 2 <= n_labels <= len(KEYWORDS) or not 1 <= k <= 200:
        raise ValueError(f"tier={tier!r}, n_labels={n_labels}, k={k}: allowed are {'|'.join(TIERS)}, 2-8, 1-200")
    if tier == "T0":
        return Printed(n_labels)
    if tier == "T1":
        return Keyword(n_labels, k, split)
    if tier == "T2":
        return Compositional(n_labels, k, split)
    return Docstring(n_labels, split, subject)


@cache
def docstrings(subject: str = "package") -> dict[str, tuple[str, ...]]:
    """Label -> distinct first docstring sentences in the standard library; those that several labels share are dropped.

    Args:
        subject: one of `SUBJECTS`.
    """
    owners: dict[str, set[str]] = {}
    for path in stdlib_files():
        relative = path.relative_to(stdlib_root())
        package = relative.parts[0].removesuffix(".py")
        if len(relative.parts) == 1 or package.startswith("_"):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node, kind in _documented(tree):
            text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            sentence = re.split(r"(?<=[a-z)])\. ", text)[0].rstrip(".")
            if 30 <= len(sentence) <= 115 and sentence.isascii() and "||" not in sentence:
                if subject == "raises":
                    label = "raises" if any(isinstance(inner, ast.Raise) for inner in ast.walk(node)) else "silent"
                else:
                    label = package if subject == "package" else kind
                owners.setdefault(sentence, set()).add(label)
    table: dict[str, list[str]] = {}
    for sentence in sorted(owners):
        if len(owners[sentence]) == 1:
            table.setdefault(next(iter(owners[sentence])), []).append(sentence)
    return {label: tuple(texts) for label, texts in table.items()}


def _documented(tree: ast.AST, inside: str = "") -> Iterator[tuple[_Documented, str]]:
    """Functions, methods and classes, each with its kind."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield node, "class"
            yield from _documented(node, "class")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, "method" if inside == "class" else "function"
            yield from _documented(node, "function")
        else:
            yield from _documented(node, inside)


@cache
def stdlib_root() -> Path:
    """Folder of the standard library."""
    return Path(sysconfig.get_paths()["stdlib"]).resolve()


@cache
def stdlib_files() -> tuple[Path, ...]:
    """Source files of the standard library without tests and installed packages, sorted by path."""
    root = stdlib_root()
    skip = {"test", "tests", "site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo", "__pycache__"}
    return tuple(
        sorted(
            path
            for path in root.rglob("*.py")
            if not skip & set(path.relative_to(root).parts) and "idle_test" not in path.parts
        )
    )


def stdlib_version() -> str:
    """The interpreter whose library the texts come from; tasks of T3 and F5 are valid for this one only."""
    return sys.version.split()[0]


class NaiveBayes:
    """Bag-of-words classifier with add-one smoothing: what an agent could learn from some labelled examples by code."""

    def __init__(self, examples: Iterable[tuple[str, str]]) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.prior: Counter[str] = Counter()
        for text, label in examples:
            self.prior[label] += 1
            self.counts.setdefault(label, Counter()).update(_tokens(text))
        vocabulary = {word for counter in self.counts.values() for word in counter}
        size = len(vocabulary) + 1
        total = sum(self.prior.values())
        self._default = {n: -math.log(sum(c.values()) + size) for n, c in self.counts.items()}
        self._base = {n: math.log(self.prior[n] / total) for n in self.counts}
        self._log = {n: {w: math.log(k + 1) + self._default[n] for w, k in c.items()} for n, c in self.counts.items()}

    def label(self, text: str) -> str:
        """The most probable label."""
        words = _tokens(text)
        return max(
            sorted(self.counts),
            key=lambda n: self._base[n] + sum(self._log[n].get(w, self._default[n]) for w in words),
        )


def _tokens(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


@lru_cache(maxsize=32)
def keyword_baseline(
    tier: str, n_labels: int, k: int, split: str, subject: str = "package", examples: int = 200
) -> NaiveBayes:
    """Naive Bayes fitted on public records of the tier: always the same ones, unrelated to any task's seed."""
    source = labeller(tier, n_labels, k, split, subject)
    rng = Rng(1)
    rows = []
    for i in range(examples):
        label = source.labels[i % len(source.labels)]
        rows.append((source.text(rng, label), label))
    return NaiveBayes(rows)
