"""Code tasks: families and their solutions, feedback without hidden outputs, formats, checkers.

The default run takes a few seeds of each family; PALAESTRA_CODE_SEEDS=200 takes as many as one wants (about ten minutes
of two cores; a quarter of the seeds for the slow solutions).
"""

import base64
import json
import os
import pickle
import zlib
from dataclasses import replace

import numpy as np
import pytest

import palaestra as pl
from palaestra.envs.code import FAMILIES, from_gold, grade_code, grade_problem, load_problem
from palaestra.envs.code.checkers import apps_data, decimal_lines, exact_data
from palaestra.envs.code.families.refactor import uses_no_loops
from palaestra.envs.code.formats import unpack
from palaestra.envs.code.grading import shared_sandbox
from palaestra.envs.code.problem import call, extract_code, stdio
from palaestra.sandbox import SandboxError

SEEDS = int(os.environ.get("PALAESTRA_CODE_SEEDS", "8"))
SLOW_SEEDS = max(1, SEEDS // 4)
NAN = float("nan")


@pytest.fixture(scope="module", autouse=True)
def sandbox():
    try:
        return shared_sandbox()
    except SandboxError as error:
        pytest.skip(f"no sandbox here: {error}")


def fenced(code, language="python"):
    return f"Here it is.\n```{language}\n{code}\n```\n"


def problem_of(family, seed):
    return FAMILIES[family](np.random.default_rng(seed), 1 + seed % 3)


# ---- families -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_reference_passes_and_the_wrong_solution_fails(family):
    for seed in range(SEEDS):
        problem = problem_of(family, seed)
        good = grade_problem(problem, problem.solutions["reference"])
        assert good.reward == 1.0 and good.reason == "correct", (seed, good)
        bad = grade_problem(problem, problem.solutions["wrong"], "all")
        assert bad.reward is not None and bad.reward < 1.0, (seed, bad)


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "predict"])
def test_the_slow_solution_runs_into_the_time_limit(family):
    for seed in range(SLOW_SEEDS):
        problem = replace(problem_of(family, seed), time_limit=0.4)
        result = grade_problem(problem, problem.solutions["slow"], "all")
        assert result.reward == 0.0 and result.reason == "time_limit", (seed, result)


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_same_problem_and_hidden_tests_vary(family):
    first, again, other = problem_of(family, 3), problem_of(family, 3), problem_of(family, 6)
    assert first.prompt == again.prompt and first.prompt != other.prompt
    assert dict(first.solutions) == dict(again.solutions)


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_outputs_are_neither_in_the_prompt_nor_in_feedback(family):
    for seed in range(3):
        problem = problem_of(family, seed)
        texts = [problem.prompt]
        attempts = ("", "no block", fenced("def solve(*a):\n    return None"), problem.solutions["wrong"])
        for attempt in attempts:
            result = grade_problem(problem, attempt)
            texts.append(result.feedback if isinstance(result.feedback, str) else result.feedback.text)
        for item in problem.tests:
            if item.visibility == "hidden" and len(item.shown_output) > 8:
                shown = [t.shown_output for t in problem.tests if t.visibility != "hidden"]
                if item.shown_output not in shown:
                    assert not any(item.shown_output in text for text in texts)
        assert all(len(text) <= 1200 for text in texts[1:])


def test_public_outputs_learned_by_heart_fail():
    problem = problem_of("function", 2)
    table = {repr(t.test.args[0]): t.test.expected for t in problem.tests if t.visibility == "public"}
    lookup = fenced(f"def solve(x):\n    return {table!r}[repr(x)]")
    result = grade_problem(problem, lookup)
    assert result.reward == pytest.approx(0.2) and grade_problem(problem, lookup, "all").reward == 0.0


def test_the_environment_from_reset_to_reward():
    env = pl.make("palaestra/Code-v0", family="function")
    (message,), _ = env.reset(seed=4)
    assert "solve(x)" in message["content"]
    (reply,) = env.oracle()
    _, reward, terminated, _, info = env.step(reply)
    assert reward == 1.0 and terminated and info["scores"]["passed"] == 1.0
    env.reset(seed=4)
    *_, info = env.step(fenced("def solve(x):\n    return x[0]['a']"))
    assert info["feedback"][0].kind == "error" and "line 2" in info["feedback"][0].text


@pytest.mark.parametrize("knobs", [{"family": "none"}, {"level": 7}, {"reward": "half"}])
def test_bad_knobs_are_named(knobs):
    with pytest.raises(Exception, match=next(iter(knobs))):
        pl.make("palaestra/Code-v0", **knobs).reset(seed=0)


def test_loops_are_found():
    for code in ("for i in x: pass", "while 1: pass", "[i for i in x]", "sum(i for i in x)", "exec('for')"):
        assert uses_no_loops(code)
    assert not uses_no_loops("def f(n):\n    return n and f(n - 1)") and not uses_no_loops("def (")


# ---- grading and feedback -------------------------------------------------------------------------------------------

ADD = {
    "tests": [{"args": [1, 2], "expected": 3, "visibility": "public"}, {"args": [3, 4], "expected": 7}],
    "entry": "add",
}


def graded(code, gold=ADD):
    result = grade_code(gold, fenced(code), None)
    return result, result.feedback if isinstance(result.feedback, str) else result.feedback.text


def test_feedback_names_the_failure():
    result, text = graded("def add(a, b):\n    return a - b")
    assert result.reward == 0.0 and result.reason == "wrong_answer"
    assert "Wrong Answer" in text and "add(1, 2)" in text and "returned -1" in text and "Expected: 3" in text
    result, text = graded("def add(a, b):\n    if a == 3:\n        return [][0]\n    return a + b")
    assert result.reward == 0.5 and result.reason == "runtime_error"
    assert "Hidden test failed: runtime error IndexError at line 3" in text and "7" not in text
    result, text = graded("def add(a, b)\n    return 1")
    assert "did not load" in text and "SyntaxError" in text
    result, text = graded("def plus(a, b):\n    return 1")
    assert result.reward == 0.0 and "Runtime Error" in text


def test_a_hidden_input_cannot_leave_through_the_name_of_an_exception():
    _, text = graded(
        "def add(a, b):\n    if a == 1: return 3\n    raise type(f'Value{a}{b}Error', (Exception,), {})(a)"
    )
    assert "34" not in text and "Hidden test failed" in text


def test_a_reply_without_code_is_a_format_error():
    for reply in ("", "I think 3.", "```python\n", "```\n```", "<think>\n```python\nx=1\n```\n</think>"):
        result = grade_code(ADD, reply, None)
        assert (result.reward, result.reason) == (0.0, "no_code")


@pytest.mark.parametrize(
    "cheat",
    [
        "import os\ndef add(a, b):\n    os._exit(0)",
        "import sys\nsys.exit(0)",
        "class E(int):\n    def __eq__(self, o):\n        return True\ndef add(a, b):\n    return E(0)",
        "def add(a, b):\n    raise SystemExit(0)",
        "print('OK')",
    ],
)
def test_cheats_earn_nothing(cheat):
    result, _ = graded(cheat)
    assert result.reward == 0.0


def test_programs_and_assertions_as_tests():
    gold = {"tests": [{"input": "1 2\n", "output": "3\n", "visibility": "public"}, {"input": "5 6\n", "output": "11"}]}
    result, _ = graded("print(sum(map(int, input().split())))", gold)
    assert result.reward == 1.0
    result, text = graded("print(3)", gold)
    assert result.reward == 0.5 and "11" not in text
    asserts = {"tests": ["assert add(1, 2) == 3", {"assert": "assert add(2, 2) == 4", "visibility": "public"}]}
    assert graded("def add(a, b):\n    return a + b", asserts)[0].reward == 1.0
    assert graded("def add(a, b):\n    return 3", asserts)[0].reward == 0.5


def test_an_author_chooses_how_outputs_are_compared():
    def gold(*tests):
        return {"tests": list(tests), "entry": "f"}

    third = "def f():\n    return 1 / 3\nprint(f())\nprint('b a')"
    near = {"args": [], "expected": 0.333333, "checker": "float", "tolerance": 1e-5}
    assert graded(third, gold(near))[0].reward == 1.0
    assert graded(third, gold({**near, "tolerance": 1e-9}))[0].reward == 0.0
    assert graded(third, gold({"args": [], "expected": 0.333333}))[0].reward == 0.0
    words = {"input": "", "output": "0.333333 b a", "checker": "float"}
    assert graded(third, gold(words))[0].reward == 1.0
    assert graded("print('b')\nprint('a')", gold({"input": "", "output": "a\nb"}))[0].reward == 0.0
    lines = {"input": "", "output": "a\nb", "checker": "unordered_lines"}
    assert graded("print('b')\nprint('a')", gold(lines))[0].reward == 1.0
    own = {"args": [], "expected": 0, "checker": lambda got, expected: got > expected}
    assert graded(third, gold(own))[0].reward == 1.0
    with pytest.raises(ValueError, match="exactly"):
        from_gold(gold({"input": "", "output": "", "checker": "exactly"}))


def test_malformed_tests_are_named():
    with pytest.raises(ValueError, match="tests\\[0\\]"):
        from_gold({"tests": [{"foo": 1}]})
    with pytest.raises(ValueError, match="visibility"):
        from_gold({"tests": [{"input": "", "output": "", "visibility": "open"}]})
    with pytest.raises(ValueError, match="at least one"):
        from_gold({"tests": []})


def test_a_sandbox_that_fails_is_no_score():
    class Broken:
        def run_sync(self, job):
            raise SandboxError("gone")

    result = grade_problem(problem_of("function", 0), fenced("def solve(x): return x"), sandbox=Broken())
    assert result.reward is None and "gone" in result.error


@pytest.mark.parametrize(
    ("reply", "language", "code"),
    [
        ("```python\na = 1\n```", "python", "a = 1\n"),
        ("```python\na = 1\n```\nor\n```python\nb = 2\n```", "python", "b = 2\n"),
        ("```python\na = 1\n```\nprints\n```\n1\n```", "python", "a = 1\n"),
        ("```\na = 1\n```", "python", "a = 1\n"),
        ("def f():\n    return 1", "python", "def f():\n    return 1"),
        ("A sentence.", "python", None),
        ("```sql\nSELECT 1\n```", "sql", "SELECT 1\n"),
        ("```text\n[1]\n```", "text", "[1]\n"),
        ("<think>```python\na\n```</think>\n```python\nb\n```", "python", "b\n"),
        ("```python\na = 1", "python", None),
    ],
)
def test_extracting_code(reply, language, code):
    assert extract_code(reply, language) == code


# ---- checkers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        ("1", "1", True), ("1\n", "1", True), (" 1 ", "1", True), ("1.0", "1", True), ("1e2", "100", True),
        ("50000000000000001", "5e16", False), ("0.1", "0.10", True), ("0.30000000000000004", "0.3", False),
        ("1 2", "1  2", True), ("1 2", "1\n2", False), ("1\n2", "1 2", False), ("a\nb", "b\na", False), ("", "", True),
        ("", "0", False), ("nan", "nan", True), ("nan", "NaN", False), ("inf", "inf", True), ("True", "1", False),
        ("YES", "yes", False), ("1,000", "1000", False), ("-0", "0", True), ("0x10", "16", False),
        ("1\r\n2", "1\n2", True),
        ("1_000", "1000", False), ("+5", "5", True), ("1e999999999", "1", False), ("٣", "3", False),
    ],
)  # fmt: skip
def test_decimal_lines(got, expected, same):
    assert decimal_lines(got, expected) is same


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        (1, 1, True), (1, 1.0, True), (True, 1, False), (1, True, False), (True, True, True), (None, None, True),
        (None, 0, False), ((1, 2), [1, 2], True), ([1, [2]], (1, (2,)), True), ([1, 2], [2, 1], False), ("1", 1, False),
        (5 * 10**16 + 1, 5 * 10**16, False), (5 * 10**16 + 1, 5e16, False), (NAN, NAN, True), (NAN, 1.0, False),
        ({"a": (1,)}, {"a": [1]}, True), ({"a": 1}, {"b": 1}, False), ([True], [1], False), (0.1 + 0.2, 0.3, False),
        (b"a", "a", False), ({1, 2}, {2, 1}, True), ([], (), True), ("", [], False),
    ],
)  # fmt: skip
def test_exact_data(got, expected, same):
    assert exact_data(got, expected) is same


def test_apps_wraps_values_in_lists_of_one():
    assert apps_data(3, [3]) and apps_data([3], [3]) and not apps_data(3, [3, 4]) and not apps_data(True, [1])


# ---- formats --------------------------------------------------------------------------------------------------------

SUM = "a, b = map(int, input().split())\nprint(a + b)"
ROWS = {
    "apps_stdin": (
        {"question": "Add.", "input_output": '{"inputs": ["1 2\\n", "3 4\\n"], "outputs": ["3\\n", "7\\n"]}'},
        SUM,
    ),
    "apps_call": (
        {"question": "Add.", "input_output": {"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [[3], 7]}},
        "def add(a, b):\n    return a + b",
    ),
    "apps_class": (
        {"question": "Add.", "starter_code": "class Solution:\n    def add(self, a, b):", "input_output": {
            "fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}},
        "class Solution:\n    def add(self, a, b):\n        return a + b",
    ),
    "livecodebench": (
        {
            "question_content": "Add.",
            "starter_code": "class Solution:\n    def add(self, a: int, b: List[int]) -> int:",
            "metadata": json.dumps({"func_name": "add"}),
            "public_test_cases": json.dumps([{"input": "1\n[2, 3]", "output": "6", "testtype": "functional"}]),
            "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(json.dumps(
                [{"input": "4\n[]", "output": "4", "testtype": "functional"}])))).decode(),
        },
        "class Solution:\n    def add(self, a, b):\n        return a + sum(b)",
    ),
    "humaneval": (
        {
            "prompt": 'from math import floor\n\ndef half(x):\n    """Half of x, rounded down."""\n',
            "entry_point": "half",
            "test": "def check(candidate):\n    assert candidate(5) == 2\n    assert candidate(-1) == -1\n",
        },
        "def half(x):\n    return floor(x / 2)",
    ),
    "mbpp": (
        {"text": "Write a function to add.", "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]},
        "def add(a, b):\n    return a + b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_of_published_sets(name):
    row, solution = ROWS[name]
    problem = load_problem(row)
    assert grade_problem(problem, fenced(solution)).reward == 1.0
    assert grade_problem(problem, fenced("x = 1"), "all").reward == 0.0


def test_a_completion_of_the_stub_counts():
    problem = load_problem(ROWS["humaneval"][0])
    assert grade_problem(problem, fenced("    return floor(x / 2)")).reward == 1.0


def test_visibility_of_loaded_tests():
    problem = load_problem(ROWS["livecodebench"][0])
    assert [item.visibility for item in problem.tests] == ["public", "hidden"]
    assert "[2, 3]" in problem.prompt and "add(4" not in problem.prompt
    shown = load_problem(ROWS["mbpp"][0], public=0, feedback=0.5)
    assert [item.visibility for item in shown.tests] == ["feedback", "hidden"]


class Payload:
    def __reduce__(self):
        return (os.system, ("touch /tmp/palaestra-unpickled",))


@pytest.mark.parametrize("value", [Payload(), ["a"], {"a": 1}, b"bytes", ("a", "b"), 3])
def test_pickles_of_anything_but_a_text_are_refused(value):
    packed = base64.b64encode(zlib.compress(pickle.dumps(value))).decode()
    with pytest.raises(ValueError, match="pickle"):
        unpack(packed)
    assert not os.path.exists("/tmp/palaestra-unpickled")


@pytest.mark.parametrize("packed", ["", "!!", "aGVsbG8=", base64.b64encode(zlib.compress(b"\x80\x04.")).decode()])
def test_broken_packages_are_refused(packed):
    with pytest.raises(ValueError):
        unpack(packed)


def test_unknown_rows_list_their_columns():
    with pytest.raises(ValueError, match="colour"):
        load_problem({"colour": "red"})


def test_tasks_from_a_file(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text(
        "".join(json.dumps(row) + "\n" for row, _ in ROWS.values() if isinstance(row.get("input_output", ""), str))
    )
    env = pl.make("palaestra/Code-v0", tasks=str(path), reward="all")
    solved = 0
    for seed in range(6):
        env.reset(seed=seed)
        solved += max(float(env.fork().step(fenced(solution))[1]) for _, solution in ROWS.values())
    assert solved == 6.0


def test_helpers_make_tests():
    assert call("1", "f", [1], 2, "public").shown_input == "f(1)" and stdio("1", "a", "b", "hidden").shown_output == "b"
