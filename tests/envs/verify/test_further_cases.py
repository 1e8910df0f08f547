"""Some five thousand labelled answers that were written from the rules, with near misses beside every right one."""

from collections import defaultdict

from palaestra.envs.verify import verify, warm_up


def test_every_further_case_is_judged_as_labelled(further_cases):
    warm_up()
    wrong = defaultdict(list)
    for case in further_cases:
        verdict = verify(case.gold, case.response)
        if verdict.ok != case.expected:
            wrong[case.category].append((case.id, case.gold, case.response[-60:], verdict.reason.value))
    assert dict(wrong) == {}
    assert len(further_cases) > 5000


def test_every_further_gold_equals_itself(further_cases):
    golds = list(dict.fromkeys(case.gold for case in further_cases))
    assert [gold for gold in golds if not verify(gold, f"\\boxed{{{gold}}}").ok] == []
