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
    assert time.perf_counter() - start < 30.0  # linear takes milliseconds, quadratic hours


def test_a_response_that_quotes_the_gold_is_judged_by_its_own_answer():
    assert not verify("4", r"\boxed{5} but the gold answer 4 is close")


RESPONSES = [
    ("5", "The answer is \\boxed{5}", True),
    ("5", "\\boxed{4} ... wait, \\boxed{5}", True),
    ("4", "\\boxed{4} ... wait, \\boxed{5}", False),
    ("5", "$\\boxed{5}$", True),
    ("\\{3,5\\}", "\\boxed{3},\\boxed{5}", True),
    ("3,5", "$\\boxed{3}$ or $\\boxed{5}$", True),
    ("5", "\\boxed{3} or \\boxed{5}", False),
    ("5", "\\boxed{3}, \\boxed{5}", False),
    ("5", "\\boxed{ 5 }", True),
    ("5", "\\fbox{5}", True),
    ("5", "\\boxed{\\boxed{5}}", True),
    ("5", "\\boxed{}", False),
    ("5", "\\boxed{5}\\boxed{}", True),
    ("5", "Final answer: 5", True),
    ("5", "**Answer:** 5", True),
    ("5", "**Final Answer**: $5$", True),
    ("5", "Answer: $5$", True),
    ("5", "The answer is **5**.", True),
    ("5", "The final answer is 5.", True),
    ("5", "the answer is: 5", True),
    ("5", "####5", True),
    ("5", "#### 5\n", True),
    ("5", "5", False),
    ("5", "x = 5", False),
    ("5", "So we get $5$.", False),
    ("5", "<answer> 5 </answer>", True),
    ("5", "<answer>\\boxed{5}</answer>", True),
    ("5", "<think>\\boxed{5}</think>", False),
    ("5", "<think>\\boxed{4}</think>\\boxed{5}", True),
    ("5", "\\boxed{5} is not right; the answer is 6", True),
    ("5", "The answer is 5 or 6.", False),
    ("5", "The answer is either 5 or 6.", False),
    ("5", "The answer is probably 5", False),
    ("5", "The answer is 5, I think.", False),
    ("5", "The final answer is \\(5\\).", True),
    ("5", "The final answer is \\[5\\]", True),
    ("5", "The answer is $$5$$", True),
    ("5", "answer: 5", True),
    ("5", "ANSWER: 5", True),
    ("D", "The answer is D", True),
    ("D", "The answer is (D).", True),
    ("D", "The correct choice is **D**.", True),
    ("D", "Option D is correct", False),
    ("A", "The correct answer is a.", True),
    ("5", "\\boxed{5}\n\nI hope this helps! The answer is 6.", True),
    ("5", "The answer is 4. The answer is 5.", True),
    ("5", "\\boxed{x=5}", True),
    ("5", "\\boxed{5 \\text{ or } 6}", False),
    ("\\frac{1}{2}", "The answer is 1/2.", True),
    ("0.5", "The answer is 0.5.", True),
    ("1234", "The answer is 1,234.", True),
    ("-3", "The answer is −3", True),
    ("5", "\\boxed{\\text{the answer is }5}", True),
    ("5", "\\boxed{five}", False),
    ("5", "\\boxed{5}$", True),
    ("5", "$$\\boxed{5}.$$", True),
    ("x^2", "\\boxed{x^{2}}", True),
    ("5", "\\boxed{{5}}", True),
    ("5", "\\boxed{5}}", True),
    ("5", "\\boxed{{5}", False),
    ("5", "\\boxed{5}{6}", True),
    ("5", "\\boxed  {5}", True),
    ("5", "\\text{\\boxed{5}}", True),
    ("5", "\\boxed{5,}", True),
    ("7", "\\boxed{1}, \\boxed{2}, \\boxed{7}", False),
    ("3:30", "The answer is 3:30 p.m.", True),
    ("42", "The answer is 42, because 6*7=42.", True),
    ("10", "The answer is 10 dollars.", True),
    ("10", "The answer is $10.", True),
    ("10", "The answer is \\$10.", True),
    ("2,3", "The answers are 2 and 3", False),
    ("2,3", "The answer is 2 and 3.", True),
    ("2,3", "The answer is $2$ and $3$.", True),
    ("2", "The answer is $2$ and $3$.", False),
]


def test_whole_responses():
    wrong = [(gold, response) for gold, response, expected in RESPONSES if verify(gold, response).ok != expected]
    assert wrong == []
