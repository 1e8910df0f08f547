"""Rows of published code data sets as problems: APPS/TACO, LiveCodeBench, HumanEval, MBPP.

The rows come from local files and are data: nothing of them is evaluated here, and pickled tests are never unpickled.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import re
import zlib
from collections.abc import Mapping
from typing import Any

from .checkers import apps_data
from .problem import CodeTest, Problem, Visibility, call, check, shown_json, stdio

MAX_PACKED = 256 * 1024 * 1024
_TEXT_OPCODES = frozenset(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"))
_FRAME_OPCODES = frozenset(("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"))


def load_problem(row: Mapping[str, Any], public: int = 1, feedback: float = 0.0) -> Problem:
    """A problem from a row of APPS/TACO, LiveCodeBench, HumanEval or MBPP.

    Args:
        row: the row; its columns tell the format.
        public: how many tests stand in the prompt, where the format does not say.
        feedback: share of the other tests that may be shown when they fail.

    Raises:
        ValueError: the row has the columns of none of these formats, or its tests cannot be read.
    """
    if "public_test_cases" in row or "private_test_cases" in row:
        problem = _livecodebench(row)
    elif "input_output" in row:
        problem = _apps(row, public)
    elif "entry_point" in row and "test" in row:
        problem = _humaneval(row)
    elif "test_list" in row:
        problem = _mbpp(row, public)
    else:
        raise ValueError(
            f"row with columns {', '.join(map(str, row))}: no known code format; expected input_output (APPS, TACO), "
            "public_test_cases (LiveCodeBench), entry_point and test (HumanEval) or test_list (MBPP)"
        )
    if not problem.tests:
        raise ValueError(f"problem {problem.id or problem.statement[:40]!r} has no tests")
    return _with_feedback(problem, feedback)


def _with_feedback(problem: Problem, share: float) -> Problem:
    hidden = [i for i, item in enumerate(problem.tests) if item.visibility == "hidden"]
    open_ones = set(hidden[: round(share * len(hidden))])
    tests = tuple(
        CodeTest(t.test, "feedback", t.shown_input, t.shown_output) if i in open_ones else t
        for i, t in enumerate(problem.tests)
    )
    return Problem(problem.statement, tests, prepare=problem.prepare, time_limit=problem.time_limit, id=problem.id)


def _text(row: Mapping[str, Any], *names: str) -> str:
    return next((str(row[name]) for name in names if row.get(name)), "")


def _json(value: Any, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} is not JSON: {value[:60]!r}") from None


def _visibility(index: int, public: int) -> Visibility:
    return "public" if index < public else "hidden"


def _apps(row: Mapping[str, Any], public: int) -> Problem:
    packed = _json(row["input_output"], "input_output")
    if not isinstance(packed, Mapping) or len(packed.get("inputs", ())) != len(packed.get("outputs", ())):
        raise ValueError("input_output needs 'inputs' and 'outputs' of the same length")
    name = packed.get("fn_name")
    starter = _text(row, "starter_code")
    tests = []
    for i, (given, expected) in enumerate(zip(packed["inputs"], packed["outputs"], strict=True)):
        if name:
            function = f"Solution.{name}" if "class Solution" in starter else name
            arguments = given if isinstance(given, list) else [given]
            tests.append(call(str(i + 1), function, arguments, expected, _visibility(i, public), apps_data))
        else:
            tests.append(stdio(str(i + 1), _lines(given), _lines(expected), _visibility(i, public)))
    return Problem(_statement(row, starter), tuple(tests), id=_text(row, "problem_id", "id", "name"))


def _lines(value: Any) -> str:
    """Standard input or output that may be given as a list of lines."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _statement(row: Mapping[str, Any], starter: str) -> str:
    text = _text(row, "question", "question_content", "problem", "prompt", "text", "description")
    return f"{text}\n\nUse this starting point:\n{starter}" if starter.strip() else text


def _livecodebench(row: Mapping[str, Any]) -> Problem:
    metadata = _json(row.get("metadata") or "{}", "metadata")
    starter = _text(row, "starter_code")
    name = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    function = f"Solution.{name}" if name and "class Solution" in starter else name
    tests: list[CodeTest] = []
    columns: tuple[tuple[str, Visibility], ...] = (("public_test_cases", "public"), ("private_test_cases", "hidden"))
    for column, visibility in columns:
        for case in _cases(row.get(column)):
            id = str(len(tests) + 1)
            if case.get("testtype") == "functional":
                if not function:
                    raise ValueError("a functional test needs metadata.func_name")
                arguments = [
                    _json(line, "a functional input") for line in str(case["input"]).split("\n") if line.strip()
                ]
                tests.append(call(id, function, arguments, _json(str(case["output"]), "an output"), visibility))
            else:
                tests.append(stdio(id, str(case["input"]), str(case["output"]), visibility))
    return Problem(_statement(row, starter), tuple(tests), id=_text(row, "question_id", "id"))


def _cases(value: Any) -> list[Mapping[str, Any]]:
    if not value:
        return []
    if isinstance(value, str) and not value.lstrip().startswith(("[", "{")):
        value = unpack(value)
    cases = _json(value, "test cases")
    if not isinstance(cases, list) or not all(isinstance(case, Mapping) for case in cases):
        raise ValueError("test cases must be a list of objects")
    return cases


def unpack(packed: str) -> str:
    """The text inside LiveCodeBench's base64, zlib and pickle, without unpickling.

    The pickle is read as a sequence of operations; only one that stores a single text is accepted, so nothing in the
    file can run or build anything else.

    Raises:
        ValueError: it holds anything but one text, or is larger than 256 MiB.
    """
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(base64.b64decode(packed, validate=True), MAX_PACKED)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"private tests are neither JSON nor packed JSON: {error}") from None
    if stream.unconsumed_tail:
        raise ValueError("private tests are larger than 256 MiB when unpacked")
    if data[:1] in (b"[", b"{"):
        return data.decode("utf-8")
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in _TEXT_OPCODES:
                texts.append(str(argument))
            elif opcode.name not in _FRAME_OPCODES:
                raise ValueError(f"private tests hold a pickled {opcode.name}; only text is accepted")
    except (UnicodeDecodeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"private tests hold a broken pickle: {error}") from None
    if len(texts) != 1:
        raise ValueError(f"private tests hold {len(texts)} pickled texts; exactly one is accepted")
    return texts[0]


def _humaneval(row: Mapping[str, Any]) -> Problem:
    stub, entry = str(row["prompt"]), str(row["entry_point"])
    pattern = re.compile(rf"^\s*(?:async\s+)?def\s+{re.escape(entry)}\b", re.MULTILINE)

    def prepare(code: str) -> str:
        """A reply that only continues the stub is put behind it; helpers and imports of the stub always count."""
        head = stub[: match.start()] if (match := pattern.search(stub)) else ""
        return f"{head}\n{code}" if pattern.search(code) else stub + code

    test = check("1", "check(candidate)", "hidden", str(row["test"]), entry)
    text = f"Complete this function:\n{stub}"
    return Problem(text, (test,), prepare=prepare, time_limit=5.0, id=_text(row, "task_id"))


def _mbpp(row: Mapping[str, Any], public: int) -> Problem:
    imports = row.get("test_imports") or []  # the sanitized version has these instead of test_setup_code
    setup = "\n".join([*map(str, imports), _text(row, "test_setup_code")])
    listed = row["test_list"] if isinstance(row["test_list"], list) else _json(row["test_list"], "test_list")
    tests = tuple(check(str(i + 1), str(source), _visibility(i, public), setup) for i, source in enumerate(listed))
    return Problem(shown_json(_text(row, "text", "prompt")), tests, time_limit=5.0, id=_text(row, "task_id"))
