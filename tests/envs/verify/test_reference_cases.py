"""Accuracy and time on the labelled reference cases."""

import re
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


def test_a_gold_with_one_digit_or_sign_changed_is_another_answer(cases):
    """No shortcut may look past a digit, a sign or a bracket; golds whose value survives the change are left out."""
    accepted = []
    for gold in {row["gold"] for row in cases if "\\textbf" not in row["gold"]}:
        changed = {
            gold[: m.start()] + str((int(m[0]) + 3) % 10) + gold[m.end() :] for m in re.finditer(r"[0-9]", gold)
        } | {gold[: m.start()] + "+-"[m[0] == "+"] + gold[m.end() :] for m in re.finditer(r"[-+](?!\\infty)", gold)}
        accepted += [(gold, other) for other in changed if verify(gold, f"\\boxed{{{other}}}").ok]
    assert accepted == []
