"""Answers that equal the gold but only repeat the question, and the many ways to write a number."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import palaestra as pl
from palaestra.envs.worked_out import in_form_of, worked_out

NUMBERS = [
    "5", "-5", "+5", "− 5", "5.", "5.0", ".5", "1,560", "1{,}560", "1\\,560", "1 560", "1.5e3", "1.6E-19",
    "1.6\\times 10^{-19}", "3 x 10^8", "5\\%", "50%", "\\$5", "$5$", "5 \\text{ cm}", "5\\text{ cm}^2", "5 cm",
    "5 cm^2",
    "5 m/s", "5^\\circ", "45 degrees", "(5)", "{5}", "x=5", "5=2+3", "2+3=5", "0.\\overline{3}", "\\left(5\\right)",
    "€5", "  5  ", "\\mathbf{5}",
]  # fmt: skip
ARITHMETIC = [
    "12*13", "12\\times13", "12\\cdot 13", "12×13", "2+3", "7-2", "--5", "10/2", "\\frac{10}{2}", "2^3", "2**3", "3!",
    "\\sqrt{25}", "√25", "12(13)", "(12)(13)", "\\binom{5}{2}", "gcd(4,6)", "\\lfloor 5.5\\rfloor", "5+0", "0+5", "1*5",
    "5-0", "\\log_2 32", "2³", "\\sum_{i=1}^{5}1", "e^{\\ln 5}", "5\\cdot1", "10 choose 2", "0b101", "a" * 3000, "",
]  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_worked_out(text):
    assert worked_out(text, "5")


@pytest.mark.parametrize("text", ARITHMETIC)
def test_arithmetic_is_not(text):
    assert not worked_out(text, "5")


@pytest.mark.parametrize("text", ["1/2", "\\frac{1}{2}", "\\dfrac12", "1 1/2", "1\\frac{1}{2}", "-\\frac{3}{4}", "0.5"])
def test_fractions_are_worked_out_where_the_gold_is_one(text):
    assert worked_out(text, "\\frac{1}{2}")


@pytest.mark.parametrize("text", ["1/2+1/3", "1/2*3", "\\frac{1}{2}\\cdot 3", "(1/2)(1/3)", "1/2/3"])
def test_arithmetic_on_fractions_is_not(text):
    assert not worked_out(text, "1/2")


@pytest.mark.parametrize("gold", ["x+1", "\\{1, 2\\}", "(1, 2)", "3\\sqrt{2}", "[0, 1)", "yes", "1, 2", "B"])
def test_other_golds_are_not_looked_at(gold):
    assert worked_out("2+2", gold)


@given(st.integers(-(10**12), 10**12))
def test_every_integer_as_python_writes_it_is_worked_out(n):
    assert worked_out(str(n), str(n)) and worked_out(f"{n:,}", str(n)) and in_form_of(f"x = {n}", str(n))


@given(st.text(max_size=200))
def test_any_text_is_survived(text):
    assert worked_out(text, "7") in (True, False) and in_form_of(text, "x+1") in (True, False)


@pytest.mark.parametrize(
    ("answer", "gold", "simple"),
    [
        ("(x+1)(x+2)", "x^2+3x+2", False),
        ("x(x+3)+2", "x^2+3x+2", False),
        ("2+3x+x^2", "x^2+3x+2", True),
        ("(x^2+3x+2)", "x^2+3x+2", True),
        ("\\sqrt{8}+\\sqrt{2}", "3\\sqrt{2}", False),
        ("3\\sqrt 2", "3\\sqrt{2}", True),
        ("x^2 < 4", "(-2, 2)", False),
        ("x^2-4<0", "(-2, 2)", False),
        ("-2<x<2", "(-2, 2)", True),
        ("x^{2}-x-12 \\ge 0", "(-\\infty, -3] \\cup [4, \\infty)", False),
        ("x \\le -3 \\text{ or } x \\ge 4", "(-\\infty, -3] \\cup [4, \\infty)", True),
        ("(1+2i)(3-i)", "5+5i", False),
        ("5+5i", "5+5i", True),
    ],
)
def test_forms(answer, gold, simple):
    assert in_form_of(answer, gold) is simple


@pl.env("test/Product-v0")
def product(rng):
    a, b = (int(n) for n in rng.integers(12, 99, 2))
    return f"What is {a}*{b}?", a * b


@pytest.mark.parametrize("twin", [False, True])
def test_repeating_the_question_earns_nothing(twin):
    env = pl.make("test/Product-v0")
    question = re.search(r"(\d+)\*(\d+)", env.reset(seed=0)[0][0]["content"])
    step = asyncio.run(env.astep(f"\\boxed{{{question[0]}}}")) if twin else env.step(f"\\boxed{{{question[0]}}}")
    assert step[1] == 0.0 and step[4]["reason"] == "not_worked_out" and step[4]["feedback"][0].kind == "format"
    env.reset(seed=0)
    assert env.step(f"\\boxed{{{question[0]} = {int(question[1]) * int(question[2])}}}")[1] == 1.0


def test_generated_maths_cannot_be_answered_by_its_question():
    from palaestra.envs.maths_families import FAMILIES

    for family in FAMILIES:
        env = pl.make("palaestra/Math-v0", family=family, level=3)
        earned = 0
        for seed in range(6):
            prompt = env.reset(seed=seed)[0][-1]["content"]
            formulas = re.findall(r"\$([^$]+)\$", prompt)
            for formula in {*formulas, *(side for f in formulas for side in f.split("="))}:
                if not re.fullmatch(r"\s*-?\d+\s*", formula):  # a number of the prompt may be the answer by chance
                    earned += env.fork().step(f"\\boxed{{{formula}}}")[1]
        assert earned == 0, family
