"""A sample of what passed is run again on inputs nobody has seen."""

from __future__ import annotations

import asyncio

import pytest

from palaestra.sandbox import CallTest, Job, run_batch_with_fresh_inputs

HONEST = "def double(n): return 2 * n"
MEMORISED = "def double(n): return {1: 2, 3: 6}[n]"
KNOWN = [CallTest("a", "double", [1], expected=2), CallTest("b", "double", [3], expected=6)]


def fresh(job, rng):
    n = rng.randrange(100, 10**6)
    return [CallTest("again", "double", [n], expected=2 * n)]


def look(sandbox, codes, **options):
    jobs = [Job(code=code, tests=KNOWN) for code in codes]
    return asyncio.run(run_batch_with_fresh_inputs(sandbox, jobs, fresh, **options))


def test_who_knows_the_tests_by_heart_fails_the_fresh_ones(confined):
    honest, memorised, wrong = look(confined, [HONEST, MEMORISED, "def double(n): return n"], share=1)
    assert [(test.id, test.passed) for test in honest.tests] == [("a", True), ("b", True), ("fresh/again", True)]
    assert [(test.id, test.passed) for test in memorised.tests] == [("a", True), ("b", True), ("fresh/again", False)]
    assert memorised.verdict == "exception"
    assert [test.id for test in wrong.tests] == ["a", "b"]  # has failed anyway


def test_the_sample_follows_its_seed_and_share(confined):
    def chosen(**options):
        return [len(result.tests) == 3 for result in look(confined, [HONEST] * 12, **options)]

    assert chosen(share=0.5, seed=1) == chosen(share=0.5, seed=1)
    assert 0 < sum(chosen(share=0.5, seed=1)) < 12
    assert not any(chosen(share=0))


def test_bad_requests_are_named(confined):
    with pytest.raises(ValueError, match="share is 2"):
        look(confined, [HONEST], share=2)
    with pytest.raises(ValueError, match="has no tests"):
        asyncio.run(run_batch_with_fresh_inputs(confined, [Job(code="1")], fresh))
