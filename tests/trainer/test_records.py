"""The records beside a rollout, and what judges answered, as the viewer reads them."""

import json

import numpy as np
import pytest

from palaestra import Group, Rollout, Task, Turn

pytest.importorskip("torch")

from palaestra.judges import JudgeService, LLMJudge
from palaestra.judges.replies import GroupRanking, RankReply
from palaestra.judges.testing import FakeOpenAI, Oracle, judge_server
from palaestra.lm import OpenAIModel
from palaestra.trainer import train
from palaestra.trainer.judgements import Answered, judge_metrics, records
from palaestra.trainer.objectives.types import RolloutBatch
from palaestra.trainer.records import training_record
from palaestra.trainer.rows import Row
from palaestra.trainer.samples import samples_of


def rollout(name, turns=((1, 2), (3,))):
    made, prompt = [], (9,)
    for ids in turns:
        made.append(Turn(prompt_ids=prompt, completion_ids=ids, logprobs=(-1.0,) * len(ids)))
        prompt = (*prompt, *ids, 8)
    return Rollout(id=name, task_id="t", turns=tuple(made), reward=1.0)


def batch_of(rollouts, rewards):
    ids = tuple(r.id for r in rollouts)
    return RolloutBatch(ids, np.zeros(len(ids), dtype=np.int64), np.array(rewards), rollouts=tuple(rollouts))


def test_tokens_are_told_by_turn():
    one = rollout("a")
    (sample,) = samples_of(one)
    row = Row(sample, np.where(sample.mask_T, [1.0, 2.0, 7.0, 3.0], 0.0))
    row.scores["old"] = np.array([-0.1, -0.2, 0.0, -0.3], dtype=np.float32)
    record = training_record(batch_of([one], [1.0]), [row])["a"]
    assert record["advantages"] == [[1.0, 2.0], [3.0]]
    assert record["advantage"] == 2.0
    assert record["learner_logprobs"] == [[-0.1, -0.2], [-0.3]]


def test_what_was_not_trained_says_so():
    one, two = rollout("a"), rollout("b")
    (sample,) = samples_of(one)
    record = training_record(batch_of([one, two], [1.0, np.nan]), [Row(sample, np.where(sample.mask_T, 0.5, 0.0))])
    assert record["a"] == {"advantage": 0.5, "reward": 1.0}
    assert record["b"] == {"advantage": None, "reward": None}


def lines(folder, kind):
    return [json.loads(line) for path in sorted((folder / kind).glob("*")) for line in path.read_text().splitlines()]


def test_a_ranked_run_keeps_matches_and_ratings(run_sections):
    run = {**run_sections, "objective": {"name": "arena"}, "log": {"rollouts": 2, "tensorboard": False}}
    with FakeOpenAI(Oracle(quality=len)) as model:
        judge = LLMJudge("scripted", OpenAIModel("any", base_url=model.url))
        with judge_server(JudgeService([judge])) as url:
            result = train({**run, "judge": {"url": url}, "train": {**run["train"], "steps": 2}})
    assert result.stopped is None
    found, groups = lines(result.folder, "judgements"), {}
    for row in lines(result.folder, "rollouts"):
        groups.setdefault(row["group_id"], []).append(row)
    assert {row["group_id"] for row in found} == set(groups)
    for record in found:
        assert record["operation"] == "rank" and record["judge"]["name"]
        members = {row["id"] for row in groups[record["group_id"]]}
        assert {row["id"] for row in record["result"]["ranking"]} == members
        assert all({m["a"], m["b"]} <= members for m in record["result"]["matches"])
        assert (
            record["result"]["matches"]
            or len({row["messages"][-1]["content"] for row in groups[record["group_id"]]}) == 1
        )
    assert result.metrics["judge/calls"] > 0
    assert 0 <= result.metrics["judge/p_first"] <= 1
    assert all("rank_reward" in row for rows in groups.values() for row in rows)


def test_a_request_that_failed_is_a_record_with_its_reason():
    group = Group(id="g", task=Task(prompt="?"), rollouts=(rollout("a"),))
    other = Group(id="h", task=Task(prompt="?"), rollouts=(rollout("b"),))
    reply = RankReply(id="call", groups=[GroupRanking(id="h", rewards=[None], ranking=[])])
    answers = [Answered("rank", (group, other), error="gone"), Answered("rank", (group, other), reply)]
    first, second = records(answers, {"g"})
    assert first == {"group_id": "g", "operation": "rank", "error": "gone"}
    assert second["call"] == "call" and second["result"] is None
    assert judge_metrics(answers)["judge/requests"] == 1.0
    assert judge_metrics(answers[:1]) == {}
