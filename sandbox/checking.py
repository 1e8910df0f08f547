"""What the checker process of assert tests is given: stand-ins for the submission's functions, and a small test runner.

The checker holds the tests; the submission runs elsewhere. A call crosses as data, so nothing of the submission is ever
in the process that judges it.
"""

from __future__ import annotations

import ast
import builtins
from typing import Any

MODULE = "solution"

SUBMISSION_PRELUDE = f"""
import sys
__name__ = {MODULE!r}
sys.modules[{MODULE!r}] = sys.modules["__main__"]
del sys
"""
"""Run before the submission: it is a module that is imported, so ``if __name__ == "__main__"`` stays quiet."""

CHECKER_PRELUDE = r"""
import builtins, itertools, math, sys, types

def _raise(error):
    kind = getattr(builtins, error["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = RuntimeError
    raise kind(error["message"])

def _stand_in(name):
    def function(*args, **kwargs):
        answer = _guest_call(name, list(args), kwargs)
        if "error" in answer:
            _raise(answer["error"])
        for mine, changed in zip(args, answer.get("args") or ()):
            if type(mine) is list and type(changed) is list:
                mine[:] = changed
            elif type(mine) in (dict, set) and type(changed) is type(mine):
                mine.clear()
                mine.update(changed)
        return answer["value"]
    function.__name__ = function.__qualname__ = name
    return function

def _fetch(name, kind):
    if kind == "module":  # the test means the library, whatever the submission bound to the name
        return __import__(name) if name in sys.stdlib_module_names else None
    if kind in ("function", "type", "builtin_function_or_method"):
        return _stand_in(name)
    answer = _guest_get(name)
    if "error" in answer:
        raise AttributeError(name)
    return answer["value"]

class _Solution(types.ModuleType):
    def __getattr__(self, name):
        if name not in _names:
            raise AttributeError(f"the submission defines no {name!r}")
        return _fetch(name, _names[name])

class _Raises:
    def __init__(self, kinds, match=None):
        self.kinds, self.match, self.value = kinds, match, None
    def __enter__(self):
        return self
    def __exit__(self, kind, value, tb):
        import re
        if kind is None:
            raise AssertionError(f"did not raise {self.kinds}")
        self.value = value
        if issubclass(kind, self.kinds):
            assert self.match is None or re.search(self.match, str(value)), str(value)
            return True

class _Approx:
    def __init__(self, expected, rel=1e-6, abs=1e-12):
        self.expected, self.rel, self.abs = expected, rel, abs
    def _close(self, a, b):
        if isinstance(b, (list, tuple)):
            return len(a) == len(b) and all(map(self._close, a, b))
        return a == b or math.isclose(a, b, rel_tol=self.rel, abs_tol=self.abs)
    def __eq__(self, other):
        return self._close(other, self.expected)

def _fail(reason=""):
    raise AssertionError(f"failed or skipped: {reason}")

def _parametrize(names, rows):
    names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
    def mark(function):
        rows_ = [row if len(names) > 1 else (row,) for row in rows]
        function._rows = getattr(function, "_rows", []) + [[dict(zip(names, row)) for row in rows_]]
        return function
    return mark

def _skip_mark(*_, **__):
    return lambda function: _fail

_pytest = types.ModuleType("pytest")
_pytest.raises = lambda kinds, match=None: _Raises(kinds, match)
_pytest.approx, _pytest.fail, _pytest.skip, _pytest.xfail = _Approx, _fail, _fail, _fail
_pytest.mark = types.SimpleNamespace(parametrize=_parametrize, skip=_skip_mark, skipif=_skip_mark, xfail=_skip_mark)
sys.modules["pytest"] = _pytest

def _run_function(function):
    for combination in itertools.product(*getattr(function, "_rows", [])):
        arguments = {}
        for row in combination:
            arguments.update(row)
        function(**arguments)

def _run_test(setup, code, wanted, entry):
    solution = sys.modules["solution"] = _Solution("solution")
    solution.__all__ = [name for name in _names if name in wanted or "*" in wanted]
    space = {"__name__": "checker", "__builtins__": builtins, "_run_function": _run_function}
    for name in wanted:
        if name in _names:
            space[name] = _fetch(name, _names[name])
    if entry is not None:
        space["candidate"] = getattr(solution, entry)
    exec(compile(setup, "<setup>", "exec", dont_inherit=True), space)
    exec(compile(code, "<test>", "exec", dont_inherit=True), space)
"""


def names_used(source: str) -> list[str]:
    """Names a test reads that are not built in: candidates for stand-ins. ``*`` when it imports everything.

    Raises:
        ValueError: the test is not Python.

    Example:
        >>> names_used("assert add(len([1]), x) == 2")
        ['add', 'x']
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"AssertTest.code is not Python: {error}") from None
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == MODULE:
            found |= {alias.name for alias in node.names}
    return sorted(name for name in found if not hasattr(builtins, name) and not name.startswith("_"))


def split_tests(source: str) -> list[tuple[str, str]]:
    """The tests of a pytest or unittest module as ``(id, statement)``: top-level ``test_*`` functions and methods of
    ``TestCase`` classes. They are found by reading, so a submission cannot make one disappear.

    Raises:
        ValueError: the module is not Python or holds no tests.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"the test module is not Python: {error}") from None
    found: list[tuple[str, str]] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            found.append((node.name, f"_run_function({node.name})"))
        elif isinstance(node, ast.ClassDef):
            found += _methods(node)
    if not found:
        raise ValueError("the test module holds no function test_* and no TestCase method test*")
    return found


def _methods(node: ast.ClassDef) -> list[tuple[str, str]]:
    names = [item.name for item in node.body if isinstance(item, ast.FunctionDef) and item.name.startswith("test")]
    bases: list[Any] = [
        base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases
    ]
    if "TestCase" in bases:
        return [(f"{node.name}.{name}", f"{node.name}({name!r}).debug()") for name in names]
    if node.name.startswith("Test"):
        return [(f"{node.name}.{name}", f"_run_function({node.name}().{name})") for name in names]
    return []
