"""NeMo Gym: its own models read our replies, and verifiers' client for its servers plays against ours."""

import json
import os
import subprocess
from pathlib import Path

import httpx

from palaestra.judges import JudgeService, LLMJudge
from palaestra.judges.testing import FakeOpenAI, Oracle, judge_server
from palaestra.lm import OpenAIModel

MODELS = """
import json, sys
from nemo_gym.base_resources_server import BaseVerifyRequest, BaseVerifyResponse
from resources_servers.genrm_compare.app import GenRMCompareRequest, GenRMCompareResponse
asked, verified, compare, compared = json.load(sys.stdin)
BaseVerifyRequest.model_validate(asked)
GenRMCompareRequest.model_validate(compare)
rewards = [BaseVerifyResponse.model_validate(verified).reward, GenRMCompareResponse.model_validate(compared).rewards]
print(json.dumps(rewards))
"""


def answer_object(text):
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": content}
    shared = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    return {"id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message], **shared}


def test_their_models_read_our_replies(programs, exact_judge):
    python = programs("nemo", "python")
    asked = {
        "responses_create_params": {"input": [{"role": "user", "content": "2+2?"}]},
        "response": answer_object("4"),
        "expected_answer": "4",
    }
    compare = {"conversation_history": [{"role": "user", "content": "q"}]}
    compare["response_objs"] = [answer_object(text) for text in ("bad", "good")]
    verified = httpx.post(f"{exact_judge}/verify", json=asked).json()
    with FakeOpenAI(Oracle(quality={"good": 2.0, "bad": -2.0})) as model:
        judge = LLMJudge("scripted", OpenAIModel("any", base_url=model.url))
        with judge_server(JudgeService([judge])) as url:
            compared = httpx.post(f"{url}/compare", json=compare).json()
    sent = json.dumps([asked, verified, compare, compared])
    done = subprocess.run([python, "-c", MODELS], input=sent, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [1.0, [0.0, 1.0]]


def test_the_client_of_verifiers_for_its_servers(programs, exact_judge, tmp_path):
    rows = [
        {"responses_create_params": {"input": [{"role": "user", "content": f"{n}+0?"}]}, "expected_answer": str(n)}
        for n in (4, 5)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows_file = {"id": "nemo_gym", "dataset": str(tmp_path / "rows.jsonl")}
    lines = ["[env.taskset]", *(f"{key} = {json.dumps(value)}" for key, value in rows_file.items())]
    lines += ["[env.taskset.task]", f'resources_url = "{exact_judge}"']
    (tmp_path / "run.toml").write_text("\n".join(lines))
    options = ["-n", "2", "-r", "1", "--no-push", "--no-rich", "-m", "any", "-o", str(tmp_path / "out")]
    options += ["--env.agent.harness.id", "null", "--env.agent.runtime.type", "subprocess"]
    with FakeOpenAI(lambda request: "4") as server:
        options += ["--client.base-url", server.url, "--client.api-key-var", "FAKE_KEY"]
        program = programs("verifiers", "vf-eval")
        command = [program, "@", str(tmp_path / "run.toml"), *options]
        path = f"{Path(program).parent}:{os.environ['PATH']}"  # it wants uv
        environment = {**os.environ, "PATH": path, "FAKE_KEY": "x"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert done.stderr.count("reward=1.000") == done.stderr.count("reward=0.000") == 1, done.stderr[-3000:]
