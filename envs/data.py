"""Task files: JSONL, JSON, CSV, Parquet, shards and compressed files, in the column layouts people use, as `Task`s.

    tasks("gsm8k.jsonl")                       kind="math": question, answer with "#### x", or the last box of a
    solution tasks("math500.parquet", columns={"answer": "final"})
    load("aime.jsonl").dropped                 rows left out, each with its reason

A Hugging Face id works when the ``datasets`` cache already holds it; nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..schema import Message, Task
from .datafiles import rows_of
from .splits import digest

# First column that is there wins; dots go into nested objects.
ALIASES: dict[str, tuple[str, ...]] = {
    "question": ("question", "problem", "prompt", "query", "input", "instruction", "Problem"),
    "answer": (
        "answer", "final_answer", "expected_answer", "gold", "ground_truth", "target", "Answer",
        "reward_model.ground_truth", "reward_spec.ground_truth", "extra_info.answer",
    ),
    "solution": ("solution", "rationale", "output"),
    "id": ("id", "unique_id", "problem_idx", "ID"),
    "level": ("level", "difficulty"),
    "subject": ("subject", "type", "category"),
    "choices": ("choices", "options"),
}  # fmt: skip

KINDS = ("math", "text", "choice", "raw")

_MARKS = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True)
class Dropped:
    """A row that was left out."""

    row: int
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Loaded:
    """The tasks of a file and the rows that were left out."""

    tasks: tuple[Task, ...]
    dropped: tuple[Dropped, ...]


def tasks(source: str, kind: str = "math", **options: Any) -> list[Task]:
    """The tasks of a file, a folder of shards or a cached data set.

    Args:
        source: path, or Hugging Face id.
        kind: ``math`` (answers are checked by the maths verifier), ``text`` (any text), ``choice`` (a letter), ``raw``
            (the whole row is the answer; for code).
        **options: see :func:`load`.

    Raises:
        FileNotFoundError: no such file and no such cached data set.
        ValueError: a row is malformed, or the columns are not found; the columns that were found are listed.
    """
    return list(load(source, kind, **options).tasks)


def load(
    source: str,
    kind: str = "math",
    *,
    columns: Mapping[str, str] | None = None,
    split: str = "train",
    limit: int | None = None,
    keep_bad: bool = False,
) -> Loaded:
    """Like :func:`tasks`, with the rows that were left out.

    Args:
        source: path, or Hugging Face id.
        kind: see :func:`tasks`.
        columns: our names (keys of `ALIASES`) to the names in the file; dots go into nested objects.
        split: split of a Hugging Face data set.
        limit: rows to read.
        keep_bad: keep rows with duplicate prompts and golds that the verifier does not accept for themselves.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: choose one of {', '.join(KINDS)}")
    unknown = set(columns or {}) - set(ALIASES)
    if unknown:
        raise ValueError(f"columns has no role {sorted(unknown)[0]!r}; the roles are {', '.join(ALIASES)}")
    found: list[Task] = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    for number, row in enumerate(rows_of(source, split)):
        if limit is not None and number >= limit:
            break
        task = _task(row, number, kind, dict(columns or {}), source)
        prompt = " ".join(message.text for message in task.messages)
        if task.answer is None or task.answer == "":
            dropped.append(Dropped(number, "empty_answer", prompt[:80]))
        elif not keep_bad and digest(prompt) in seen:
            dropped.append(Dropped(number, "duplicate_prompt", prompt[:80]))
        elif not keep_bad and kind == "math" and not _matches_itself(task.answer):
            dropped.append(Dropped(number, "gold_not_verifiable", str(task.answer)[:80]))
        else:
            seen.add(digest(prompt))
            found.append(task)
    return Loaded(tuple(found), tuple(dropped))


def overlap(train: Sequence[Task], test: Sequence[Task], n: int = 13) -> list[str]:
    """Ids of test tasks that share a run of ``n`` words with a training task (all words of a shorter one)."""
    known = {gram for task in train for gram in _grams(task, n)}
    return [task.id for task in test if any(gram in known for gram in _grams(task, n))]


# ---- one row -------------------------------------------------------------------------------------------------------


def _task(row: Mapping[str, Any], number: int, kind: str, columns: dict[str, str], source: str) -> Task:
    def get(role: str) -> Any:
        if role in columns:
            value = _at(row, columns[role])
            if value is _MISSING:
                raise ValueError(f"{source}, row {number}: no column {columns[role]!r}; found {_names(row)}")
            return value
        return next((value for name in ALIASES[role] if (value := _at(row, name)) not in (_MISSING, None)), _MISSING)

    question = get("question")
    if question is _MISSING:
        tried = ", ".join(ALIASES["question"])
        raise ValueError(
            f"{source}, row {number}: no question column (tried {tried}); found {_names(row)}; name it with "
            'columns={"question": ...}'
        )
    given_id = get("id")
    metadata = {role: value for role in ("level", "subject") if (value := get(role)) is not _MISSING}
    answer = dict(row) if kind == "raw" else _answer(get, row, number, kind, source)
    prompt = _prompt(question)
    choices = get("choices")
    if kind == "choice" and choices is not _MISSING:
        listed = _choices(choices)
        metadata["choices"] = listed
        prompt = f"{prompt}\n" + "\n".join(f"({letter}) {text}" for letter, text in listed.items())
        answer = _letter(answer, listed)
    id = str(given_id) if given_id is not _MISSING else f"row-{number}-{digest(question, 6)}"
    return Task(id=id, prompt=prompt, answer=answer, metadata=metadata)


def _answer(get: Callable[[str], Any], row: Mapping[str, Any], number: int, kind: str, source: str) -> str:
    """The gold: an answer column, else what a worked solution ends with."""
    answer = get("answer")
    if answer is _MISSING:
        solution = get("solution")
        if solution is _MISSING:
            tried = ", ".join((*ALIASES["answer"], *ALIASES["solution"]))
            raise ValueError(
                f"{source}, row {number}: no answer column (tried {tried}); found {_names(row)}; name it with "
                'columns={"answer": ...}'
            )
        return final_answer(str(solution)) or ""
    if isinstance(answer, list):  # one answer, or all that are asked for
        answer = ", ".join(map(str, answer)) if kind == "math" or len(answer) == 1 else answer
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    text = str(answer).strip()
    if kind == "math":
        if "####" in text or "\\boxed" in text:
            return final_answer(text) or ""
        if re.fullmatch(r"0\d{1,2}", text):  # AIME writes 000 to 999
            return str(int(text))
    return text


def final_answer(solution: str) -> str | None:
    r"""What a worked solution ends with: GSM8K's ``#### x``, else the content of the last ``\boxed{}``.

    Example:
        >>> final_answer("5 * 3 = <<5*3=15>>15\n#### 1,015")
        '1,015'
    """
    text = _MARKS.sub("", solution)
    if "####" in text:
        return text.rpartition("####")[2].strip()
    from .verify.extract import last_box

    return last_box(text)


def _prompt(question: Any) -> Any:
    if isinstance(question, str):
        return question
    if isinstance(question, list) and all(isinstance(m, Mapping) and "role" in m for m in question):
        return tuple(Message(role=m["role"], content=m.get("content")) for m in question)
    return str(question)


def _choices(choices: Any) -> dict[str, str]:
    if isinstance(choices, Mapping):
        if set(choices) >= {"text", "label"}:
            return {str(k): str(v) for k, v in zip(choices["label"], choices["text"], strict=True)}
        return {str(k): str(v) for k, v in choices.items()}
    return {chr(ord("A") + i): str(text) for i, text in enumerate(choices)}


def _letter(answer: Any, choices: dict[str, str]) -> str:
    text = str(answer).strip()
    if text in choices:
        return text
    if text.isdigit() and int(text) < len(choices):
        return list(choices)[int(text)]
    return next((letter for letter, choice in choices.items() if choice == text), text)


class _Missing:
    """Marks a column that is not there; None may be a value."""


_MISSING: Any = _Missing()


def _at(row: Any, path: str) -> Any:
    if isinstance(row, Mapping) and path in row:
        return row[path]
    head, dot, rest = path.partition(".")
    return _at(row[head], rest) if dot and isinstance(row, Mapping) and head in row else _MISSING


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(map(str, row)) or "no columns"


def _matches_itself(gold: Any) -> bool:
    from .verify import verify

    return bool(verify(str(gold), f"\\boxed{{{gold}}}").ok)


def _grams(task: Task, n: int) -> set[str]:
    words = re.findall(r"\w+", " ".join(message.text for message in task.messages).lower())
    return {" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()
