"""The demo's servers: real processes on real sockets, gone when the demo ends, however it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(kind: str, log: Path, *arguments: str, patience_s: float = 60.0) -> Iterator[str]:
    """Run `palaestra serve KIND` and yield its URL once it answers.

    Args:
        kind: ``envs`` or ``judges``.
        log: file for what it prints.
        *arguments: further words of the command.
        patience_s: how long it may take to come up.

    Raises:
        RuntimeError: it ended or did not answer; the message quotes its last lines.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        command = [sys.executable, "-m", "palaestra", "serve", kind, *arguments, "--port", str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            _wait_until_healthy(process, url, log, patience_s)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_healthy(process: subprocess.Popen, url: str, log: Path, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/healthz", timeout=2.0).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    last = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
    raise RuntimeError(f"the server at {url} did not come up; its last words in {log}: {last}")
