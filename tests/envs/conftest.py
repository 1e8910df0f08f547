"""Environments and a live server that several test modules use."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

import palaestra as pl
from palaestra.envs.server import Limits, create_app


@pl.env("test/Guess-v0")
def guess(rng, hi=20):
    """Guess a number from hints."""
    n = int(rng.integers(1, hi + 1))
    reply = yield f"Guess an integer from 1 to {hi}."
    for _ in range(5):
        m = re.search(r"\d{1,9}", reply)
        if m and int(m[0]) == n:
            return 1.0
        reply = yield "Send one integer." if not m else "higher" if int(m[0]) < n else "lower"
    return 0.0, "No guess was right."


@guess.oracle
def _solve(rng, hi=20):
    yield str(int(rng.integers(1, hi + 1)))


@pl.env("test/Add-v0", max_turns=20)
def add_with_tools(rng):
    """Add two numbers with a tool and submit the sum."""
    a, b = (int(n) for n in rng.integers(10, 99, 2))

    def add(a: int, b: int) -> int:
        """Add two integers.

        Args:
            a: the first
            b: the second
        """
        return a + b

    def fail(text: str) -> str:
        """Always fails."""
        raise ValueError(f"cannot take {text}")

    def submit(total: int) -> pl.Result:
        """Hand in the sum."""
        return pl.Result(float(total == a + b))

    while True:
        yield pl.Ask(f"Add {a} and {b} and submit the sum.", tools=[add, fail, submit])


class LiveServer:
    """An environment server on a real socket in a thread."""

    def __init__(self, **options) -> None:
        import uvicorn

        self.app = create_app(**options)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(128)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(self.app, log_level="error", timeout_graceful_shutdown=3)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: self.server.run(sockets=[self.socket]), daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 20
        while not self.server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.server.started

    @property
    def sessions(self):
        return self.app.state.sessions

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()
        with contextlib.suppress(OSError):
            self.socket.close()


@pytest.fixture
def live() -> Iterator:
    """Make a live server with the given options; closed at the end of the test."""
    servers = []

    def make(**options) -> LiveServer:
        servers.append(LiveServer(**options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[LiveServer]:
    server = LiveServer(limits=Limits(sessions=200))
    yield server
    server.close()
