import asyncio
import importlib.util
import logging
import os
import sys
from types import SimpleNamespace

import httpx
import pytest

from palaestra.judges import JudgeClient, JudgeError
from palaestra.judges.adapters import TRLReward, verl_compute_score
from palaestra.judges.cohort import CohortBuffer
from palaestra.judges.testing import Fault, Oracle, judge_server

EXACT = {"rubric": "exact"}


def post(url, path, body):
    return httpx.post(f"{url}{path}", json=body, timeout=20)


@pytest.fixture(scope="module")
def url():
    with judge_server(dialects=EXACT) as address:
        yield address


@pytest.fixture
def broken(fake, llm_service):
    """A service whose judge always fails, the fake behind it, and how often it was asked."""
    server = fake(faults=Fault("refusal"))
    return llm_service(server), server


# ---- OpenRLHF
def test_openrlhf_one_query(url):
    body = {"query": ["What is 2+2?4"], "prompts": ["What is 2+2?"], "labels": ["4"], "whatever": 1}
    reply = post(url, "/get_reward", body).json()
    assert reply["rewards"] == reply["scores"] == [1.0]
    assert set(reply["extra_logs"]) == {"status_code", "cached", "calls"}
    assert all(isinstance(v, float) for row in reply["extra_logs"].values() for v in row)


def test_openrlhf_empty_lists_ask_nobody(broken):
    service, server = broken
    with judge_server(service) as url:
        reply = post(url, "/get_reward", {"query": [], "prompts": [], "labels": []})
    assert reply.status_code == 200 and reply.json()["rewards"] == [] and server.hits == 0


def test_openrlhf_labels_null_or_of_mixed_types(url):
    body = {"query": ["4", "4", "5"], "prompts": ["", "", ""], "labels": [4, ["3", "4"], "4"]}
    assert post(url, "/get_reward", body).json()["rewards"] == [1.0, 1.0, 0.0]
    refused = post(url, "/get_reward", {"query": ["4"], "prompts": [""], "labels": None})
    assert refused.status_code == 422 and "reference" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "value"), [("prompts", ["a", "b"]), ("labels", []), ("prompts", "text"), ("query", [1])]
)
def test_openrlhf_mismatch_names_the_field(url, name, value):
    reply = post(url, "/get_reward", {"query": ["q"], "prompts": ["p"], "labels": ["l"], name: value})
    assert reply.status_code == 422 and name in reply.json()["error"]["message"]


def test_failure_policies(broken):
    service, _ = broken
    body = {"query": ["an answer"], "prompts": [""], "labels": ["l"]}
    with judge_server(service) as url:
        reply = post(url, "/get_reward", body)
        assert reply.status_code == 503 and reply.json()["error"]["code"] == "refusal"
        assert post(url, "/slime", {"prompt": "p", "response": "an answer"}).status_code == 503
    with judge_server(service, dialects={"failure": "value", "fill": -7.0}) as url:
        assert post(url, "/get_reward", body).json()["rewards"] == [-7.0]
    with pytest.raises(ValueError, match="fill"), judge_server(service, dialects={"failure": "value"}):
        pass


class ContractClient:
    """What OpenRLHF's executor does over HTTP, from its documented behaviour: one query, five tries, a pause."""

    def __init__(self, urls):
        self.urls = urls

    async def fetch(self, queries, prompts, labels):
        size = -(-len(queries) // len(self.urls))
        replies = []
        async with httpx.AsyncClient(timeout=180) as client:
            for i, url in enumerate(self.urls):
                rows = slice(i * size, (i + 1) * size)
                body = {"query": queries[rows], "prompts": prompts[rows], "labels": labels[rows]}
                for _ in range(5):
                    reply = await client.post(url, json=body)
                    if reply.status_code == 200:
                        replies.append(reply.json())
                        break
                    await asyncio.sleep(0.01)
                else:
                    raise RuntimeError("five tries failed")
        return replies


def test_openrlhf_client_retries_until_the_judge_is_back(fake, llm_service):
    server = fake([{"scores": {"overall": 8}}], faults=Fault("refusal", times=2))
    with judge_server(llm_service(server)) as url:
        client = ContractClient([f"{url}/get_reward", f"{url}/get_reward"])
        replies = asyncio.run(client.fetch(["an answer"], ["p"], ["l"]))  # the second URL gets empty lists
    assert [r["rewards"] for r in replies] == [[0.8], []]


def test_openrlhf_real_client():
    path = os.environ.get("PALAESTRA_OPENRLHF_AGENT")
    if not path:
        pytest.skip(
            "set PALAESTRA_OPENRLHF_AGENT to openrlhf/utils/agent.py of an OpenRLHF release to run its own client"
        )
    pytest.importorskip("aiohttp")
    sys.modules["openrlhf.utils.logging_utils"] = SimpleNamespace(init_logger=logging.getLogger)
    spec = importlib.util.spec_from_file_location("_openrlhf_agent", path)
    agent = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(agent)
    with judge_server(dialects=EXACT) as url:
        executor = agent.SingleTurnAgentExecutor([f"{url}/get_reward"])
        found = asyncio.run(executor._fetch_rewards_via_http(["p4", "p5"], ["p", "p"], ["4", "4"]))
    assert [r for batch in found for r in batch["rewards"]] == [1.0, 0.0]
    assert all(isinstance(v, float) for batch in found for row in batch["extra_logs"].values() for v in row)


# ---- slime
def test_slime_replies_with_a_bare_number_or_a_dict_when_asked(url):
    body = {"prompt": "2+2?", "response": "4", "label": "4", "metadata": None}
    assert post(url, "/slime", body).json() == 1.0
    assert post(url, "/slime?format=dict", body).json()["score"] == 1.0
    assert post(url, "/slime?format=list", body).status_code == 422


def test_slime_prompt_as_message_list(url):
    body = {
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "2+2?"}],
        "response": "4",
        "label": 4,
    }
    assert post(url, "/slime", body).json() == 1.0
    assert post(url, "/slime", {"prompt": 7, "response": "4", "label": 4}).status_code == 422


def test_extra_fields_are_refused_on_v1_and_accepted_here(url):
    item = {"id": "a", "response": "4", "reference": "4"}
    assert post(url, "/v1/score", {"items": [item], "rubric": "exact", "extra": 1}).status_code == 422
    assert post(url, "/slime", {"prompt": "", "response": "4", "label": 4, "extra": 1}).status_code == 200


# ---- NeMo Gym
def test_nemo_verify_echoes_the_task_fields(url):
    body = {
        "responses_create_params": {"input": [{"role": "user", "content": "2+2?"}]},
        "response": {"output": [{"type": "message", "content": [{"type": "output_text", "text": "4"}]}]},
        "expected_answer": "4",
        "task_uuid": {"nested": [1, 2]},
    }
    reply = post(url, "/verify", body).json()
    assert {key: reply[key] for key in body} == body
    assert reply["reward"] == 1.0 and reply["judge_status"] == "ok"


def test_nemo_verify_marks_failures(broken):
    service, _ = broken
    body = {"responses_create_params": {"input": "q"}, "response": "an answer"}
    with judge_server(service) as url:
        assert post(url, "/verify", body).status_code == 503
    with judge_server(service, dialects={"failure": "value", "fill": 0.0}) as url:
        assert post(url, "/verify", body).json()["_ng_failure_class"] == "judge_failed"


def test_nemo_compare(fake, llm_service):
    server = fake(Oracle(quality={"good": 2.0, "fair": 0.0, "bad": -2.0}))
    body = {
        "conversation_history": [{"role": "user", "content": "q"}],
        "response_objs": [{"output_text": t} for t in ("fair", "good", "bad")],
        "principle": "Be good.",
    }
    with judge_server(llm_service(server)) as url:
        reply = post(url, "/compare", body).json()
    assert reply["rewards"] == [0.5, 1.0, 0.0]
    first = reply["comparison_results"][0]
    assert set(first) == {"response_i", "response_j", "judge_idx", "score_1", "score_2", "ranking"}
    assert all((r["ranking"] <= 3) == (r["score_1"] > r["score_2"]) for r in reply["comparison_results"])
    assert "Be good." in server.requests[0].text


# ---- vLLM
def test_vllm_score_rerank_and_classify(fake, llm_service):
    server = fake(Oracle(quality={"good": 2.0, "bad": -2.0}, cluster=lambda t: t[0]))
    with judge_server(llm_service(server)) as url:
        old = post(url, "/score", {"model": "m", "text_1": "q", "text_2": ["good", "bad"]}).json()
        new = post(url, "/score", {"model": "m", "queries": ["q"], "documents": ["good", "bad"]}).json()
        ranked = post(url, "/rerank", {"query": "q", "documents": ["bad", {"text": "good"}], "top_n": 1}).json()
        pair = post(
            url, "/classify", {"model": "m", "input": ["CLS alpha SEP apple SEP", "CLS alpha SEP beta SEP"]}
        ).json()
        single = post(url, "/classify", {"model": "m", "input": "good", "activation": False}).json()
        assert post(url, "/score", {"queries": ["a", "b"], "documents": ["c"]}).status_code == 422
        assert post(url, "/v1/rerank", {"query": "q", "documents": ["bad"]}).json()["results"][0]["index"] == 0
    assert [row["score"] for row in old["data"]] == [row["score"] for row in new["data"]]
    assert old["data"][0]["score"] > old["data"][1]["score"] and old["model"] == "m"
    assert [(r["index"], r["document"]["text"]) for r in ranked["results"]] == [(1, "good")]
    assert [row["label"] for row in pair["data"]] == ["LABEL_1", "LABEL_0"]
    assert pair["data"][0]["probs"][-1] > 0.5 > pair["data"][1]["probs"][-1]  # same is the last entry
    assert single["data"][-1]["probs"][-1] == old["data"][0]["score"]


def test_vllm_requests_are_not_held_back_for_a_cohort_and_pairs_are_asked_at_once(fake, llm_service):
    server = fake(Oracle(cluster=lambda t: t[0]), latency_s=0.2)
    pairs = [f"CLS alpha{i} SEP apple{i} SEP" for i in range(8)]
    with judge_server(llm_service(server), dialects={"mode": "rank", "cohort_size": 8, "cohort_wait_s": 60}) as url:
        assert post(url, "/score", {"queries": "q", "documents": ["a response"]}).status_code == 200
        assert len(post(url, "/classify", {"input": pairs}).json()["data"]) == 8
    assert server.max_in_flight > 1


# ---- TRL and verl
def test_trl_ranks_once_a_prompt_keeps_order_and_gives_none_for_unscored(fake, llm_service):
    oracle = Oracle(quality={"good": 2.0, "bad": -2.0})
    server = fake(oracle, faults=lambda r: Fault("refusal") if "broken" in r.text else None)
    prompts = ["p", [{"role": "user", "content": "q"}], "p", [{"role": "user", "content": "q"}], "broken", "broken"]
    completions = [
        "bad",
        [{"role": "assistant", "content": "good"}],
        "good",
        [{"role": "assistant", "content": "bad"}],
        "x1",
        "x2",
    ]
    with judge_server(llm_service(server)) as url:
        rewards = asyncio.run(TRLReward(JudgeClient(url))(prompts=prompts, completions=completions, trainer_state=None))
    assert rewards[4:] == [None, None]
    assert rewards[2] > rewards[0] and rewards[1] > rewards[3]
    assert [round(sum(rewards[i] for i in pair), 9) for pair in ((0, 2), (1, 3))] == [0, 0]


def test_trl_when_the_server_is_down():
    client = JudgeClient("http://127.0.0.1:9", max_attempts=1)
    assert asyncio.run(TRLReward(client, on_error="none")(["p"], ["c"])) == [None]
    with pytest.raises(JudgeError):
        asyncio.run(TRLReward(client)(["p"], ["c"]))


def test_verl_scores_or_raises(fake, llm_service):
    with judge_server() as url:
        score = verl_compute_score(JudgeClient(url), "exact")
        assert asyncio.run(score("gsm8k", "4", "4", {"question": "2+2"}, reward_router_address=None)) == {
            "score": 1.0,
            "status": "ok",
        }
    with judge_server(llm_service(fake(faults=Fault("refusal")))) as url:
        with pytest.raises(JudgeError, match="not judged"):
            asyncio.run(verl_compute_score(JudgeClient(url))("d", "an answer", "4"))
        found = asyncio.run(verl_compute_score(JudgeClient(url), fill=-1.0)("d", "an answer", "4"))
    assert found == {"score": -1.0, "status": "refusal"}


# ---- cohorts
def test_single_requests_are_ranked_as_a_cohort(fake, llm_service):
    server = fake(Oracle(quality={"best": 2.0, "fair": 0.0, "worst": -2.0}))
    dialects = {"mode": "rank", "cohort_size": 3, "cohort_wait_s": 10}

    async def ask(url):
        async with httpx.AsyncClient(timeout=20) as client:
            jobs = (client.post(f"{url}/slime", json={"prompt": "p", "response": r}) for r in ("fair", "worst", "best"))
            return [reply.json() for reply in await asyncio.gather(*jobs)]

    with judge_server(llm_service(server), dialects=dialects) as url:
        fair, worst, best = asyncio.run(ask(url))
    assert worst < fair < best and fair == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("fallback", "wanted"), [("unscored", [None, None]), ("score", ["1", "1"]), ("partial", ["2", "2"])]
)
def test_incomplete_cohorts_follow_the_stated_fallback(fallback, wanted):
    async def judge(members):
        return [str(len(members)) for _ in members]

    async def alone(member):
        return "1"

    async def run():
        buffer = CohortBuffer(judge, size=3, wait_s=0.05, fallback=fallback, alone=alone, unscored=lambda member: None)
        return await asyncio.gather(buffer.submit("k", "a"), buffer.submit("k", "b"))

    assert asyncio.run(run()) == wanted


def test_a_cancelled_member_leaves_and_a_failure_reaches_everybody():
    async def judge(members):
        raise ValueError("no judge")

    async def run():
        buffer = CohortBuffer(judge, size=2, wait_s=5, fallback="unscored", alone=judge, unscored=lambda m: None)
        gone = asyncio.create_task(buffer.submit("k", "a"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        return await asyncio.gather(buffer.submit("k", "b"), buffer.submit("k", "c"), return_exceptions=True)

    assert [str(e) for e in asyncio.run(run())] == ["no judge", "no judge"]
