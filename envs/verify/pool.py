"""Persistent workers for the expensive comparisons: each is a process of its own that a deadline can kill.

The worker imports only the verifier, not the program that started it, so it starts quickly, never runs a user's
``__main__`` again, and holds no threads, sockets or GPU memory of its parent. Requests and replies are JSON lines.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from .compare import Result
from .verdict import Reason

DEADLINE = 0.8  # seconds for one comparison, once the worker is running
LAST_RESORT_DEADLINE = 10.0  # the same for one that sympy is asked about; importing it alone takes a second or more
START_DEADLINE = 30.0
_WORKER = Path(__file__).with_name("worker.py")


class PoolError(RuntimeError):
    """The workers could not be started or died twice; this says nothing about the answer."""


class _Worker:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WORKER), json.dumps([p for p in sys.path if p])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            start_new_session=True,  # an interrupt of the terminal is for the parent
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin: IO[bytes] = self.process.stdin
        self.stdout: IO[bytes] = self.process.stdout
        self.ready = False

    def line(self, deadline: float) -> bytes | None:
        """One line of output; None when the deadline passes first, b"" when the worker is gone."""
        chunks = b""
        descriptor = self.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN | select.POLLHUP)
        while not chunks.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(left * 1000):
                return None
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return b""
            chunks += chunk
        return chunks

    def ask(self, gold: str, answer: str, deadline: float, last_resort: bool = False) -> Result | None:
        """The outcome of one comparison; None if it took too long. The caller kills the worker then.

        Raises:
            PoolError: the worker died or could not start.
        """
        try:
            if not self.ready:
                if not self.line(time.monotonic() + START_DEADLINE):
                    raise PoolError("the verifier's worker did not start")
                self.ready = True
            self.stdin.write(json.dumps([gold, answer, last_resort]).encode() + b"\n")
            self.stdin.flush()
            reply = self.line(time.monotonic() + deadline)
        except OSError as error:
            raise PoolError(f"the verifier's worker is gone: {error}") from None
        if reply is None:
            return None
        if reply == b"":
            raise PoolError("the verifier's worker died")
        ok, reason, gold_kind, pred_kind = json.loads(reply)
        return Result(ok, Reason(reason), gold_kind, pred_kind)

    def stop(self) -> None:
        """Kill the process and close its pipes."""
        with contextlib.suppress(OSError):
            self.process.kill()
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        with contextlib.suppress(OSError):
            self.process.wait()


class Pool:
    """Up to ``size`` workers, started when needed and shared by all threads of this process."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or max(1, min(4, os.cpu_count() or 1))
        self.idle: list[_Worker] = []
        self.slots = threading.BoundedSemaphore(self.size)
        self.lock = threading.Lock()
        self.timeouts = 0

    def _take(self) -> _Worker:
        with self.lock:
            while self.idle:
                worker = self.idle.pop()
                if worker.process.poll() is None:
                    return worker
                worker.stop()
        return _Worker()

    def compare(self, gold: str, answer: str, deadline: float = DEADLINE, last_resort: bool = False) -> Result:
        """Compare two answers in a worker; one that takes too long is killed and its answer is wrong.

        With ``last_resort`` the worker asks sympy, if it is installed, about what stays undecided otherwise.

        Raises:
            PoolError: two workers in a row could not be started or died.
        """
        with self.slots:
            for attempt in (0, 1):
                worker = self._take()
                kept = False
                try:
                    result = worker.ask(gold, answer, deadline, last_resort)
                    kept = result is not None
                except PoolError:
                    if attempt:
                        raise
                    continue
                finally:
                    if not kept:
                        worker.stop()
                if result is None:
                    self.timeouts += 1
                    return Result(False, Reason.TIMEOUT)
                with self.lock:
                    self.idle.append(worker)
                return result
        raise PoolError("unreachable")

    def warm_up(self) -> None:
        """Start one worker now, so that the first hard answer does not wait for it."""
        self.compare("1+\\sqrt{2}", "\\sqrt{2}+1", START_DEADLINE)

    def close(self) -> None:
        """Stop all idle workers; safe to call twice."""
        with self.lock:
            workers, self.idle = self.idle, []
        for worker in workers:
            worker.stop()

    def forget(self) -> None:
        """After a fork: the workers belong to the parent; only let go of their pipes."""
        for worker in self.idle:
            for pipe in (worker.stdin, worker.stdout):
                with contextlib.suppress(OSError):
                    os.close(pipe.fileno())
            worker.process.returncode = 0  # not our child: never wait for it


_pool: Pool | None = None
_pool_lock = threading.Lock()


def pool() -> Pool:
    """The pool of this process."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = Pool()
        return _pool


def _after_fork() -> None:
    global _pool, _pool_lock
    _pool_lock = threading.Lock()
    if _pool is not None:
        _pool.forget()
        _pool = None


def _at_exit() -> None:
    if _pool is not None:
        _pool.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
