"""Which answers are worked out, and which leave something to be done."""

import pytest

from palaestra.envs.verify import is_simplified

DONE = [
    r"2\sin x",
    "e^{2x}+C",
    r"x\ln x-x",
    r"\sqrt{x}",
    "2^n",
    "5",
    "-5",
    "0.25",
    "1,250",
    r"\frac{5}{6}",
    "5/6",
    r"-\frac{2}{4}",
    r"2\frac{1}{3}",
    "2 1/3",
    r"2\sqrt{3}",
    r"\sqrt{6}",
    r"\frac{\sqrt{3}}{2}",
    r"\frac{1+\sqrt{5}}{2}",
    r"3+\sqrt{2}, 3-\sqrt{2}",
    r"3\pm\sqrt{2}",
    r"\frac{3}{4}\pi",
    r"\pi/4",
    "3+4i",
    "-i",
    "x^2+2x+1",
    "3x-2",
    "y = 3x-2",
    "x = 7",
    r"(2,\frac{1}{2})",
    r"\{1,2\}",
    r"(-\infty,3]\cup[5,\infty)",
    r"x \ge 3",
    r"-1 < x \le 2",
    r"\begin{pmatrix} 1 & \frac{1}{2} \\ 0 & 3 \end{pmatrix}",
    r"50\%",
    r"45^\circ",
    r"12\text{ cm}",
    "1011_2",
    "3:2",
    r"\text{even}",
    "B",
    r"\emptyset",
    r"\text{no solution}",
    r"1.5\times10^3",
    r"3\pmod{7}",
    "2xy",
    r"\frac{x}{2}",
]
LEFT = [
    "2+3",
    r"2\cdot 3",
    "2^{10}",
    r"\frac12+\frac13",
    r"\sqrt{12}",
    r"\sqrt{9}",
    r"\sqrt2+\sqrt8",
    "(x+1)^2",
    "x(x+1)",
    "x+x",
    "(1+i)(2-i)",
    "i^2",
    "5!",
    r"\binom{5}{2}",
    r"\gcd(4,6)",
    r"\sin 30^\circ",
    r"\log_2 8",
    r"\frac{2+3}{4}",
    r"\frac{6}{2\cdot 3}",
    "x = 3+4",
    "(1+1, 2)",
    "[0, 1+1]",
    "x^2 < 4",
    "2x+1 > 3",
    r"\det\begin{pmatrix}1&2\\3&4\end{pmatrix}",
    "|-3|",
    "1+1/3",
    r"\{1+1, 2\}",
    r"\frac{x^2-1}{x-1}",
    "x y x",
    r"\sqrt2\cdot\sqrt3",
    "{",
    "\x00",
]


@pytest.mark.parametrize("answer", DONE)
def test_done(answer):
    assert is_simplified(answer)


@pytest.mark.parametrize("answer", LEFT)
def test_something_is_left_to_do(answer):
    assert not is_simplified(answer)
