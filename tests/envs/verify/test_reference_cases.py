"""Accuracy and time on the labelled reference cases."""

import time

from palaestra.envs.verify import verify, warm_up


def wrong(rows):
    verdicts = [(row, verify(row["gold"], row["prediction"])) for row in rows]
    accepted = [row["id"] for row, verdict in verdicts if verdict.ok and row["expected"] == "0"]
    rejected = [row["id"] for row, verdict in verdicts if not verdict.ok and row["expected"] == "1"]
    return accepted, rejected


def test_clear_cases_have_no_false_positive_and_at_least_97_percent_are_right(cases):
    rows = [row for row in cases if row["policy"] == "0"]
    accepted, rejected = wrong(rows)
    assert accepted == []
    assert len(rejected) <= 0.03 * len(rows), rejected


def test_judgement_calls_are_right_in_at_least_85_percent(cases):
    rows = [row for row in cases if row["policy"] == "1"]
    accepted, rejected = wrong(rows)
    assert len(accepted) + len(rejected) <= 0.15 * len(rows), (accepted, rejected)


def test_hostile_cases_are_right_within_a_second_each(cases):
    warm_up()
    for row in cases:
        if row["category"] == "hostile":
            start = time.perf_counter()
            verdict = verify(row["gold"], row["prediction"])
            assert time.perf_counter() - start <= 1.0, row["id"]
            assert verdict.ok == (row["expected"] == "1"), row["id"]


def test_every_gold_in_a_box_equals_itself(cases):
    assert [row["id"] for row in cases if not verify(row["gold"], f"\\boxed{{{row['gold']}}}").ok] == []


def test_verdicts_repeat(cases):
    first = [verify(row["gold"], row["prediction"]) for row in cases]
    second = [verify(row["gold"], row["prediction"]) for row in cases]
    assert [(v.ok, v.reason, v.extracted) for v in first] == [(v.ok, v.reason, v.extracted) for v in second]
