"""Code tasks: problems with public, feedback and hidden tests, graded in the sandbox.

grade_code({"tests": [...]}, response, task) -> Result      what the core calls for an answer with tests
load_problem(row) -> Problem                                APPS/TACO, LiveCodeBench, HumanEval and MBPP rows
load_file(path) -> problems, dropped                        a file of such rows
FAMILIES[name](rng, level) -> Problem                       eight generated families
"""

from __future__ import annotations

from .env import code
from .families import FAMILIES
from .files import load_file
from .formats import load_problem
from .grading import grade_code, grade_problem
from .problem import CodeTest, Problem, from_gold

__all__ = [
    "FAMILIES",
    "CodeTest",
    "Problem",
    "code",
    "from_gold",
    "grade_code",
    "grade_problem",
    "load_file",
    "load_problem",
]
