"""Grading: honest submissions pass, wrong ones fail, and cheating never helps."""

from __future__ import annotations

import math

import pytest

from palaestra.sandbox import AssertTest, CallTest, Job, Limits, SandboxError, StdioTest, checkers, pytest_tests

LIMITS = Limits(wall_s=30, cpu_s=10)
GOOD = "def add(a, b):\n    return a + b\n"


def grade(sandbox, code, tests, **fields):
    result = sandbox.run_sync(Job(code=code, tests=tests, limits=LIMITS, **fields))
    return {test.id: test.verdict for test in result.tests}, result


def test_stdio(sandbox):
    tests = [
        StdioTest("a", "1 2", "3\n"),
        StdioTest("b", "2 2", "5"),
        StdioTest("c", "x y", "1"),
        StdioTest("d", "1 3", "4  \n\n", checker="tokens"),
        StdioTest("e", "1 1", "x", checker=lambda got, _: got == "2\n"),
    ]
    verdicts, result = grade(sandbox, "print(sum(map(int, input().split())))", tests)
    assert verdicts == {"a": "ok", "b": "wrong", "c": "exception", "d": "ok", "e": "ok"}
    assert result.verdict == "exception" and [t.passed for t in result.tests] == [True, False, False, True, True]
    assert "5" not in next(t for t in result.tests if t.id == "b").detail  # never the expected output


def test_early_stop(confined):
    tests = [StdioTest(str(i), "", "no" if i == 1 else "") for i in range(4)]
    verdicts, _ = grade(confined, "pass", tests, early_stop=True)
    assert verdicts == {"0": "ok", "1": "wrong", "2": "not_run", "3": "not_run"}


def test_calls(sandbox):
    code = (
        GOOD + "class S:\n  def twice(self, x): return [x, x]\ndef third(): return 1/3\n"
        "def pop(xs): xs.sort()\ndef rev(): return (3, 1, 2)"
    )
    tests = [
        CallTest("add", "add", [1, 2], expected=3),
        CallTest("kw", "add", [1], {"b": 2}, expected=3),
        CallTest("method", "S.twice", ["a"], expected=("a", "a")),
        CallTest("third", "third", expected=0.333333, checker="float", tolerance=1e-5),
        CallTest("exact", "third", expected=0.333333),
        CallTest("set", "rev", expected=[1, 2, 3], checker="set"),
        CallTest("arg", "pop", [[2, 1]], expected=[1, 2], argument=0),
        CallTest("no", "nothing", expected=1),
        CallTest("custom", "add", [4, 5], expected=None, checker=lambda got, _: got > 8),
    ]
    verdicts, _ = grade(sandbox, code, tests)
    assert verdicts == {
        "add": "ok",
        "kw": "ok",
        "method": "ok",
        "third": "ok",
        "exact": "wrong",
        "set": "ok",
        "arg": "ok",
        "no": "exception",
        "custom": "ok",
    }


def test_asserts_run_elsewhere(sandbox):
    tests = [
        AssertTest("plain", "assert add(1, 2) == 3"),
        AssertTest("import", "from solution import add as f\nassert f(2, 2) == 4"),
        AssertTest("wrong", "assert add(1, 1) == 3"),
        AssertTest("entry", "check(candidate)", setup="def check(f): assert f('a', 'b') == 'ab'", entry="add"),
        AssertTest("raises", "import pytest\nwith pytest.raises(TypeError): add(1, 'a')"),
        AssertTest("constant", "assert LIMIT == [1, 2]"),
        AssertTest("inplace", "xs = [2, 1]\norder(xs)\nassert xs == [1, 2]"),
        AssertTest("missing", "assert nothing(1)"),
    ]
    code = (
        GOOD
        + "LIMIT = [1, 2]\ndef order(xs): xs.sort()\nif __name__ == '__main__': raise SystemExit('ran as a program')"
    )
    verdicts, result = grade(sandbox, code, tests)
    assert verdicts == {
        "plain": "ok",
        "import": "ok",
        "wrong": "wrong",
        "entry": "ok",
        "raises": "ok",
        "constant": "ok",
        "inplace": "ok",
        "missing": "exception",
    }
    assert {test.integrity for test in result.tests} == {"isolated"}


def test_pytest_and_unittest_modules(confined):
    source = """
import unittest, pytest
from solution import add

@pytest.mark.parametrize("a, b, c", [(1, 2, 3), (2, 2, 4)])
def test_rows(a, b, c):
    assert add(a, b) == c

def test_wrong():
    assert add(1, 1) == pytest.approx(2.1)

def test_skipped():
    pytest.skip("later")

class TestMore(unittest.TestCase):
    def test_it(self):
        self.assertEqual(add(3, 4), 7)
"""
    tests = pytest_tests(source)
    assert [test.id for test in tests] == ["test_rows", "test_wrong", "test_skipped", "TestMore.test_it"]
    verdicts, _ = grade(confined, GOOD, tests)
    assert verdicts == {"test_rows": "ok", "test_wrong": "wrong", "test_skipped": "wrong", "TestMore.test_it": "ok"}
    with pytest.raises(ValueError, match="no function test_"):
        pytest_tests("x = 1")


def test_in_process_is_marked(confined):
    code = "class Stack:\n  def __init__(self): self.x = []\n  def push(self, v): self.x.append(v)\n"
    code += "  def pop(self): return self.x.pop()"
    live = "s = Stack(); s.push(1); assert s.pop() == 1"
    verdicts, result = grade(confined, code, [AssertTest("live", live, in_process=True), AssertTest("data", live)])
    assert verdicts == {"live": "ok", "data": "exception"} and [t.integrity for t in result.tests] == [
        "in_process",
        "isolated",
    ]


CHEATS = {
    "exit at import": ("import os; os._exit(0)", "missing"),
    "system exit at import": ("raise SystemExit", "missing"),
    "always equal": ("class E:\n  def __eq__(self, o): return True\ndef add(a, b): return E()", "unsupported_type"),
    "always equal int": (
        "class E(int):\n  def __eq__(self, o): return True\n  __hash__ = int.__hash__\ndef add(a, b): return E(-1)",
        "wrong",
    ),
    "exit in call": ("import os\ndef add(a, b): os._exit(0)", "exit"),
    "sys.exit in call": ("import sys\ndef add(a, b): sys.exit(0)", "exit"),
    "forged frame": ("import os\ndef add(a, b):\n  os.write(3, b'\\0'*64)\n  return -1", "protocol_error"),
    "shadowed builtins": (
        "import builtins, json\nbuiltins.all = builtins.any = lambda *a: True\njson.dumps = lambda *a, **k: 'true'\n"
        "isinstance = all = len = lambda *a: True\ndef add(a, b): return -1",
        "wrong|exception|protocol_error|missing",
    ),
    "unpicklable payload": (
        "class P:\n  def __reduce__(self): import os; return os.system, ('id',)\ndef add(a, b): return P()",
        "unsupported_type",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_cheats_never_pass(confined, name):
    code, expected = CHEATS[name]
    tests = [CallTest("call", "add", [1, 2], expected=3), AssertTest("assert", "assert all([add(1, 2) == 3])")]
    verdicts, result = grade(confined, code, tests)
    assert not any(test.passed for test in result.tests), verdicts
    assert verdicts["call"] in expected.split("|"), verdicts


def test_a_crash_in_one_test_does_not_fail_the_others(confined):
    code = "import os\ndef add(a, b):\n  if a == 0: os._exit(0)\n  return a + b"
    tests = [CallTest(str(i), "add", [i, 1], expected=i + 1) for i in (1, 0, 2)]
    assert grade(confined, code, tests)[0] == {"1": "ok", "0": "exit", "2": "ok"}


def test_a_call_that_hangs_times_out(confined):
    job = Job(
        code="def f(n):\n  while n: pass\n  return n",
        limits=Limits(wall_s=1),
        tests=[CallTest("a", "f", [1], expected=1), CallTest("b", "f", [0], expected=0), AssertTest("c", "f(1)")],
    )
    verdicts = {test.id: test.verdict for test in confined.run_sync(job).tests}
    assert verdicts["a"] == "timeout_wall" and verdicts["b"] == "ok" and verdicts["c"] != "ok"


SEARCH = """
import gc, sys
def search(backwards):
    places, frame = [], sys._getframe(1)
    while frame:
        places += [frame.f_locals, frame.f_globals]
        frame = frame.f_back
    places += [o for o in gc.get_objects() if type(o) in (list, dict, tuple, set)]
    needle, hits = "".join(reversed(backwards)), 0
    for place in places:
        for item in list(place.values()) if type(place) is dict else list(place):
            hits += isinstance(item, str) and needle in item and item is not needle
            hits += isinstance(item, bytes) and needle.encode() in item
    return hits
"""


def test_expected_outputs_are_nowhere_in_the_guest(sandbox):
    canary = "canary-expected-7391"
    seen = []
    tests = [
        CallTest("warm", "len", [canary[::-1]], expected=canary),
        CallTest("look", "search", [canary[::-1]], expected=canary, checker=lambda got, _: seen.append(got)),
    ]
    result = sandbox.run_sync(Job(code=SEARCH + "len = len", tests=tests, limits=LIMITS))
    assert [test.verdict for test in result.tests] == ["wrong", "wrong"] and seen == [0]
    code = SEARCH + "print(search(input()))"
    run = sandbox.run_sync(Job(code=code, tests=[StdioTest("t", canary[::-1], canary)], limits=LIMITS))
    assert run.stdout == b"0\n" and not run.tests[0].passed


def test_malformed_tests_are_named(confined):
    with pytest.raises(ValueError, match="duplicate id 'x'"):
        confined.run_sync(Job(code="", tests=[StdioTest("x", "", ""), StdioTest("x", "", "")]))
    with pytest.raises(ValueError, match="empty"):
        confined.run_sync(Job(code="", tests=[]))
    with pytest.raises(ValueError, match="checker is 'fuzzy'"):
        StdioTest("x", "", "", checker="fuzzy")
    with pytest.raises(ValueError, match="not Python"):
        confined.run_sync(Job(code="", tests=[AssertTest("x", "assert (")]))
    with pytest.raises(ValueError, match="need Python"):
        confined.run_sync(Job(code="", lang="bash", tests=[CallTest("x", "f")]))


@pytest.mark.parametrize(
    ("got", "expected", "equal"),
    [
        ([1, (2, 3)], [1, [2, 3]], True),
        (1, 1.0, True),
        (True, 1, False),
        (None, False, False),
        ("1", 1, False),
        (math.nan, math.nan, True),
        ({"a": [1]}, {"a": (1,)}, True),
        ({1, 2}, {2, 1}, True),
        ([1], [1, 2], False),
        (10**400, 10**400, True),
        (10**400, 1.5, False),
        (5 * 10**16, 5 * 10**16 + 1, False),
        (5 * 10**16, 5e16, True),
        (5 * 10**16 + 1, 5e16, False),
        (0.1 + 0.2, 0.3, False),
        (math.inf, 10**400, False),
        (-math.inf, math.inf, False),
        (b"a", "a", False),
        (1 + 2j, 1 + 2j, True),
        ([], (), True),
    ],
)
def test_data_equality(got, expected, equal):
    assert checkers.same(got, expected) is equal


@pytest.mark.parametrize(
    ("checker", "got", "expected", "tolerance", "passed"),
    [
        ("exact", 5 * 10**16, 5 * 10**16 + 1, 1e-6, False),
        ("exact", 0.1 + 0.2, 0.3, 1e-6, False),
        ("float", 5 * 10**16, 5 * 10**16 + 1, 0.0, False),
        ("float", 5 * 10**16, 5 * 10**16 + 1, 1e-6, True),
        ("float", 10**400, 10**400 + 1, 1e-6, True),
        ("float", 10**400, 2 * 10**400, 1e-6, False),
        ("float", 10**400, 1e308, 1e-6, False),
        ("float", 10**400, math.inf, 1e-6, False),
        ("float", [1, {"a": 2.0000001}], [1.0, {"a": 2}], 1e-6, True),
        ("float", True, 1.0, 1e-6, False),
        ("float", math.nan, 1.0, 1e-6, False),
        ("float", math.inf, math.inf, 1e-6, True),
        ("float", 0, 1e-7, 1e-6, True),
        ("set", [2, 5 * 10**16], [5 * 10**16 + 1, 2], 0.0, False),
        ("set", [3, 1, 1], (1, 3, 1), 0.0, True),
        ("set", [1, 1, 3], [1, 3, 3], 0.0, False),
        ("set", "ab", "ba", 0.0, False),
    ],
)
def test_data_checkers(checker, got, expected, tolerance, passed):
    assert checkers.check(checker, checkers.DATA, got, expected, tolerance) is passed


@pytest.mark.parametrize(
    ("got", "expected", "tolerance", "passed"),
    [
        ("50000000000000000", "50000000000000001", 0.0, False),
        ("50000000000000000", "50000000000000001", 1e-6, True),
        ("0.10 1e3 -0", "0.1 1000 0", 0.0, True),
        ("0.1", "0.10000000000000000001", 0.0, False),
        ("1e999999999", "1e999999998", 1e-6, False),
        ("1e99999999999999999999", "1e5", 1e-6, False),
        ("inf", "inf", 1e-6, True),
        ("inf", "-inf", 1e-6, False),
        ("nan", "0", 1e-6, False),
    ],
)
def test_number_words(got, expected, tolerance, passed):
    assert checkers.float_tokens(got, expected, tolerance) is passed


@pytest.mark.parametrize(
    ("checker", "got", "expected", "passed"),
    [
        ("exact_lines", "a \nb\n\n", "a\nb", True),
        ("exact_lines", "a\nb", "b\na", False),
        ("exact_lines", "a\r\nb", "a\nb", True),
        ("tokens", " 1\n2 ", "1 2", True),
        ("tokens", "1 2 3", "1 2", False),
        ("float", "x 1.0000001", "x 1", True),
        ("float", "1.1", "1", False),
        ("float", "1_0", "10", False),
        ("float", "nan", "NaN", True),
        ("unordered_lines", "b\na", "a\nb\n", True),
        ("unordered_lines", "a\na\nb", "a\nb\nb", False),
    ],
)
def test_text_checkers(checker, got, expected, passed):
    assert checkers.check(checker, checkers.TEXT, got, expected, 1e-6) is passed


def test_a_checker_that_raises_scores_nothing(confined):
    tests = [StdioTest("1", "", "1", checker=lambda got, expected: int(got) == 1)]
    with pytest.raises(SandboxError, match="checker of test '1' raised ValueError"):
        confined.run_sync(Job(code="print('x')", tests=tests))
    results = confined.run_batch_sync([Job(code="print('x')", tests=tests), Job(code="print(1)", tests=tests)])
    assert [result.verdict for result in results] == ["sandbox_error", "ok"] and results[1].tests[0].passed


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("abc", r"Job.tests\[0\] is str"),
        ([{"id": "1"}], r"Job.tests\[0\] is dict"),
        ([CallTest("1", "f", [object()])], "arguments of '1'"),
    ],
)
def test_what_is_no_test_is_named(confined, tests, message):
    with pytest.raises(ValueError, match=message):
        confined.run_sync(Job(code="f = len", tests=tests))


@pytest.mark.parametrize("failures", [1, 2])
def test_a_sandbox_failure_while_grading_is_retried_once_then_raised(confined, monkeypatch, failures):
    left = [failures]
    opened = confined._open

    async def open_or_fail(*words):
        session = await opened(*words)
        if left[0]:
            left[0] -= 1
            session._hub.slot.process.kill()
        return session

    monkeypatch.setattr(confined, "_open", open_or_fail)
    job = Job(code=GOOD, tests=[CallTest("1", "add", [1, 2], expected=3)], limits=LIMITS)
    if failures == 1:
        assert confined.run_sync(job).tests[0].passed
    else:
        with pytest.raises(SandboxError, match="fork server failed"):
            confined.run_sync(job)
