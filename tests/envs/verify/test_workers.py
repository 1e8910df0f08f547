"""The verifier in threads, event loops, forked and spawned children, next to alarms, and when its worker dies."""

import asyncio
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from palaestra.envs.verify import Reason, averify, verify, warm_up
from palaestra.envs.verify import pool as pools

HARD = (r"\frac{\sqrt{2}}{2}", r"\boxed{\sin 45^\circ}")  # needs many digits, so it goes to a worker


def child(queue):
    queue.put((verify(*HARD).ok, verify("2", r"\boxed{3}").ok))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_a_child_process(method):
    warm_up()
    context = mp.get_context(method)
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == (True, False)
    process.join(30)
    assert process.exitcode == 0
    assert verify(*HARD)  # the parent's workers are still its own


def test_in_threads():
    verdicts = []
    threads = [threading.Thread(target=lambda: verdicts.append(verify(*HARD).ok)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert verdicts == [True] * 8


def test_the_event_loop_stays_free():
    warm_up()
    gaps = []

    async def heartbeat():
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - start)

    async def main():
        beat = asyncio.create_task(heartbeat())
        hostile = r"\boxed{" + "+".join([r"\sin(10^6)"] * 140) + "}"
        verdicts = await asyncio.gather(*[averify(*HARD) for _ in range(20)], averify(r"\sqrt{2}", hostile))
        beat.cancel()
        return verdicts

    verdicts = asyncio.run(main())
    assert [v.ok for v in verdicts] == [True] * 20 + [False]
    assert max(gaps) < 0.5  # 50 ms on a quiet machine; the bound only has to catch a frozen loop


def test_an_outer_alarm_still_fires():
    fired = []
    before = signal.signal(signal.SIGALRM, lambda *_: fired.append(True))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        verify(*HARD)
        deadline = time.monotonic() + 5
        while not fired and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert fired


def test_a_worker_that_takes_too_long_is_killed_and_replaced():
    pool = pools.Pool(1)
    try:
        pool.warm_up()
        victim = pool.idle[0].process
        os.kill(victim.pid, signal.SIGSTOP)
        verdict = pool.compare(*HARD, deadline=0.2)
        assert not verdict.ok and verdict.reason is Reason.TIMEOUT and pool.timeouts == 1
        assert victim.poll() is not None
        assert pool.compare(HARD[0], r"\sin 45^\circ").ok
    finally:
        pool.close()
        pool.close()


def test_a_dead_worker_is_replaced_and_no_verdict_is_lost():
    pool = pools.Pool(1)
    try:
        pool.warm_up()
        os.kill(pool.idle[0].process.pid, signal.SIGKILL)
        assert pool.compare(HARD[0], r"\sin 45^\circ").ok and pool.timeouts == 0
    finally:
        pool.close()


def test_workers_that_cannot_start_are_an_error_and_no_verdict(monkeypatch):
    monkeypatch.setattr(pools, "_WORKER", pools._WORKER.with_name("missing.py"))
    pool = pools.Pool(1)
    with pytest.raises(pools.PoolError):
        pool.compare(*HARD)


def test_closing_leaves_no_process():
    pool = pools.Pool(2)
    pool.warm_up()
    processes = [worker.process for worker in pool.idle]
    pool.close()
    assert processes and all(process.returncode is not None for process in processes)


def test_a_killed_program_leaves_no_worker_behind():
    code = (
        "import os, signal\n"
        "from palaestra.envs.verify import pool as pools\n"
        "pools.pool().warm_up()\n"
        "print(pools.pool().idle[0].process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    above = Path(pools.__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(above)},
    )
    worker = int(done.stdout)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and alive(worker):
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid):
    """Is the process there and no zombie that only waits for somebody to collect it?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_same_verdicts_on_a_busy_machine(cases):
    alone = [verify(row["gold"], row["prediction"]).ok for row in cases]
    context = mp.get_context("spawn")
    burners = [context.Process(target=burn, args=(8,), daemon=True) for _ in range(4)]
    for burner in burners:
        burner.start()
    try:
        time.sleep(0.5)
        assert [verify(row["gold"], row["prediction"]).ok for row in cases] == alone
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
