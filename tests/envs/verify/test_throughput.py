"""Half of the speed the verifier is meant to have, in processor time, so that a busy machine does not matter."""

import time

import pytest

from palaestra.envs.verify import verify, warm_up

FILLER = "We simplify step by step and check each result. "
LOADS = {
    "integers": (5_000, [(str(n), f"So \\boxed{{{n}}}.") for n in range(600)]),
    "integers in 700 characters": (5_000, [(str(n), FILLER * 14 + f"\\boxed{{{n + 1}}}") for n in range(600)]),
    "fractions": (5_000, [(f"\\frac{{{n}}}{{{n + 7}}}", f"\\boxed{{{2 * n}/{2 * n + 14}}}") for n in range(1, 400)]),
    "quadratics": (
        500,
        [(f"x^2-{2 * n + 1}x+{n * n + n}", f"\\boxed{{(x-{n})(x-{n + 1})}}") for n in range(1, 120)],
    ),
    "30,000 characters": (2_500, [(str(n), FILLER * 625 + f"\\boxed{{{n}}}") for n in range(120)]),
}


@pytest.mark.parametrize("load", LOADS)
def test_verifications_per_cpu_second(load):
    floor, pairs = LOADS[load]
    verify(*pairs[0])
    start = time.process_time()
    for gold, response in pairs:
        verify(gold, response)
    assert len(pairs) / max(time.process_time() - start, 1e-9) >= floor


def test_benign_cases_per_second(cases):
    warm_up()
    rows = [row for row in cases if row["category"] != "hostile"]
    start = time.process_time()
    for row in rows:
        verify(row["gold"], row["prediction"])
    assert len(rows) / max(time.process_time() - start, 1e-9) >= 250
