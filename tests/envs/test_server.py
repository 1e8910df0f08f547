"""The environment server and its client: sessions, limits, errors, OpenEnv's protocol."""

import asyncio
import json
import math
import sys
import threading
import time

import httpx
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import palaestra as pl
from palaestra.envs import HttpEnv
from palaestra.envs.client import ServerError
from palaestra.envs.server import Limits
from palaestra.envs.server.app import serve
from palaestra.envs.server.guard import require_token, wire


@pl.env("test/Sleepy-v0")
def sleepy(rng, seconds=0.5):
    """Sleeps while it grades."""
    yield "?"
    time.sleep(seconds)
    return 1.0


@pl.env("test/Crash-v0")
def crash(rng):
    """Its grader fails."""
    yield "?"
    raise RuntimeError("out of order")


@pl.env("test/Files-v0", local_only=("path",))
def files(rng, path=""):
    """Has a knob that names a file of the server."""
    return f"Say {int(rng.integers(100))}.", "x"


def _error(reply):
    body = reply.json()["error"]
    assert set(body) == {"code", "message", "retryable", "details", "request_id"} and body["request_id"]
    return body["code"], body["message"]


def test_a_remote_environment_is_the_local_one(shared_server):
    for env_id, replies in (("test/Guess-v0", ["x", "3\ud800", "é😀", "1"]), ("palaestra/Countdown-v0", ["1+1"])):
        local, remote = pl.make(env_id), HttpEnv(shared_server.url, env_id)
        for seed in (0, 5):
            assert local.reset(seed=seed) == remote.reset(seed=seed)
            for reply in replies:
                expected = local.step(reply)
                assert expected == remote.step(reply)
                if expected[2] or expected[3]:
                    break
            assert remote.messages == local.messages
        remote.close()


def test_the_client_is_a_gymnasium_environment(shared_server, recwarn):
    check_env(HttpEnv(shared_server.url, "test/Guess-v0"), skip_render_check=True)


def test_async_client_and_fork(shared_server):
    async def episode(seed):
        env = HttpEnv(shared_server.url, "test/Guess-v0", hi=9)
        await env.areset(seed=seed)
        for reply in map(str, (5, 2, 8, 1, 9)):
            step = await env.astep(reply)
            if step[2]:
                break
        await env.aclose()
        return step[1]

    async def run():
        return await asyncio.gather(*(episode(seed) for seed in range(40)))

    rewards = asyncio.run(run())
    assert len(rewards) == 40 and set(rewards) == {0.0, 1.0}

    env = HttpEnv(shared_server.url, "test/Guess-v0", hi=10**6)
    env.reset(seed=3)
    env.step("10")
    assert env.fork().step("20") == env.step("20")


def test_step_outside_an_episode_is_refused(shared_server):
    env = HttpEnv(shared_server.url, "palaestra/Sort-v0")
    with pytest.raises(ResetNeeded):
        env.step("x")
    env.reset(seed=0)
    env.step("x")
    with pytest.raises(ResetNeeded):
        env.step("x")
    env.close()
    env.close()


def test_errors_have_one_shape(shared_server):
    client = httpx.Client(base_url=shared_server.url)
    cases = [
        (client.get("/nope"), 404, "not_found"),
        (client.post("/v1/sessions", json={"env_id": "palaestra/Srt-v0"}), 404, "unknown_env"),
        (client.post("/v1/sessions", json={"env_id": 3}), 422, "bad_request"),
        (client.post("/v1/sessions", json={"env_id": "palaestra/Sort-v0", "sed": 1}), 422, "bad_request"),
        (client.post("/v1/sessions", json={"env_id": "palaestra/Sort-v0", "seed": -1}), 422, "bad_request"),
        (client.post("/v1/sessions", json={"env_id": "palaestra/Sort-v0", "kwargs": {"digit": 1}}), 422, "bad_request"),
        (client.post("/v1/sessions", content=b"{", headers={"content-type": "application/json"}), 422, "bad_request"),
        (client.post("/v1/sessions/none/step", json={"action": "x"}), 404, "unknown_session"),
        (client.post("/openenv/none/reset", json={}), 404, "unknown_env"),
    ]
    for reply, status, code in cases:
        assert (reply.status_code, _error(reply)[0]) == (status, code), reply.text
    assert "did you mean 'palaestra/Sort-v0'" in _error(cases[1][0])[1]
    assert "did you mean 'digits'" in _error(cases[5][0])[1]
    assert client.delete("/v1/sessions/none").status_code == 204
    assert client.get("/health", headers={"x-request-id": "abc"}).headers["x-request-id"] == "abc"


def test_step_after_the_end_is_refused_and_a_repeated_request_is_not_played_twice(shared_server):
    client = httpx.Client(base_url=shared_server.url)
    session = client.post("/v1/sessions", json={"env_id": "test/Guess-v0", "seed": 5}).json()["session_id"]
    body = {"action": "nothing", "request_id": "r1"}
    first = client.post(f"/v1/sessions/{session}/step", json=body)
    assert client.post(f"/v1/sessions/{session}/step", json=body).json() == first.json()
    assert shared_server.sessions.open[session].steps == 1
    for number in range(5):
        last = client.post(f"/v1/sessions/{session}/step", json={"action": "no", "request_id": f"s{number}"})
    assert last.json()["terminated"]
    again = client.post(f"/v1/sessions/{session}/step", json={"action": "no", "request_id": "s4"})
    assert again.json() == last.json()
    over = client.post(f"/v1/sessions/{session}/step", json={"action": "no", "request_id": "s5"})
    assert (over.status_code, _error(over)[0]) == (409, "episode_over")


def test_a_failed_grader_is_null_on_the_wire_and_nan_in_the_client(shared_server):
    env = HttpEnv(shared_server.url, "test/Crash-v0")
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step("x")
    assert math.isnan(reward) and truncated and not terminated and "out of order" in info["error"]
    assert wire(float("nan")) is None and wire(float("inf")) is None


def test_envs_are_listed_and_metrics_count(shared_server):
    client = httpx.Client(base_url=shared_server.url)
    rows = {row["id"]: row for row in client.get("/v1/envs").json()["envs"]}
    assert rows["palaestra/Sort-v0"]["knobs"] == {"digits": 6} and rows["test/Files-v0"]["knobs"] == {}
    HttpEnv(shared_server.url, "palaestra/Sort-v0").reset(seed=0)
    text = client.get("/metrics").text
    assert 'palaestra_env_sessions_total{env_id="palaestra/Sort-v0"}' in text and "palaestra_env_seconds_bucket" in text
    assert client.get("/openapi.json").json()["info"]["version"] == "1.0.0"


def test_knobs_that_name_files_cannot_be_set_from_outside(shared_server):
    with pytest.raises(ServerError, match="names things on the server"):
        HttpEnv(shared_server.url, "test/Files-v0", path="/etc/passwd").reset(seed=0)
    with pytest.raises(ServerError, match="names things on the server"):
        HttpEnv(shared_server.url, "test/Files-v0").reset(seed=0, options={"path": "/etc/passwd"})


@pytest.mark.parametrize(
    "env_id", ["os:path", "antigravity:x-v0", "palaestra.envs.sort:palaestra/Sort-v0", ":", "a:b:c"]
)
def test_a_client_cannot_make_the_server_import_modules(shared_server, env_id):
    reply = httpx.post(f"{shared_server.url}/v1/sessions", json={"env_id": env_id})
    assert (reply.status_code, _error(reply)[0]) == (404, "unknown_env") and "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("env_id", "knobs"),
    [
        ("palaestra/Compose-v0", {"length": 10**8}),
        ("palaestra/Compose-v0", {"examples": 10**8}),
        ("palaestra/Compose-v0", {"alphabet": ""}),
        ("palaestra/NameIndex-v0", {"size": 10**8}),
        ("palaestra/Lookup-v0", {"pages": 10**9}),
        ("palaestra/Sort-v0", {"digits": "many"}),
        ("palaestra/Sort-v0", {"digits": None}),
        ("palaestra/Countdown-v0", {"count": [1]}),
        ("palaestra/Sort-v0", {"max_turns": "a"}),
        ("palaestra/Sort-v0", {"test_share": "b"}),
    ],
)
def test_knobs_that_no_task_can_have_are_named(shared_server, env_id, knobs):
    reply = httpx.post(f"{shared_server.url}/v1/sessions", json={"env_id": env_id, "kwargs": knobs})
    code, message = _error(reply)[:2]
    assert (reply.status_code, code) == (422, "bad_request") and f"{next(iter(knobs))}=" in message, message


def test_a_reply_that_is_too_long_for_any_environment_is_judged_and_not_lost(shared_server):
    env = HttpEnv(shared_server.url, "palaestra/Sort-v0")
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step("\u00e9" * 9_000_000)
    assert reward == 0.0 and terminated and info["reason"] == "too_long"


def test_a_token_is_needed(live):
    server = live(token="secret")
    client = httpx.Client(base_url=server.url)
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic !!"}, {"authorization": "secret"}):
        reply = client.get("/v1/envs", headers=headers)
        assert (reply.status_code, _error(reply)[0]) == (401, "unauthorized")
    assert client.get("/v1/envs", headers={"authorization": "Bearer secret"}).status_code == 200
    assert client.get("/v1/envs", auth=("any", "secret")).status_code == 200
    assert client.get("/health").status_code == client.get("/healthz").status_code == 200
    with pytest.raises(ServerError, match="token"):
        HttpEnv(server.url, "palaestra/Sort-v0").reset()
    assert HttpEnv(server.url, "palaestra/Sort-v0", token="secret").reset(seed=0)[1]["episode_seed"] == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2"])
def test_other_machines_need_a_token(host):
    with pytest.raises(ValueError, match="token is required"):
        serve(host=host, port=1)
    require_token(host, "secret")
    require_token("127.0.0.1", None)


def test_bodies_are_limited(live):
    server = live(limits=Limits(body_bytes=2000))
    client = httpx.Client(base_url=server.url)
    big = json.dumps({"env_id": "x" * 3000}).encode()
    reply = client.post("/v1/sessions", content=big, headers={"content-type": "application/json"})
    assert (reply.status_code, _error(reply)[0]) == (413, "too_large")

    def chunks():
        yield from (big[i : i + 500] for i in range(0, len(big), 500))

    reply = client.post("/v1/sessions", content=chunks(), headers={"content-type": "application/json"})
    assert (reply.status_code, _error(reply)[0]) == (413, "too_large")


def test_capacity_idle_time_and_no_leak_after_a_thousand_abandoned_sessions(live):
    server = live(limits=Limits(sessions=1000, idle_seconds=2.0))
    clock = [0.0]
    server.sessions.clock = lambda: clock[0]

    async def abandon():
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            bodies = [{"env_id": "test/Guess-v0", "seed": i} for i in range(1000)]
            for start in range(0, 1000, 100):
                await asyncio.gather(*(client.post("/v1/sessions", json=b) for b in bodies[start : start + 100]))
            return await client.post("/v1/sessions", json=bodies[0])

    full = asyncio.run(abandon())
    assert (full.status_code, _error(full)[0]) == (503, "capacity") and full.headers["retry-after"] == "1"
    assert len(server.sessions.open) == 1000
    threads = threading.active_count()
    clock[0] = 3.0
    deadline = time.monotonic() + 20
    while server.sessions.open and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not server.sessions.open and threading.active_count() <= threads
    assert httpx.post(f"{server.url}/v1/sessions", json={"env_id": "test/Guess-v0"}).status_code == 200


def test_a_slow_environment_does_not_block_the_others(live):
    server = live(limits=Limits(workers=4))
    slow = HttpEnv(server.url, "test/Sleepy-v0", seconds=1.5)
    slow.reset(seed=0)
    results = []
    thread = threading.Thread(target=lambda: results.append(slow.step("x")))
    thread.start()
    time.sleep(0.1)
    start = time.monotonic()
    quick = HttpEnv(server.url, "palaestra/Sort-v0")
    quick.reset(seed=0)
    quick.step("x")
    assert time.monotonic() - start < 1.0 and thread.is_alive()
    thread.join()
    assert results[0][1] == 1.0


def test_a_second_step_meanwhile_is_busy(live):
    server = live()
    client = httpx.Client(base_url=server.url, timeout=20)
    session = client.post("/v1/sessions", json={"env_id": "test/Sleepy-v0", "kwargs": {"seconds": 0.8}}).json()[
        "session_id"
    ]
    thread = threading.Thread(target=lambda: client.post(f"/v1/sessions/{session}/step", json={"action": "a"}))
    thread.start()
    time.sleep(0.2)
    reply = httpx.post(f"{server.url}/v1/sessions/{session}/step", json={"action": "b"})
    assert (reply.status_code, _error(reply)[0]) == (409, "busy")
    thread.join()


def test_deadlines_end_the_session_unscored(live):
    server = live(limits=Limits(step_seconds=0.3))
    env = HttpEnv(server.url, "test/Sleepy-v0", seconds=1.0)
    env.reset(seed=0)
    _, reward, _, truncated, info = env.step("x")
    assert math.isnan(reward) and truncated and info["error"].startswith("deadline") and not server.sessions.open


def test_a_server_that_goes_away_is_a_failure_and_not_a_score(live, monkeypatch):
    monkeypatch.setattr("palaestra.envs.client.RETRY_WAITS", (0.0, 0.0, 0.0))
    server = live()
    env = HttpEnv(server.url, "test/Guess-v0")
    env.reset(seed=0)
    server.close()
    _, reward, _, truncated, info = env.step("3")
    assert (
        math.isnan(reward) and truncated and info["stop_reason"] == "env_error" and "cannot be reached" in info["error"]
    )
    with pytest.raises(ServerError, match="cannot be reached"):
        env.reset(seed=0)
    env.close()


def test_only_the_named_environments_are_offered(live):
    server = live(envs=["palaestra/Sort-v0"])
    assert [row["id"] for row in httpx.get(f"{server.url}/v1/envs").json()["envs"]] == ["palaestra/Sort-v0"]
    with pytest.raises(ServerError, match="does not offer"):
        HttpEnv(server.url, "palaestra/Countdown-v0").reset()
    assert httpx.get(f"{server.url}/openenv/palaestra/Countdown-v0/health").status_code == 404


def test_shutdown_closes_sessions(live):
    server = live()
    HttpEnv(server.url, "test/Guess-v0").reset(seed=0)
    server.close()
    assert not server.sessions.open and server.sessions.closing


def test_code_runs_behind_the_token_when_a_sandbox_is_given(live):
    from palaestra.sandbox import Sandbox, SandboxUnavailable

    try:
        sandbox = Sandbox.open()
    except SandboxUnavailable as reason:
        pytest.skip(f"no sandbox here: {reason}")
    try:
        server = live(token="secret", sandbox=sandbox)
        client = httpx.Client(base_url=server.url, timeout=60)
        assert client.post("/v1/run", json={"code": "print(6 * 7)"}).status_code == 401
        headers = {"authorization": "Bearer secret"}
        done = client.post("/v1/run", json={"code": "print(6 * 7)"}, headers=headers)
        assert done.status_code == 200 and done.json()["stdout"] == "42\n", done.text
        assert client.post("/v1/run", json={"code": 3}, headers=headers).status_code == 422
    finally:
        sandbox.close_sync()


# ---- OpenEnv -------------------------------------------------------------------------------------------------------


def test_openenv_routes(shared_server):
    client = httpx.Client(base_url=f"{shared_server.url}/openenv/test/Guess-v0")
    assert client.get("/health").json() == {"status": "healthy"}
    assert client.get("/metadata").json()["name"] == "test/Guess-v0"
    assert set(client.get("/schema").json()) == {"action", "observation", "state"}
    assert client.get("/state").json()["episode_id"] is None
    reset = client.post("/reset", json={"seed": 5, "hi": 10}).json()
    assert "from 1 to 10" in reset["observation"]["text"] and reset["done"] is False
    episode = reset["observation"]["episode_id"]
    step = client.post("/step", json={"action": {"text": "no"}, "episode_id": episode}).json()
    assert step["observation"]["text"] == "Send one integer." and step["reward"] == 0.0
    assert client.get("/state", params={"episode_id": episode}).json()["step_count"] == 1
    lost = client.post("/step", json={"action": {"text": "no"}})
    assert lost.status_code == 422 and "episode_id is missing" in _error(lost)[1]
    assert client.post("/step", json={"action": {"words": "no"}, "episode_id": episode}).status_code == 422
    assert client.post("/mcp", json={}).json()["jsonrpc"] == "2.0"
    listed = client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).json()
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["reset", "reply"]


def test_openenv_validator_passes(shared_server):
    validation = pytest.importorskip("openenv.cli._validation")
    for env_id in ("palaestra/Sort-v0", "test/Add-v0"):
        report = validation.validate_running_environment(f"{shared_server.url}/openenv/{env_id}", timeout_s=20)
        assert report["passed"] and report["mode"] == "simulation", report
        assert report["summary"]["failed_criteria"] == []


def test_openenv_generic_client_plays(shared_server):
    generic = pytest.importorskip("openenv.core.generic_client")
    pytest.importorskip("websockets")
    local = pl.make("test/Guess-v0", hi=10**6)
    first = local.reset(seed=9)[0][0]["content"]
    with generic.GenericEnvClient(base_url=f"{shared_server.url}/openenv/test/Guess-v0").sync() as client:
        with pytest.raises(RuntimeError, match="SESSION_ERROR"):
            client.step({"text": "1"})
        assert client.reset(seed=9, hi=10**6).observation["text"] == first
        assert client.step({"text": "17"}).observation["text"] == local.step("17")[0][0]["content"]
        assert client.state()["step_count"] == 1
        with pytest.raises(RuntimeError, match="VALIDATION_ERROR"):
            client.step({"words": "1"})
        with pytest.raises(RuntimeError, match="VALIDATION_ERROR"):
            client.reset(seed=9, high=3)
        with pytest.raises(RuntimeError, match="SESSION_ERROR"):
            client.step({"text": "none"})
        client.reset(seed=9, hi=10**6)
        for _ in range(6):
            result = client.step({"text": "none"})
        assert result.done and result.reward == 0.0 and result.observation["terminated"]
        with pytest.raises(RuntimeError, match="episode"):
            client.step({"text": "none"})
        assert client.reset(seed=9).done is False


def test_openenv_clients_put_the_token_into_the_address(live):
    generic = pytest.importorskip("openenv.core.generic_client")
    server = live(token="secret")
    path = f"{server.url.removeprefix('http://')}/openenv/palaestra/Sort-v0"
    with generic.GenericEnvClient(base_url=f"ws://user:secret@{path}").sync() as client:
        assert client.reset(seed=1).done is False
    for address in (f"ws://{path}", f"ws://user:wrong@{path}"):
        with pytest.raises(ConnectionError), generic.GenericEnvClient(base_url=address).sync() as client:
            client.reset(seed=1)


def test_a_dropped_websocket_frees_its_session(shared_server):
    generic = pytest.importorskip("openenv.core.generic_client")
    before = set(shared_server.sessions.open)
    with generic.GenericEnvClient(base_url=f"{shared_server.url}/openenv/test/Guess-v0").sync() as client:
        client.reset(seed=1)
        assert len(set(shared_server.sessions.open) - before) == 1
    deadline = time.monotonic() + 10
    while set(shared_server.sessions.open) - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not set(shared_server.sessions.open) - before


def test_websocket_messages_of_any_kind_get_a_named_error(shared_server):
    connect = pytest.importorskip("websockets.sync.client").connect
    url = shared_server.url.replace("http", "ws") + "/openenv/test/Guess-v0/ws"
    with connect(url) as socket:
        for message, code in (
            ("{", "INVALID_JSON"),
            ("[" * 10_000, "INVALID_JSON"),
            ("[]", "UNKNOWN_TYPE"),
            ('{"type": "dance"}', "UNKNOWN_TYPE"),
            ('{"type": "reset", "data": {"seed": -1}}', "VALIDATION_ERROR"),
            ('{"type": "reset", "data": 3}', "VALIDATION_ERROR"),
            ('{"type": "step", "data": {"text": "x"}}', "SESSION_ERROR"),
        ):
            socket.send(message)
            assert json.loads(socket.recv(timeout=10))["data"]["code"] == code
