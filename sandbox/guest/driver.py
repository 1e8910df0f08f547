"""Runs one Python program in a confined process, as ``python main.py`` would, and reports how it ended.

The report is a claim of the guest: the host takes labels from it (which exception), never a score.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import io
import json
import linecache
import os
import sys
import threading
import traceback
import types
from typing import Any

MAX_TRACEBACK = 8000
DONE = b'{"done":true}'
REHEARSALS = 20
_REHEARSED = "for i in range(3):\n    print(sum([j for j in range(i)]), str(i), end='')"
_source = ""


def prepare() -> None:
    """In the launcher: make what the guests' programs find, their streams (on descriptors 0 to 2) and ``__main__``."""
    stdin, stdout, stderr = (io.FileIO(fd, mode, closefd=False) for fd, mode in enumerate("rww"))
    escape: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace"}
    sys.stdin = io.TextIOWrapper(io.BufferedReader(stdin), encoding="utf-8", errors="surrogateescape")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(stdout), **escape)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(stderr), line_buffering=True, **escape)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
    sys.argv = ["main.py"]
    for _ in range(REHEARSALS):  # guests inherit an interpreter whose caches know the way
        _execute(_REHEARSED)
        flush()
    main_module("main.py", "")
    linecache.cache["main.py"] = (lambda: _source,)  # a program's text is cut into lines when they are wanted


def flush() -> None:
    """Flush what the program printed, whatever it has done to the streams."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()  # type: ignore[union-attr]
        except BaseException:
            continue


def main_module(path: str, code: str) -> types.ModuleType:
    """A fresh ``__main__`` whose source is known to tracebacks."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=builtins)
    sys.modules["__main__"] = module
    remember_source(path, code)
    return module


def remember_source(path: str, code: str) -> None:
    """Let tracebacks show lines of a program that is in no file."""
    linecache.cache[path] = (len(code), None, code.splitlines(keepends=True), path)


def describe(error: BaseException, skip: int = 1) -> dict[str, Any]:
    """An exception as plain data: type, message, errno and traceback without our own frames."""
    tb = error.__traceback__
    for _ in range(skip):
        tb = tb.tb_next if tb is not None else None
    try:
        text = "".join(traceback.format_exception(type(error), error, tb))
    except BaseException:  # an exception whose own __str__ fails
        text = f"{type(error).__name__}: <exception could not be printed>\n"
    if len(text) > MAX_TRACEBACK:
        text = text[: MAX_TRACEBACK // 4] + "\n...\n" + text[-MAX_TRACEBACK * 3 // 4 :]
    try:
        message = str(error)[:500]
    except BaseException:
        message = ""
    number = getattr(error, "errno", None)
    return {
        "type": type(error).__name__[:100],
        "message": printable(message),
        "errno": number if type(number) is int else None,
        "traceback": printable(text),
    }


def printable(text: str) -> str:
    """Text without lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def exit_code(error: SystemExit) -> int:
    """The code ``sys.exit`` would end a process with; a message goes to stderr."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return int(error.code) & 0xFF
    with contextlib.suppress(BaseException):
        print(error.code, file=sys.stderr)
    return 1


def _execute(code: str) -> None:
    """Run a program as ``__main__``."""
    global _source
    _source = code
    exec(compile(code, "main.py", "exec", dont_inherit=True), sys.modules["__main__"].__dict__)


def _leave() -> None:
    """What an interpreter does at its end: wait for the program's threads, call what it registered."""
    if getattr(threading, "_shutdown_locks", True) or getattr(threading, "_threading_atexits", True):
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def run(code: str, report: int) -> None:
    """Run a program to its end and exit the process; never returns.

    Args:
        code: the source text.
        report: descriptor that receives one JSON object: ``{"done": true}`` or a described exception.
    """
    outcome: dict[str, Any] | None = None
    status, main = 0, os.getpid()
    try:
        try:
            _execute(code)
        finally:
            del code
            _leave()
    except SystemExit as error:
        status = exit_code(error)
    except BaseException as error:
        outcome, status = describe(error, skip=2), 1
        with contextlib.suppress(BaseException):
            sys.stderr.write(outcome["traceback"])
    flush()
    if os.getpid() == main:  # a forked child that ran on to the end has nothing to report
        with contextlib.suppress(OSError):
            os.write(report, DONE if outcome is None else json.dumps(outcome, ensure_ascii=False).encode())
    os._exit(status)
