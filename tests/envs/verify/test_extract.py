"""Where the answer of a response is."""

import time

import pytest

from palaestra.envs.verify import Reason, verify
from palaestra.envs.verify.extract import extract


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{5}", "5"),
        (r"first \boxed{3}. Checking again: \boxed{5}", "5"),
        (r"\boxed{3} and \boxed{5}", "3, 5"),
        (r"$\boxed{3}$, $\boxed{5}$ or $\boxed{7}$", "3, 5, 7"),
        (r"\fbox{5}", "5"),
        (r"\boxed 5", "5"),
        (r"\boxed{\boxed{5}}", r"\boxed{5}"),
        (r"\boxed{\frac{1}{2}} then \boxed{", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"<think>\boxed{4}</think> \boxed{5}", "5"),
        (r"thinking \boxed{4}</think> \boxed{5}", "5"),
        (r"<think>\boxed{4}</think> The answer is 5.", "5"),
        ("<answer>42</answer>", "42"),
        ("<answer>1</answer> no, <answer> 42 </answer>", "42"),
        ("steps\n#### 1,234", "1,234"),
        ("The final answer is $42$. I hope it is correct.", "42"),
        ("**Final Answer:** 3/4", "3/4"),
        ("**Answer**: 42\nmore", "42"),
        ("**Final Answer**\n\nThe answer is:\n42", "42"),
        ("Answer: x = 3", "x = 3"),
        ("The correct option is D.", "D"),
        ("The answer is 12 or maybe 13", "12 or maybe 13"),
        ("The answer is $12$ or $13$.", "$12$ or $13$"),
        ("The answer is 3.5 metres. Done.", "3.5 metres"),
    ],
)
def test_found(response, answer):
    assert extract(response).text == answer


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("", Reason.NO_ANSWER),
        ("We tried 41, 42 and 43.", Reason.NO_ANSWER),
        ("$42$", Reason.NO_ANSWER),
        (r"\boxed{5", Reason.UNTERMINATED_BOX),
        (r"\boxed{}", Reason.EMPTY_ANSWER),
        (r"<think>\boxed{5}", Reason.NO_ANSWER),
        (r"<think>\boxed{5}</think>", Reason.NO_ANSWER),
        ("answer " * 8000, Reason.NO_ANSWER),
    ],
)
def test_not_found(response, reason):
    found = extract(response)
    assert found.text is None and found.reason is reason


def test_only_the_end_of_a_long_response_counts():
    assert extract(r"\boxed{1}" + " " * 70_000).text is None
    assert extract("x" * 5_000_000 + r"\boxed{1}").text == "1"


@pytest.mark.parametrize(
    "piece",
    ["\\boxed{", "\\boxed", "\\boxed{5}, ", "<think>", "</think>", "<answer>", "####", "$", "}{", "answer is ", "\\"],
)
def test_floods_take_linear_time(piece):
    start = time.perf_counter()
    extract((piece * 100_000)[:500_000] + "5")
    assert time.perf_counter() - start < 1.0


def test_a_response_that_quotes_the_gold_is_judged_by_its_own_answer():
    assert not verify("4", r"\boxed{5} but the gold answer 4 is close")
