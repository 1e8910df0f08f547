"""Whatever a policy writes: a verdict, quickly, and never an exception."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.envs.verify import Reason, equal, verify
from palaestra.envs.verify.compare import NeedsWorker, compare_texts

COMMANDS = r"""
\frac \sqrt \sin \cos \ln \log \pi \infty \pm \mp \le \ge \ne \in \cup \setminus \mathbb{R} \text{cm} \text{or} \left(
\right) \left[ \right] \{ \} \begin{pmatrix} \end{pmatrix} \\ & \overline \binom \sum \int \lfloor \rfloor \circ \% \$
\cdot \times \div \emptyset \langle \rangle \ldots \boxed \angle \begin{cases} \end{cases} \mid 10 3.14 1,000 ** and
0.\overline{3}
"""
PIECES = COMMANDS.split() + list("0123456789+-*/^_(){}[]|!'=<>,;:.xyzabie%$&~\" ")


def soup(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 40)))


@pytest.mark.slow
def test_twenty_thousand_random_formulas():
    rng = random.Random(7)
    slow, heavy = [], 0
    for _ in range(20_000):
        gold, answer = (
            rng.choice(("5", r"\frac{1}{2}", r"\{1,2\}", r"(-\infty,2]", r"x^2+1", r"\sqrt{2}", "(1,2)")),
            soup(rng),
        )
        start = time.process_time()
        try:
            compare_texts(gold, answer, heavy=False)
        except NeedsWorker:
            heavy += 1
        if time.process_time() - start > 0.05:
            slow.append(answer)
    assert len(slow) <= 2, slow  # a garbage collection may fall into one
    assert heavy < 4_000


def test_random_formulas_in_the_worker():
    rng = random.Random(11)
    for _ in range(300):
        answer = soup(rng)
        assert equal(r"\sqrt{2}+x", answer).reason in Reason


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_judged(text):
    assert isinstance(verify("17.5", f"\\boxed{{{text}}}").ok, bool)
    assert isinstance(verify("17.5", text).ok, bool)


@pytest.mark.parametrize(
    "text", ["\x00", "5\x00", "\ud800", "5\ud800", "\\boxed{\ud83d}", "\u202e5", "<|im_end|>", "{}", "\\"]
)
def test_odd_bytes(text):
    assert not verify("6", text) and not verify("6", f"\\boxed{{{text}}}")


@pytest.mark.parametrize(
    "answer",
    [
        "(" * 1000 + "2" + ")" * 1000, "[" * 300, "{" * 300 + "2" + "}" * 300, "|" * 1500, "-" * 1900 + "2",
        "2^" * 600 + "2",
        "\\sqrt" * 300 + "2", "\\sin(" * 60 + "1" + ")" * 60, "((99!)!)!", "9^{9^{9^9}}", "\\binom{10^9}{5\\cdot 10^8}",
        "x+" * 600 + "x", "\\text{" * 200 + "5" + "}" * 200, "+".join(["(12345.5)!"] * 100), "e^{e^{e^{e^{e}}}}",
        "1" * 1500, "0." + "1" * 1500, "1e999999999", "10^{-10^{10}}", "x^{10^{30}}", "\\pm 1" * 300,
    ],
)  # fmt: skip
def test_expensive_answers_are_wrong_within_a_second(answer):
    equal(r"\sqrt{2}", "1+1")  # the worker runs already
    start = time.perf_counter()
    assert not verify(r"\sqrt{2}", f"\\boxed{{{answer}}}")
    assert time.perf_counter() - start < 1.5


@pytest.mark.parametrize(
    "word", ["num", "sym", "const", "add", "mul", "div", "neg", "pow", "root", "fn", "pct", "pm", "qty", "set", "rel"]
)
def test_units_named_like_parts_of_the_tree(word):
    for answer in (f"30\\text{{ {word}}}", f"30 {word}s", f"x+30\\text{{ {word}}}", f"\\pm 3\\text{{ {word}}}"):
        for gold in (r"\sqrt{17}", "x+y", "30", r"30\text{ cm}", "[1,2]"):
            assert equal(gold, answer).reason in Reason


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{5\pm\sqrt{13}}{6}", r"\frac{5\pm\sqrt{13}}{6}<10,100"),  # an inequality without a letter
        ("3f_{16}", r"3f_{16}_0.27\overline{27}"),  # a subscript that is no plain number
        ("i", r"\binom{1+i}{1-i}"),  # complex numbers in a function of whole ones
        ("2-3i", "(2-3i)!"),
    ],
)
def test_odd_combinations_have_a_verdict(gold, answer, caplog):
    assert compare_texts(gold, answer).reason in Reason
    assert not caplog.records


def test_a_defect_makes_an_answer_wrong_and_is_logged(monkeypatch, caplog):
    monkeypatch.setattr("palaestra.envs.verify.compare.readings", lambda text: 1 / 0)
    assert compare_texts("x+1", "1+x").reason is Reason.UNDECIDED
    assert "broke the comparison" in caplog.text


def test_a_megabyte():
    start = time.perf_counter()
    assert not verify("5", "\\boxed{" + "9" * 1_000_000 + "}")
    assert not verify("5", "5" * 1_000_000)
    assert time.perf_counter() - start < 1.0
