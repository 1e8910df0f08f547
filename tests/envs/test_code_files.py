"""Small files in the column layouts of the published code sets, each row solved by its own reference solution."""

import base64
import json
import pickle
import zlib

import pytest

import palaestra as pl
from palaestra.envs.code import grade_problem, load_file
from palaestra.envs.code.grading import shared_sandbox
from palaestra.sandbox import SandboxError


def packed(cases):
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


SUM = "a, b = map(int, input().split())\nprint(a + b)\n"
TWO_SUM = (
    "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n"
    "        seen = {}\n        for i, n in enumerate(nums):\n            if target - n in seen:\n"
    "                return [seen[target - n], i]\n            seen[n] = i\n"
)
APPS = [
    {
        "problem_id": 0,
        "question": "Add two numbers.\u2028-----Input-----\na and b",
        "solutions": json.dumps([SUM]),
        "input_output": json.dumps({"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}),
        "difficulty": "introductory",
        "url": "https://example.org/0",
        "starter_code": "",
    },
    {
        "problem_id": 1,
        "question": "Two numbers with a given sum.",
        "solutions": json.dumps(["from typing import List\n" + TWO_SUM]),
        "input_output": json.dumps(
            {"fn_name": "twoSum", "inputs": [[[2, 7, 11], 9], [[3, 3], 6]], "outputs": [[0, 1], [[0, 1]]]}
        ),
        "difficulty": "interview",
        "url": "https://example.org/1",
        "starter_code": "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n        ",
    },
    {"problem_id": 2, "question": "No tests.", "solutions": "", "input_output": "", "difficulty": "", "url": "",
     "starter_code": ""},
    {"problem_id": 3, "question": "Half a file.", "solutions": "", "input_output": "{\"inputs\": [", "difficulty": "",
     "url": "", "starter_code": ""},
]  # fmt: skip
TACO = [
    {
        "question": "Print the lines in reverse.",
        "solutions": json.dumps(["import sys\nprint(*reversed(sys.stdin.read().split('\\n')), sep='\\n')"]),
        "starter_code": "",
        "input_output": json.dumps({"inputs": [["a", "b"]], "outputs": [["b", "a"]]}),
        "difficulty": "EASY", "raw_tags": "[]", "name": None, "source": "codeforces", "tags": "[]",
        "skill_types": "[]", "url": None, "Expected Auxiliary Space": None, "time_limit": "1 second", "date": None,
        "picture_num": "0", "memory_limit": "256 megabytes", "Expected Time Complexity": None,
    }
]  # fmt: skip
LIVECODEBENCH = [
    {
        "question_title": "A. Sum", "question_content": "Add.", "platform": "codeforces", "question_id": "1873_A",
        "contest_id": "1873", "contest_date": "2023-08-21T00:00:00", "starter_code": "", "difficulty": "easy",
        "public_test_cases": json.dumps([{"input": "1 2", "output": "3", "testtype": "stdin"}]),
        "private_test_cases": packed([{"input": "5 6", "output": "11", "testtype": "stdin"}]),
        "metadata": "{}", "reference": SUM,
    },
    {
        "question_title": "two-sum", "question_content": "Find them.", "platform": "leetcode", "question_id": "2777",
        "contest_id": "weekly", "contest_date": "2023-05-01T00:00:00", "difficulty": "medium",
        "starter_code": "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n        ",
        "public_test_cases": json.dumps([{"input": "[2, 7]\n9", "output": "[0, 1]", "testtype": "functional"}]),
        "private_test_cases": packed([{"input": "[3, 3]\n6", "output": "[0, 1]", "testtype": "functional"}]),
        "metadata": json.dumps({"func_name": "twoSum"}), "reference": "from typing import List\n" + TWO_SUM,
    },
]  # fmt: skip
HUMANEVAL = [
    {
        "task_id": "HumanEval/0",
        "prompt": "from typing import List\n\n\ndef close(numbers: List[float], t: float) -> bool:\n"
        '    """ Are any two numbers closer than t?\n    >>> close([1.0, 2.0], 0.5)\n    False\n    """\n',
        "canonical_solution": "    for i, a in enumerate(numbers):\n        for b in numbers[i + 1:]:\n"
        "            if abs(a - b) < t:\n                return True\n\n    return False\n",
        "test": "\n\nMETADATA = {\n    'author': 'x',\n    'dataset': 'test'\n}\n\n\ndef check(candidate):\n"
        "    assert candidate([1.0, 2.0, 3.9], 0.3) == False\n    assert candidate([1.0, 1.1], 0.3) == True\n\n",
        "entry_point": "close",
    }
]
MBPP = [
    {
        "task_id": 11, "text": "Write a function to add.", "code": "def add(a, b):\r\n    return a + b",
        "test_list": ["assert add(1, 2) == 3", "assert add(0, 5) == 5"], "test_setup_code": "",
        "challenge_test_list": [],
    },
    {
        "source_file": "x.ipynb", "task_id": 12, "prompt": "Write a function for the area of a circle.",
        "code": "import math\ndef area(r):\n    return math.pi * r * r", "test_imports": ["import math"],
        "test_list": ["assert math.isclose(area(1), 3.14159, rel_tol=0.001)"],
    },
]  # fmt: skip

# name -> rows, and the reply that its reference solution makes of a row
FILES = {
    "apps": (APPS, lambda row: json.loads(row["solutions"])[0]),
    "taco": (TACO, lambda row: json.loads(row["solutions"])[0]),
    "livecodebench": (LIVECODEBENCH, lambda row: row["reference"]),
    "humaneval": (HUMANEVAL, lambda row: row["canonical_solution"]),
    "mbpp": (MBPP, lambda row: row["code"]),
}


def fenced(code):
    return f"```python\n{code}\n```"


@pytest.fixture(scope="module", autouse=True)
def sandbox():
    try:
        return shared_sandbox()
    except SandboxError as error:
        pytest.skip(f"no sandbox here: {error}")


def write(tmp_path, name, rows, ending=".jsonl"):
    path = tmp_path / f"{name}{ending}"
    if ending == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        import pyarrow.parquet as parquet

        columns = dict.fromkeys(name for row in rows for name in row)
        parquet.write_table(arrow.table({name: [row.get(name) for row in rows] for name in columns}), path)
    else:
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_published_solutions_pass_and_others_fail(tmp_path, name, ending):
    rows, solution = FILES[name]
    loaded = load_file(write(tmp_path, name, rows, ending), 1, 0.0)
    usable = [row for row in rows if row.get("input_output", "{}") not in ("", '{"inputs": [')]
    assert len(loaded.problems) == len(usable)
    for problem, row in zip(loaded.problems, usable, strict=True):
        assert grade_problem(problem, fenced(solution(row))).reward == 1.0, row
        assert grade_problem(problem, fenced("def nothing(): pass"), "all").reward == 0.0


def test_rows_that_cannot_be_used_are_left_out_with_a_reason(tmp_path, caplog):
    path = write(tmp_path, "apps", APPS)
    loaded = load_file(path)
    assert [number for number, _ in loaded.dropped] == [2, 3]
    assert all("input_output" in reason for _, reason in loaded.dropped) and "2 of 4 rows left out" in caplog.text
    env = pl.make("palaestra/Code-v0", tasks=path)
    prompts = {env.reset(seed=seed)[0][0]["content"].split("\n")[0] for seed in range(12)}
    assert len(prompts) == 2
    with pytest.raises(ValueError, match="no usable problem; row 0: input_output"):
        load_file(write(tmp_path, "none", APPS[2:]))
    with pytest.raises(ValueError, match="the file is empty"):
        load_file(write(tmp_path, "empty", []))


def test_private_tests_stay_private(tmp_path):
    problems = load_file(write(tmp_path, "lcb", LIVECODEBENCH)).problems
    assert "5 6" not in problems[0].prompt and "1 2" in problems[0].prompt
    result = grade_problem(problems[0], fenced("print(3)"))
    assert result.reward == 0.5 and "11" not in result.feedback.text and "5 6" not in result.feedback.text


@pytest.mark.parametrize("value", [3, [], {"inputs": 3, "outputs": 4}, {"inputs": [1]}, "[]", "null"])
def test_malformed_tests_are_a_reason_and_no_crash(tmp_path, value):
    row = {"question": "?", "input_output": value, "starter_code": ""}
    loaded = load_file(write(tmp_path, "bad", [row, APPS[0]]))
    assert len(loaded.problems) == 1 and loaded.dropped[0][0] == 0
