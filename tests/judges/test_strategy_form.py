"""Strategies told apart by how the final answer is written."""

import asyncio

from palaestra.judges import JudgeService, PartitionRequest, ProgrammaticJudge


def _labels(judge, texts, scope="strategy"):
    group = {"id": "g", "prompt": "352>16", "responses": [{"id": str(i), "response": t} for i, t in enumerate(texts)]}
    reply = asyncio.run(JudgeService([judge]).partition(PartitionRequest(group=group, scope=scope)))
    return list(reply.labels)


def test_equal_values_written_differently_are_different_strategies():
    texts = ["(3+5)*2", "2*(3+5)", " (3+5)*2 ", "so I get\n(3+5)*2"]
    first, second, third, fourth = _labels(ProgrammaticJudge(strategy="form"), texts)
    assert first == third == fourth != second
    assert len(set(_labels(ProgrammaticJudge(strategy="form"), texts, scope="answer"))) == 1


def test_without_the_option_strategies_are_not_judged():
    assert set(_labels(ProgrammaticJudge(), ["(3+5)*2", "2*(3+5)"])) == {None}
