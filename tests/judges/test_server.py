import asyncio
import gzip
import json
import socket
import threading
import time

import httpx
import pytest

from palaestra.judges import JudgeService
from palaestra.judges.problems import Problem
from palaestra.judges.server import JudgeServerConfig, create_app, serve
from palaestra.judges.server.auth import Tokens
from palaestra.judges.server.body import parse_json
from palaestra.judges.server.idempotency import IdempotencyStore, Stored
from palaestra.judges.testing import Fault, Oracle, judge_server

ITEMS = {"items": [{"id": "a", "response": "4", "reference": "4"}], "rubric": "exact"}
GOOD = [{"reasoning": "fine", "scores": {"overall": 7}}]


def post(url, path, body, **headers):
    return httpx.post(f"{url}{path}", json=body, headers=headers, timeout=20)


@pytest.fixture(scope="module")
def url():
    with judge_server(max_body_bytes=200_000) as address:
        yield address


def test_service_routes(url):
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{url}/readyz").json() == {"ready": True, "reasons": []}
    assert httpx.get(f"{url}/version").json()["schema"] == 1
    assert httpx.get(f"{url}/v1/judges").json()["default"] == "programmatic"
    assert "exact" in {r["id"] for r in httpx.get(f"{url}/v1/rubrics").json()["rubrics"]}
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    assert {"/v1/score", "/v1/compare", "/v1/rank", "/v1/partition", "/v1/diversity", "/v1/verify"} <= set(paths)


def test_a_malformed_item_leaves_its_siblings_alone(url):
    rows = [{"id": "a", "response": "4", "reference": "4"}, {"id": "b"}, {"id": "c", "response": 7}, "d"]
    results = post(url, "/v1/score", {"items": rows, "rubric": "exact"}).json()["results"]
    assert [(r["id"], r["status"], r["reward"]) for r in results] == [
        ("a", "ok", 1.0), ("b", "invalid_input", None), ("c", "invalid_input", None), ("#3", "invalid_input", None),
    ]  # fmt: skip
    assert "response" in results[1]["error"]["message"]


def test_a_malformed_response_leaves_its_group_alone(fake, llm_service):
    server = fake(Oracle(quality={"best": 2.0, "fair": 0.0, "poor": -2.0}))
    rows = [{"id": "a", "response": "fair"}, {"id": "b", "response": 7}, {"id": "c", "response": "best"}, "d"]
    with judge_server(llm_service(server)) as url:
        ranked = post(url, "/v1/rank", {"group": {"prompt": "p", "responses": rows}, "reward": "quantile"}).json()
        assert ranked["rewards"] == [0.0, None, 1.0, None]
        assert [(r["id"], r["status"]) for r in ranked["ranking"]] == [
            ("a", "ok"), ("b", "invalid_input"), ("c", "ok"), ("#3", "invalid_input"),
        ]  # fmt: skip
        assert "response" in ranked["ranking"][1]["error"]["message"]
        body = {"group": {"prompt": "p", "responses": rows}, "scope": "semantic", "correct": [True, True, True, False]}
        parted = post(url, "/v1/partition", body).json()
    assert parted["labels"] == [0, None, 1, None] and parted["clusters"] == [["a"], ["c"]]
    assert [sorted(pair[:2]) for pair in parted["p_same"]] == [[0, 2]]
    assert parted["rewards"]["darling"] == [1.0, None, 1.0, None]
    assert [item["status"] for item in parted["items"]] == ["ok", "invalid_input", "ok", "invalid_input"]


def test_a_malformed_group_leaves_the_other_groups_alone(fake, llm_service):
    good = {"prompt": "p", "responses": [{"id": "a", "response": "one"}, {"id": "b", "response": "two"}]}
    groups = [{"id": "first"}, {"id": "second", **good}, {"id": "third", "responses": [{"id": "x", "response": 1}]}, 4]
    with judge_server(llm_service(fake(Oracle()))) as url:
        ranked = post(url, "/v1/rank", {"groups": groups}).json()["groups"]
        parted = post(url, "/v1/partition", {"groups": groups, "scope": "semantic"}).json()["groups"]
        nothing = post(url, "/v1/rank", {"groups": groups[:1], "budget": {"max_calls": 5}}).json()["groups"]
        planned = post(url, "/v1/plan", {"operation": "rank", "request": {"groups": groups}}).json()
    for found in (ranked, parted):
        assert [g["id"] for g in found] == ["first", "second", "third", "#3"]
        assert [g["error"] is None for g in found] == [False, True, False, False]
        assert found[0]["error"]["code"] == "invalid_input" and "responses" in found[0]["error"]["message"]
    assert None not in ranked[1]["rewards"] and ranked[0]["rewards"] == [] and len(nothing) == 1
    assert planned["calls"] == 2


def test_errors_name_the_field_in_the_callers_words(url):
    body = {"items": [{"id": "a", "response": {"x": 1}}], "rubric": "exact"}
    message = post(url, "/v1/score", body).json()["results"][0]["error"]["message"]
    assert message == "response: must be a text or a list of messages"
    rubric = {"criteria": [{"name": "x", "description": "d", "weight": 0}]}
    error = post(url, "/v1/score", {"items": [], "rubric": rubric}).json()["error"]
    assert error["message"].startswith("rubric: rubric 'custom': every criterion has weight 0")


def test_a_body_that_never_comes_is_given_up(monkeypatch, fake, llm_service):
    monkeypatch.setattr("palaestra.judges.server.body.BODY_TIMEOUT_S", 0.2)
    with judge_server() as url, socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
        head = "POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        connection.sendall(head.encode())
        connection.settimeout(20)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b'{"seed": ' + b"9" * 5000 + b"}", {}, 400, "malformed_json"),
        (gzip.compress(b'{"items": []}', mtime=0)[:-6], {"content-encoding": "gzip"}, 400, "malformed_encoding"),
        (b"{", {}, 400, "malformed_json"),
        (b"\xff\xfe{}", {}, 400, "malformed_json"),
        (b"[" * 100_000, {}, 400, "malformed_json"),
        (b'{"items": ' + b"[" * 80 + b"]" * 80 + b"}", {}, 422, "too_deep"),
        (b'{"items": [], "seed": NaN}', {}, 422, "not_finite"),
        (b'{"items": [{"id": "a", "response": "r", "reference": 1e999}]}', {}, 422, "not_finite"),
        (b"{}", {"content-type": "text/html"}, 415, "media_type"),
        (b"{}", {"content-encoding": "br"}, 415, "content_encoding"),
        (b"junk", {"content-encoding": "gzip"}, 400, "malformed_encoding"),
        (b"{}", {}, 422, "invalid_request"),
        (b'{"items": [], "typo": 1}', {}, 422, "invalid_request"),
        (b'{"items": [{"id": "a", "response": ""}, {"id": "a", "response": ""}]}', {}, 422, "invalid_request"),
        (b'{"items": [], "judge": "nobody"}', {}, 422, "unknown_judge"),
        (b'{"items": [], "rubric": "exactt"}', {}, 422, "unknown_rubric"),
        (b'{"items": [], "rubric": {"criteria": [{"name": "x", "description": "d", "weight": 0}]}}', {}, 422,
         "invalid_request"),
        (b'{"items": [], "rubric": "exact", "deadline_ms": 0}', {}, 422, "invalid_request"),
        (b'"' + b"x" * 300_000 + b'"', {}, 413, "body_too_large"),
        (gzip.compress(b" " * 10_000_000, mtime=0), {"content-encoding": "gzip"}, 413, "body_too_large"),
    ],
)  # fmt: skip
def test_bad_requests_are_named_and_never_hang(url, content, headers, status, code):
    reply = httpx.post(f"{url}/v1/score", content=content, headers={"content-type": "application/json", **headers})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"]


def test_chunked_bodies_are_counted_while_streaming(url):
    def chunks():
        for _ in range(400):
            yield b" " * 1000

    reply = httpx.post(f"{url}/v1/score", content=chunks(), headers={"content-type": "application/json"})
    assert reply.status_code == 413


def test_gzip_and_surrogates_are_fine(url):
    body = '{"items": [{"id": "a\\ud800", "response": "x\\udfff", "reference": "x"}], "rubric": "exact"}'
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    reply = httpx.post(f"{url}/v1/score", content=gzip.compress(body.encode()), headers=headers)
    assert reply.status_code == 200 and reply.json()["results"][0]["id"].startswith("a\ufffd")
    assert parse_json(b'{"\\ud83d\\ude00": "\\ud83d\\ude00"}') == {"\U0001f600": "\U0001f600"}
    with pytest.raises(Problem):
        parse_json(b"Infinity")


def test_lone_surrogates_are_replaced_in_every_field(url):
    # The reference is not a text field of the schema, so only the body's own cleaning reaches it.
    body = b'{"items": [{"id": "a", "response": "x \\ud800", "reference": "x \\ud800"}], "rubric": "exact"}'
    reply = httpx.post(f"{url}/v1/score", content=body, headers={"content-type": "application/json"}, timeout=20)
    assert reply.json()["results"][0]["reward"] == 1.0


def test_unknown_paths_and_methods(url):
    assert httpx.get(f"{url}/nothing").json()["error"]["code"] == "not_found"
    assert httpx.get(f"{url}/v1/score").json()["error"]["code"] == "method_not_allowed"


def test_plan_tells_the_operation_by_its_fields(url):
    group = {"id": "g", "responses": [{"id": str(i), "response": str(i)} for i in range(5)]}
    for body, operation in [
        (ITEMS, "score"),
        ({"pairs": [{"id": "p", "a": "x", "b": "y"}], "rubric": "exact"}, "compare"),
        ({"group": group, "scope": "answer"}, "partition"),
        ({"group": group, "rubric": "exact"}, "rank"),
        ({"operation": "rank", "request": {"group": group, "rubric": "exact"}}, "rank"),
    ]:
        reply = post(url, "/v1/plan", body)
        assert reply.json()["operation"] == operation and reply.json()["calls"] == 0
    assert post(url, "/v1/plan", {"nothing": 1}).status_code == 422


def test_plan_costs_nothing_and_is_exact(fake, llm_service):
    server = fake()
    group = {"id": "g", "responses": [{"id": str(i), "response": f"answer {i}"} for i in range(16)]}
    with judge_server(llm_service(server)) as url:
        plan = post(url, "/v1/plan", {"group": group, "degree": 6}).json()
        assert (plan["calls"], plan["rounds"], server.hits) == (48, 1, 0) and plan["est_tokens"] > 48 * 200
        post(url, "/v1/rank", {"group": group, "degree": 6})
        assert server.hits == 48


def test_tokens_and_scopes():
    tokens = Tokens({"score-token": frozenset({"score"}), "admin-token": frozenset({"score", "admin"})})
    with judge_server(app=create_app(service=JudgeService(), tokens=tokens)) as url:
        assert post(url, "/v1/score", ITEMS).status_code == 401
        assert post(url, "/v1/score", ITEMS, authorization="Bearer wrong-token").status_code == 401
        assert post(url, "/v1/score", ITEMS, authorization="Basic score-token").status_code == 401
        assert post(url, "/v1/score", ITEMS, authorization="Bearer score-token").status_code == 200
        assert post(url, "/v1/admin/pause", {}, authorization="Bearer score-token").status_code == 403
        assert post(url, "/get_reward", {"query": []}).status_code == 401
        assert httpx.get(f"{url}/metrics").status_code == 401 and httpx.get(f"{url}/healthz").status_code == 200
        assert post(url, "/v1/admin/pause", {}, authorization="Bearer admin-token").json()["drained"] is True
        refused = post(url, "/v1/score", ITEMS, authorization="Bearer score-token")
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert httpx.get(f"{url}/readyz").json()["reasons"] == ["paused"]
        assert post(url, "/v1/admin/resume", {}, authorization="Bearer admin-token").json()["state"] == "serving"
        assert post(url, "/v1/score", ITEMS, authorization="Bearer score-token").status_code == 200


def test_tokens_come_from_file_and_environment(tmp_path, monkeypatch):
    file = tmp_path / "tokens"
    file.write_text("first-token  # for the trainer\nsecond-token admin\n")
    monkeypatch.setenv("PALAESTRA_JUDGE_TOKENS", "third-token score,")
    tokens = Tokens.load(file)
    tokens.require("Bearer third-token", "score")
    tokens.require("Bearer second-token", "score")
    with pytest.raises(Problem):
        tokens.require("Bearer first-token", "admin")
    assert "token" not in repr(tokens).replace("Tokens", "")
    file.write_text("short")
    with pytest.raises(ValueError, match="line"):
        Tokens.load(file)


def test_a_public_address_needs_a_token():
    with pytest.raises(ValueError, match="--insecure"):
        serve(JudgeServerConfig(host="0.0.0.0", port=0))


def test_idempotency_keys():
    with judge_server() as url:
        first = post(url, "/v1/score", ITEMS, **{"idempotency-key": "k"})
        again = post(url, "/v1/score", ITEMS, **{"idempotency-key": "k"})
        assert first.json()["id"] == again.json()["id"]
        other = post(url, "/v1/score", {**ITEMS, "seed": 1}, **{"idempotency-key": "k"})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
        assert post(url, "/v1/score", ITEMS).json()["id"] != first.json()["id"]


def test_stored_replies_are_bounded_in_bytes():
    async def go():
        store = IdempotencyStore(max_bytes=250)
        served = []

        async def work():
            served.append(1)
            return Stored(200, b"x" * 100)

        for key in ("a", "b", "c", "d"):
            await store.run(key, b"body", work)
        await store.run("d", b"body", work)
        await store.run("a", b"body", work)  # forgotten, so asked again
        return len(served)

    assert asyncio.run(go()) == 5


def test_a_second_request_waits_for_the_first_with_its_key(fake, llm_service):
    server = fake(GOOD, latency_s=0.2)
    body = {"items": [{"id": "a", "response": "An answer."}], "cache": "off"}
    with judge_server(llm_service(server)) as url:
        ids = []
        threads = [
            threading.Thread(
                target=lambda: ids.append(post(url, "/v1/score", body, **{"idempotency-key": "k"}).json()["id"])
            )
            for _ in range(3)
        ]
        [t.start() for t in threads], [t.join() for t in threads]
    assert len(set(ids)) == 1 and server.hits == 1


def test_deadline_header_and_partial_results(fake, llm_service):
    server = fake(GOOD, latency_s=lambda r: 5.0 if "slow" in r.text else 0.0)
    body = {"items": [{"id": "q", "response": "quick one"}, {"id": "s", "response": "slow one"}]}
    with judge_server(llm_service(server)) as url:
        plain = post(url, "/v1/score", body, **{"x-deadline-ms": "500"})
        partial = post(url, "/v1/score", body, **{"x-deadline-ms": "500", "prefer": "partial"})
    assert plain.status_code == 504 and plain.json()["error"]["code"] == "deadline"
    assert partial.status_code == 504 and partial.json()["partial"]
    assert [(r["status"], r["reward"]) for r in partial.json()["results"]] == [("ok", 0.7), ("timeout", None)]


def test_exactly_one_retry_layer(fake, llm_service):
    server = fake(GOOD, faults=Fault("rate_limit", retry_after=0.2, times=2))
    with judge_server(llm_service(server)) as url:
        started = time.monotonic()
        reply = post(url, "/v1/score", {"items": [{"id": "a", "response": "An answer."}]})
    assert reply.json()["results"][0]["reward"] == 0.7
    assert server.hits == 3 and time.monotonic() - started >= 0.4


def test_a_client_that_leaves_does_not_take_coalesced_followers_along(fake, llm_service):
    server = fake(GOOD, latency_s=0.6)
    service = llm_service(server)
    body = {"items": [{"id": "a", "response": "An answer."}]}

    async def run(url):
        async with httpx.AsyncClient(timeout=20) as client:
            leader = asyncio.create_task(client.post(f"{url}/v1/score", json=body))
            await asyncio.sleep(0.2)
            follower = asyncio.create_task(client.post(f"{url}/v1/score", json=body))
            alone = asyncio.create_task(
                client.post(f"{url}/v1/score", json={"items": [{"id": "b", "response": "Another."}]})
            )
            await asyncio.sleep(0.1)
            leader.cancel()
            alone.cancel()
            return (await follower).json()

    with judge_server(service) as url:
        reply = asyncio.run(run(url))
        time.sleep(0.1)
        assert not service.runtime.flights._flights  # the work nobody waits for was cancelled
    assert reply["results"][0]["reward"] == 0.7
    assert sum("An answer." in r.text for r in server.requests) == 1


def events_of(url, job, last=0):
    with httpx.stream("GET", f"{url}/v1/jobs/{job}/events", headers={"last-event-id": str(last)}, timeout=20) as reply:
        blocks = reply.read().decode().strip().split("\n\n")
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks if block]


def test_jobs_with_events_that_can_be_resumed():
    with judge_server() as url:
        rows = [{"id": str(i), "response": "4", "reference": "4"} for i in range(3)]
        made = post(url, "/v1/jobs", {"operation": "score", "request": {"items": rows, "rubric": "exact"}})
        assert made.status_code == 202
        job = made.json()["id"]
        events = events_of(url, job)
        assert [e["event"] for e in events] == ["item", "progress"] * 3 + ["done"]
        assert [e["id"] for e in events_of(url, job, 5)] == ["6", "7"]
        done = httpx.get(f"{url}/v1/jobs/{job}").json()
        assert done["status"] == "done" and len(done["result"]["results"]) == 3
        assert httpx.get(f"{url}/v1/jobs/none").status_code == 404
        assert post(url, "/v1/jobs", {"operation": "score", "request": {"items": 3}}).status_code == 422
        assert post(url, "/v1/jobs", {"operation": "nothing", "request": {}}).status_code == 422


def test_a_job_can_be_cancelled(fake, llm_service):
    server = fake(GOOD, latency_s=10)
    with judge_server(llm_service(server)) as url:
        request = {"items": [{"id": "a", "response": "An answer."}]}
        job = post(url, "/v1/jobs", {"operation": "score", "request": request}).json()["id"]
        httpx.delete(f"{url}/v1/jobs/{job}")
        assert events_of(url, job)[-1]["event"] == "done"
        assert httpx.get(f"{url}/v1/jobs/{job}").json()["status"] == "cancelled"


def test_jobs_survive_a_restart(tmp_path, fake, llm_service):
    server = fake(GOOD, latency_s=0.5)
    request = {"items": [{"id": "a", "response": "An answer."}]}
    config = {"jobs": str(tmp_path), "drain_timeout": 0.0}
    with judge_server(llm_service(server), **config) as url:
        job = post(url, "/v1/jobs", {"operation": "score", "request": request}).json()["id"]
    assert json.loads((tmp_path / f"{job}.json").read_text())["status"] == "queued"
    with judge_server(llm_service(server), **config) as url:
        assert events_of(url, job)[-1]["event"] == "done"
        assert httpx.get(f"{url}/v1/jobs/{job}").json()["result"]["results"][0]["reward"] == 0.7


def test_metrics_count_by_status_and_hold_no_text(fake, llm_service):
    server = fake(GOOD, faults=lambda r: Fault("refusal") if "secret words" in r.text else None)
    with judge_server(llm_service(server, cache=True)) as url:
        post(url, "/v1/score", {"items": [{"id": "a", "response": "Fine."}, {"id": "b", "response": "secret words"}]})
        post(url, "/v1/score", {"items": [{"id": "a", "response": "Fine."}]})
        text = httpx.get(f"{url}/metrics").text
    assert 'palaestra_judge_items_total{operation="score",status="refusal"} 1.0' in text
    assert 'palaestra_judge_items_total{operation="score",status="ok"} 2.0' in text
    assert 'palaestra_judge_calls_total{judge="llm",outcome="cached"} 1.0' in text
    assert 'palaestra_judge_requests_total{route="/v1/score",status="200"} 2.0' in text
    assert "secret" not in text


def test_a_full_queue_is_429(fake):
    server = fake(GOOD, latency_s=1.0)
    judge = {
        "name": "llm",
        "model": "m",
        "base_url": server.url,
        "concurrency": 1,
        "max_concurrency": 1,
        "max_queue": 1,
    }
    with judge_server(judge=[judge]) as url:
        rows = [{"id": str(i), "response": f"answer {i}"} for i in range(3)]
        thread = threading.Thread(target=lambda: post(url, "/v1/score", {"items": rows, "deadline_ms": 1500}))
        thread.start()
        time.sleep(0.4)
        reply = post(url, "/v1/score", {"items": rows})
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
        thread.join()


def test_not_ready_while_no_judge_answers(fake, llm_service):
    server = fake(GOOD, faults=lambda r: Fault("unauthorized") if "broken" in r.text else None)
    service = llm_service(server)
    del service.judges["programmatic"]
    with judge_server(service) as url:
        rows = [{"id": str(i), "response": f"broken {i}"} for i in range(6)]
        assert {r["status"] for r in post(url, "/v1/score", {"items": rows}).json()["results"]} == {"upstream_error"}
        reply = httpx.get(f"{url}/readyz")
        assert (reply.status_code, reply.json()["reasons"]) == (503, ["no judge is healthy"])
        post(url, "/v1/score", {"items": [{"id": "a", "response": "fine again"}]})
        assert httpx.get(f"{url}/readyz").status_code == 200


def test_sigterm_finishes_what_is_under_way(fake, tmp_path):
    import signal
    import socket
    import subprocess
    import sys

    server = fake(GOOD, latency_s=0.7)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "judges.toml"
    config.write_text(
        f'port = {port}\ncache = "{tmp_path}/c.db"\n[[judge]]\nname = "llm"\nmodel = "m"\nbase_url = "{server.url}"\n'
    )
    code = (
        "import sys, pathlib; from palaestra.judges.server.launch import *\n"
        "start(load_config(pathlib.Path(sys.argv[1])))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(config)])
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(400):
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.05)
        replies = []
        body = {"items": [{"id": "a", "response": "An answer."}]}
        thread = threading.Thread(target=lambda: replies.append(post(url, "/v1/score", body)))
        thread.start()
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        thread.join(20)
        assert replies[0].json()["results"][0]["reward"] == 0.7
        assert process.wait(20) == 0
    finally:
        process.kill()
