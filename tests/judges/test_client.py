import asyncio
import threading
import time

import pytest

from palaestra.judges import (
    JudgeAuthError,
    JudgeClient,
    JudgeProtocolError,
    JudgeRequestError,
    JudgeService,
    JudgeTimeout,
    JudgeUnavailable,
    LLMJudge,
    ProgrammaticJudge,
)
from palaestra.judges.server import create_app
from palaestra.judges.server.auth import Tokens
from palaestra.judges.testing import FakeOpenAI, Fault, Oracle, judge_server
from palaestra.lm import OpenAIModel
from palaestra.schema import Group, Message, RewardStatus, Rollout, Task


def group(*texts, answer="4", group_id="g"):
    task = Task(id="t", prompt="What is 2 + 2?", answer=answer)
    rollouts = [
        Rollout(
            id=f"{group_id}-{i}",
            task_id="t",
            messages=(*task.messages, Message(role="assistant", content=text)),
        )
        for i, text in enumerate(texts)
    ]
    return Group(id=group_id, task=task, rollouts=tuple(rollouts))


def llm_service(server, **options):
    model = OpenAIModel("any", base_url=server.url, backoff_s=0.01, deadline_s=20)
    return JudgeService([ProgrammaticJudge(), LLMJudge("llm", model, **options)])


def test_score_of_a_group_is_matched_by_rollout_id():
    with judge_server() as url:
        client = JudgeClient(url)
        results = client.score_sync(group("so \\boxed{4}", "it is \\boxed{5}", "\\boxed{8/2}"), "answer")
        both = client.score_sync([group("4"), group("5", group_id="h")], "answer")
    assert [(r.rollout_id, r.reward) for r in results] == [("g-0", 1.0), ("g-1", 0.0), ("g-2", 1.0)]
    assert [(r.rollout_id, r.reward) for r in both] == [("g-0", 1.0), ("h-0", 0.0)]


def test_partition_and_its_rewards_by_rollout_id():
    with judge_server() as url:
        parts = JudgeClient(url).partition_sync(group("\\boxed{1/2}", "\\boxed{3}", "\\boxed{0.5}", "\\boxed{3.0}"))
        many = JudgeClient(url).partition_sync([group("1"), group("1", "2", group_id="h")])
    assert parts.labels == {"g-0": 0, "g-1": 1, "g-2": 0, "g-3": 1}
    assert parts.clusters == [["g-0", "g-2"], ["g-1", "g-3"]]
    assert parts.darling == pytest.approx(dict.fromkeys(parts.labels, 2 / 3))
    assert parts.uniqueness == pytest.approx(dict.fromkeys(parts.labels, 2**-0.5))
    assert [r.cluster for r in parts.results] == [0, 1, 0, 1]
    assert [p.group_id for p in many] == ["g", "h"]
    assert many[0].results[0].status is RewardStatus.DEGENERATE


def test_rank_through_a_model_judge():
    quality = {"best": 2.0, "fair": 0.5, "poor": -1.5}
    with FakeOpenAI(Oracle(quality=quality)) as fake, judge_server(llm_service(fake)) as url:
        results = JudgeClient(url, judge="llm").rank_sync(group("fair", "poor", "best"), reward="quantile")
    assert [(r.rollout_id, r.rank, r.reward) for r in results] == [("g-0", 2, 0.5), ("g-1", 3, 0), ("g-2", 1, 1)]


def test_a_judge_that_is_down_gives_no_zeros():
    with FakeOpenAI(faults=Fault("server_error")) as fake, judge_server(llm_service(fake)) as url:
        client = JudgeClient(url, judge="llm")
        scored = client.score_sync(group("a", "b"))
        ranked = client.rank_sync(group("a", "b"))
        parts = client.partition_sync(group("a b", "b c"), "semantic")
    for result in [*scored, *ranked]:
        assert result.status is RewardStatus.UPSTREAM_ERROR and result.reward is None
    assert set(parts.labels.values()) == {None} == set(parts.darling.values()) == set(parts.uniqueness.values())


def test_no_server_wrong_server_and_slow_server_are_different_errors():
    with FakeOpenAI(script="hello") as not_a_judge:
        url = not_a_judge.root
        with pytest.raises((JudgeProtocolError, JudgeRequestError)):
            JudgeClient(url).score_sync(group("4"), "answer")
    with pytest.raises(JudgeUnavailable, match="palaestra serve judges") as caught:
        JudgeClient(url, max_attempts=2).score_sync(group("4"), "answer")
    assert caught.value.retryable and caught.value.code == "unavailable"
    with FakeOpenAI(faults=Fault("hang")) as hanging:
        started = time.monotonic()
        with pytest.raises(JudgeTimeout):
            JudgeClient(hanging.root, deadline_s=0.3).score_sync(group("4"), "answer")
        assert time.monotonic() - started < 5


def test_the_client_waits_for_a_paused_server_to_resume():
    app = create_app(service=JudgeService())
    with judge_server(app=app) as url:
        app.state.judges.lifecycle.state = "paused"
        timer = threading.Timer(0.3, lambda: setattr(app.state.judges.lifecycle, "state", "serving"))
        timer.start()
        assert JudgeClient(url).score_sync(group("4"), "answer")[0].reward == 1.0
        app.state.judges.lifecycle.state = "draining"
        with pytest.raises(JudgeUnavailable, match="draining"):
            JudgeClient(url, max_attempts=1).score_sync(group("4"), "answer")


def test_wrong_requests_and_tokens_are_named():
    app = create_app(service=JudgeService(), tokens=Tokens({"secret-token": frozenset({"score"})}))
    with judge_server(app=app) as url:
        with pytest.raises(JudgeAuthError):
            JudgeClient(url).score_sync(group("4"), "answer")
        client = JudgeClient(url, token="secret-token")
        assert client.score_sync(group("4"), "answer")[0].reward == 1.0
        with pytest.raises(JudgeRequestError, match="did you mean 'answer'"):
            client.score_sync(group("4"), "answr")
        with pytest.raises(JudgeRequestError, match="no judge 'x'"):
            client.score_sync(group("4"), "answer", judge="x")
        assert client.health_sync() and client.judges_sync()[0].not_semantic
    assert "secret-token" not in repr(client)
    assert not client.health_sync()


def test_deadline_gives_what_is_there():
    fake = FakeOpenAI(latency_s=lambda r: 120.0 if "slow" in r.text else 0.0)
    with fake, judge_server(llm_service(fake)) as url:
        results = JudgeClient(url, judge="llm").score_sync(group("quick one", "slow one"), deadline_s=5.0)
    assert results[0].status is RewardStatus.OK
    assert results[1].status is RewardStatus.TIMEOUT and results[1].reward is None


def test_async_use_from_two_loops_and_plan():
    with judge_server() as url:
        client = JudgeClient(url)

        async def twice():
            async with client:
                one, two = await asyncio.gather(client.score(group("4"), "answer"), client.score(group("5"), "answer"))
                return one[0].reward, two[0].reward

        assert asyncio.run(twice()) == asyncio.run(twice()) == (1.0, 0.0)
        assert client.plan_sync("score", {"items": [{"id": "a", "response": "4"}], "rubric": "exact"}).calls == 0


@pytest.mark.parametrize("options", [{"deadline_s": None}, {"read_s": 0}, {"connect_s": -1}, {"max_attempts": 0}])
def test_the_client_cannot_wait_for_ever(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        JudgeClient(**options)


def test_the_account_adds_up_cost_failures_and_bias():
    with FakeOpenAI([{"winner": "1", "score_1": 8, "score_2": 3}]) as fake, judge_server(llm_service(fake)) as url:
        client = JudgeClient(url, judge="llm")
        client.rank_sync(group("aa", "bb"), method="round_robin")
        client.compare_sync([{"id": "p", "a": "aa", "b": "cc"}], order_policy="both")
        client.score_sync([{"id": "x", "response": "aa"}], "exact")  # no reference: cannot be scored
        found = client.account.metrics()
        assert found["judge/requests"] == 3 and found["judge/calls"] == 4
        assert found["judge/p_first"] == 1.0 == found["judge/inconsistent_rate"]
        assert found["judge/failed"] == 1 and "judge/cost_usd" not in found
        assert client.account.to_dict()["comparisons"] == {"first": 4}
        client.account.clear()
        assert client.account.metrics()["judge/calls"] == 0
