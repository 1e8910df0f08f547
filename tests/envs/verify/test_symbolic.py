"""The last resort: sympy decides what the test points cannot, only when asked, and never sees text."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from palaestra.envs.verify import Reason, equal, verify
from palaestra.envs.verify import pool as pools

needs_sympy = pytest.mark.skipif(importlib.util.find_spec("sympy") is None, reason="sympy is not installed")


@needs_sympy
@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (r"\int_0^1 x^2\,dx", r"\frac13", r"\frac12"),
        (r"\sum_{k=1}^n k^2", r"\frac{n(n+1)(2n+1)}{6}", r"\frac{n(n+1)(2n-1)}{6}"),
        (r"\lim_{x\to 0}\frac{\sin x}{x}", "1", "0"),
        (r"\prod_{k=1}^n k", "n!", "(n+1)!"),
    ],
)
def test_an_unevaluated_gold_is_evaluated_when_asked(gold, right, wrong):
    assert verify(gold, f"\\boxed{{{right}}}", ["sympy"]).ok
    assert not verify(gold, f"\\boxed{{{wrong}}}", ["sympy"]).ok
    unasked = verify(gold, f"\\boxed{{{right}}}")
    assert not unasked.ok and unasked.reason is Reason.UNDECIDED


def test_a_restated_task_stays_wrong():
    assert verify("1", r"\boxed{\int_0^1 2x\,dx}", ["sympy"]).reason is Reason.RESTATED


@needs_sympy
def test_what_takes_too_long_is_killed():
    verdict = pools.pool().compare(r"\sum_{k=1}^{10^{9}} k^k", "5", 1.5, last_resort=True)
    assert not verdict.ok and verdict.reason is Reason.TIMEOUT


def test_without_sympy_the_verdict_is_the_usual_one(tmp_path):
    """A worker whose path hides sympy answers as if it had not been asked."""
    (tmp_path / "sympy.py").write_text("raise ImportError('hidden')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from palaestra.envs.verify import verify\n"
        r"print(verify(r'\int_0^1 x\,dx', r'\boxed{\frac12}', ['sympy']).reason)"
    )
    above = Path(pools.__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(above)}
    )
    assert done.stdout.strip() == "undecided", done.stderr


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        (r"\sqrt{-1-x^2}", r"i\sqrt{1+x^2}", True),  # no real value anywhere: principal values decide
        (r"\sqrt{-1-x^2}", r"-i\sqrt{1+x^2}", False),
        (r"\ln(-1-x^2)", r"\ln(1+x^2)+i\pi", True),
        (r"\arcsin(2+x^2)", r"\arcsin(x^2+3)", False),
        (r"\sqrt{x^2}", "x", False),  # real values decide, and they differ at negative x
        ("e^{2\\ln x}", "x^2", True),
    ],
)
def test_complex_values_decide_only_where_there_are_no_real_ones(gold, answer, same):
    assert equal(gold, answer).ok == same


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        (r"\sum_{k=1}^{n}k^2", r"\sum_{j=1}^n j^{2}", True),
        (r"\sum_{k=1}^{n}k^2", r"\sum_{k=1}^{n}k^3", False),
        (r"\sum_{k=1}^{n}k^2", r"\sum_{k=0}^{n}k^2", False),
        (r"\sum_{k=1}^{n}k^2", r"\sum_{k=1}^{m}k^2", False),
        (r"2\int_0^{1/2} e^{-x^2}dx", r"2\int_0^{\frac12} e^{-t^2}\,\mathrm{d}t", True),
        (r"\int_0^1 e^{-x^2}dx", r"\int_0^1 e^{-x}dx", False),
        (r"\lim_{n\to\infty} a_n", r"\lim_{m \to \infty} a_n", True),
        (r"\lim_{x\to 0^+} f", r"\lim_{x\to 0^-} f", False),
    ],
)
def test_operators_both_answers_contain_are_compared_part_by_part(gold, answer, same):
    assert equal(gold, answer).ok == same
