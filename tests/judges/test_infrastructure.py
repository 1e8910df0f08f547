import asyncio
import json
import sqlite3
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.judges import Budget, Item, RankRequest, ScoreRequest
from palaestra.judges.cache import CacheError, VerdictCache, cache_key, filesystem_of
from palaestra.judges.context import Meter, current_run
from palaestra.judges.limits import AdaptiveLimiter
from palaestra.judges.replay import ReplayLog, check_log, read_log, sealed
from palaestra.judges.rescore import rescore
from palaestra.judges.server.launch import preload
from palaestra.judges.singleflight import SingleFlight
from palaestra.judges.testing import Fault, Oracle
from palaestra.lm import OpenAIModel, Usage


# ---- cache
def test_cache_keeps_values_across_openings_and_updates(tmp_path):
    path = tmp_path / "c.db"
    cache = VerdictCache(path)
    cache.put("k", {"v": 1})
    assert cache.get("k") == {"v": 1}  # before it is written
    cache.put("k", {"v": "x" * 10_000})
    cache.close()
    cache.close()
    again = VerdictCache(path)
    assert again.get("k") == {"v": "x" * 10_000} and again.get("none") is None and len(again) == 1
    again.close()
    assert sqlite3.connect(path).execute("select bytes from verdicts").fetchone()[0] < 200  # packed


def test_cache_evicts_the_least_recently_used_by_bytes():
    cache = VerdictCache(max_bytes=300)
    for name in "abc":
        cache.put(name, name * 98)
        cache.flush()
        time.sleep(0.002)
    assert cache.get("a") == "a" * 98
    cache.flush()
    cache.put("d", "d" * 98)
    assert len(cache) <= 3
    assert cache.get("b") is None and cache.get("a") == "a" * 98 and cache.get("d")
    cache.close()


def test_cache_refuses_none_wrong_files_and_network_disks(tmp_path, monkeypatch):
    cache = VerdictCache()
    with pytest.raises(ValueError, match="None"):
        cache.put("k", None)
    cache.close()
    assert not cache.writable()
    bad = tmp_path / "bad.db"
    bad.write_text("this is not a database, it is a text that is long enough to be read as a page" * 20)
    with pytest.raises(CacheError, match="move it away"):
        VerdictCache(bad)
    monkeypatch.setattr("palaestra.judges.cache.filesystem_of", lambda path: "nfs4")
    with pytest.raises(CacheError, match="network"):
        VerdictCache(tmp_path / "c.db")
    assert filesystem_of(tmp_path)


def test_cache_keys_separate_what_must_be_separate():
    base = ("judge", "m@1", [{"role": "user", "content": "ab"}], {"seed": 1}, None)
    others = [
        ("judgem@1", "", [{"role": "user", "content": "ab"}], {"seed": 1}, None),
        ("judge", "m@2", [{"role": "user", "content": "ab"}], {"seed": 1}, None),
        ("judge", "m@1", [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], {"seed": 1}, None),
        ("judge", "m@1", [{"role": "user", "content": "ab"}], {"seed": 2}, None),
        ("judge", "m@1", [{"role": "user", "content": "ab"}], {"seed": 1}, {"type": "json_object"}),
        ("judge", "m@1", [{"role": "user", "content": "é"}], {"seed": 1}, None),
        ("judge", "m@1", [{"role": "user", "content": "e\u0301"}], {"seed": 1}, None),  # no normalisation
    ]
    keys = {cache_key(*row) for row in [base, *others]} | {cache_key(*base, sample=1)}
    assert len(keys) == len(others) + 2 and cache_key(*base) == cache_key(*base)


# ---- single flight
def test_single_flight_survives_its_leader_and_stops_with_the_last():
    async def run():
        flights, started, cancelled = SingleFlight(), [], []

        async def work():
            started.append(1)
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                cancelled.append(1)
                raise
            return 7

        leader = asyncio.create_task(flights.run("k", work))
        await asyncio.sleep(0.01)
        follower = asyncio.create_task(flights.run("k", work))
        await asyncio.sleep(0.01)
        leader.cancel()
        assert await follower == (7, False) and started == [1] and not cancelled
        alone = asyncio.create_task(flights.run("j", work))
        await asyncio.sleep(0.01)
        alone.cancel()
        await asyncio.sleep(0.01)
        assert cancelled == [1] and not flights._flights
        assert await flights.run("k", work) == (7, True)

    asyncio.run(run())


# ---- limiter
def test_limit_halves_on_overload_and_grows_with_successes():
    async def run():
        limiter = AdaptiveLimiter(start=8, minimum=2, maximum=10)
        for outcome in ["overload"] * 5:
            await limiter.acquire(1)
            limiter.release(outcome, 1, 1)
            await asyncio.sleep(0.06)
        assert limiter.limit == 2
        for _ in range(60):
            await limiter.acquire(1)
            limiter.release("ok", 1, 1)
        assert limiter.limit == 10 and limiter.in_flight == 0

    asyncio.run(run())


def test_limiter_bounds_concurrency_and_serves_runs_in_turn():
    async def run():
        limiter, order, active, peak = AdaptiveLimiter(start=1, minimum=1, maximum=1), [], 0, 0

        async def job(run_id, number):
            nonlocal active, peak
            current_run.set(run_id)
            await limiter.acquire(1)
            active += 1
            peak = max(peak, active)
            order.append(run_id)
            await asyncio.sleep(0)
            active -= 1
            limiter.release("error", 1, 1)

        jobs = [("big", i) for i in range(6)] + [("small", i) for i in range(2)]
        await asyncio.gather(*(asyncio.create_task(job(*j)) for j in jobs))
        assert peak == 1 and limiter.queued == 0
        assert max(i for i, name in enumerate(order) if name == "small") <= 4

    asyncio.run(run())


def test_a_cancelled_waiter_gives_its_place_up():
    async def run():
        limiter = AdaptiveLimiter(start=1, minimum=1, maximum=1)
        await limiter.acquire(1)
        waiting = asyncio.create_task(limiter.acquire(1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        limiter.release("ok", 1, 1)
        await asyncio.wait_for(limiter.acquire(1), 1)
        assert limiter.in_flight == 1

    asyncio.run(run())


def test_rates_are_held_and_token_estimates_corrected():
    async def run():
        limiter = AdaptiveLimiter(start=8, tokens_per_minute=6000)  # 100 a second, 500 at once
        started = time.monotonic()
        for _ in range(2):
            await limiter.acquire(400)
            limiter.release("ok", 400, 150)  # it took less than estimated
        assert time.monotonic() - started >= 0.4
        assert 200 < limiter._tokens.level < 400

    asyncio.run(run())
    with pytest.raises(ValueError, match="minimum"):
        AdaptiveLimiter(start=1, minimum=2)


def test_the_limiter_learns_from_a_real_server(fake):
    server = fake("fine", capacity=2)

    async def run():
        limiter = AdaptiveLimiter(start=8, maximum=8)
        lm = OpenAIModel("m", base_url=server.url, limiter=limiter, max_attempts=20, backoff_s=0.05, backoff_cap_s=0.2)
        rows = [[{"role": "user", "content": str(i)}] for i in range(20)]
        answers = await asyncio.gather(*(lm.complete(row) for row in rows))
        return [a.text for a in answers], limiter

    server.latency_s = 0.02
    texts, limiter = asyncio.run(run())
    assert texts == ["fine"] * 20 and limiter.in_flight == 0


# ---- budget
@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 20), st.integers(0, 2000), st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), max_size=40)
)
def test_budgets_are_never_exceeded_at_dispatch(max_calls, max_tokens, calls):
    meter = Meter(Budget(max_calls=max_calls, max_tokens=max_tokens))
    for estimate, used in calls:
        before = meter.tokens
        if meter.reserve(estimate):
            assert meter.calls <= max_calls and before + estimate <= max_tokens
            meter.settle(estimate, Usage(1, min(used, estimate), 0))
    assert meter.calls <= max_calls and meter.tokens <= max_tokens


# ---- replay
TEXTS = ["aaaa", "bb", "cccccc"]


def logged_run(fake, llm_service, tmp_path, **log):
    service = llm_service(fake(Oracle(quality=lambda t: len(t) / 3, points_per_quality=2.0)))
    service.runtime.log = ReplayLog(tmp_path / "log", **log)
    group = {"id": "g", "prompt": "q", "responses": [{"id": t, "response": t} for t in TEXTS]}
    reply = asyncio.run(service.rank(RankRequest(group=group, request_id="req", run_id="run")))
    service.runtime.log.close()
    return reply, tmp_path / "log"


def test_log_is_chained_reads_back_and_holds_no_bodies(fake, llm_service, tmp_path):
    _, log = logged_run(fake, llm_service, tmp_path)
    records = list(read_log(log))
    assert len(records) == 3 and all(r["request_id"] == "req" and r["run_id"] == "run" for r in records)
    assert all("messages" not in r and len(r["prompt_sha"]) == 16 for r in records)
    report = check_log(log)
    assert report.ok and report.records == 3


@pytest.mark.parametrize("damage", ["change", "change the last", "remove", "swap", "forge"])
def test_tampering_breaks_the_chain(fake, llm_service, tmp_path, damage):
    _, log = logged_run(fake, llm_service, tmp_path)
    file = next(log.glob("*.jsonl"))
    lines = file.read_text().splitlines()
    if damage == "change":
        lines[0] = lines[0].replace('"attempt": 1', '"attempt": 2')
    elif damage == "change the last":
        lines[-1] = lines[-1].replace('"status": "ok"', '"status": "no"')
    elif damage == "forge":  # a whole new line with a hash of its own, but not the one the next line knows
        record = json.loads(lines[1]) | {"attempt": 9}
        record.pop("sha")
        lines[1] = sealed(json.dumps(record, sort_keys=True).encode()).decode()
    elif damage == "remove":
        del lines[1]
    else:
        lines[1], lines[2] = lines[2], lines[1]
    file.write_text("\n".join(lines) + "\n")
    assert check_log(log).broken_chain


def test_a_log_is_continued_and_secrets_are_redacted(fake, llm_service, tmp_path):
    _, log = logged_run(fake, llm_service, tmp_path, bodies=True, secrets=["cccccc"])
    text = next(log.glob("*.jsonl")).read_text()
    assert "cccccc" not in text and "[redacted]" in text and "messages" in text
    more = ReplayLog(log)
    more.append({"status": "ok"})
    more.close()
    assert check_log(log).ok


def test_a_log_survives_a_torn_line_and_an_empty_segment(tmp_path):
    log = ReplayLog(tmp_path)
    log.append({"status": "ok"})
    log.close()
    (tmp_path / "log-00002.jsonl").touch()  # opened after the first one was full, and never written
    more = ReplayLog(tmp_path)
    more.append({"status": "ok"})
    more.close()
    whole = check_log(tmp_path)
    assert whole.ok and whole.records == 2
    with (tmp_path / "log-00002.jsonl").open("ab") as file:
        file.write(b'{"status": "o')  # the process died here
    last = ReplayLog(tmp_path)
    last.append({"status": "ok"})
    last.close()
    report = check_log(tmp_path)
    assert report.records == 3 and report.broken_chain == ["log-00002.jsonl:2: not JSON"]
    assert report.head != whole.head


def test_a_verdict_that_reads_differently_today_is_reported(fake, llm_service, tmp_path):
    from palaestra.judges.parsing import Shape, Slot
    from palaestra.judges.replay import shape_record

    shape = shape_record(Shape("x", slots=(Slot("n", "number", 0, 10),)))
    log = ReplayLog(tmp_path / "l")
    log.append({"status": "ok", "shape": shape, "output": '{"n": 3}', "verdict": {"n": 3.0}})
    log.append({"status": "ok", "shape": shape, "output": '{"n": 3}', "verdict": {"n": 4.0}})
    log.append({"status": "ok", "shape": shape, "output": "nothing", "verdict": {"n": 4.0}})
    log.close()
    report = check_log(tmp_path / "l")
    assert len(report.different) == 2 and not report.broken_chain


def test_groups_are_ranked_again_without_a_judge(fake, llm_service, tmp_path):
    _, log = logged_run(fake, llm_service, tmp_path)
    again = rescore(log, reward="quantile")[0]
    by_id = {row["id"]: row["reward"] for row in again["ranking"]}
    assert by_id == {"aaaa": 0.5, "bb": 0.0, "cccccc": 1.0}
    for estimator in ("wins", "bt", "ls_margin", "lmm"):
        assert rescore(log, estimator=estimator)[0]["stats"]["estimator"] == estimator
    with pytest.raises(ValueError, match="no comparisons"):
        empty = ReplayLog(tmp_path / "empty")
        empty.append({"status": "ok"})
        empty.close()
        rescore(tmp_path / "empty")


def test_replay_mode_answers_from_the_log_only(fake, llm_service, tmp_path):
    reply, log = logged_run(fake, llm_service, tmp_path)
    server = fake(faults=Fault("server_error"))
    service = llm_service(server)
    assert preload(service, log) == 3
    group = {"id": "g", "prompt": "q", "responses": [{"id": t, "response": t} for t in TEXTS]}
    again = asyncio.run(service.rank(RankRequest(group=group)))
    assert again.rewards == reply.rewards and server.hits == 0
    other = asyncio.run(service.score(ScoreRequest(items=[Item(id="a", response="new")])))
    assert other.results[0].error.code == "cache_miss" and server.hits == 0
    service.runtime.cache.close()


def test_log_lines_are_plain_json(fake, llm_service, tmp_path):
    _, log = logged_run(fake, llm_service, tmp_path)
    for line in next(log.glob("*.jsonl")).read_text().splitlines():
        assert json.loads(line)["status"] == "ok"
