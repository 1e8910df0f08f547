"""Runs a vLLM server for tests and examples in an interpreter of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

SOURCE = Path(__file__).parents[2] / "trainer" / "engines" / "vllm_cpu.py"


def why_not(python: str | None) -> str | None:
    """Why there can be no server, or None."""
    if not python:
        return "PALAESTRA_VLLM_PYTHON does not name an interpreter with vLLM"
    try:
        done = subprocess.run([python, "-c", "import vllm"], capture_output=True, text=True, timeout=300)
    except OSError as error:
        return f"PALAESTRA_VLLM_PYTHON = {python}: {error.strerror}"
    return None if done.returncode == 0 else f"PALAESTRA_VLLM_PYTHON = {python} cannot import vllm"


@contextlib.contextmanager
def serving(python: str, model: Path, scratch: Path, *extra: str, wait: float = 400.0) -> Iterator[str]:
    """A server of a model folder; yields its address.

    The one file that a CPU server needs from us is put on its path, so that interpreter need not have palaestra.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE, scratch / "palaestra_plain_weights.py")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        **os.environ,
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "PYTHONPATH": str(scratch),
    }
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--generation-config", "vllm", "--logprobs-mode", "processed_logprobs"]
    command += ["--max-logprobs", "-1", "--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill"]
    command += ["--worker-extension-cls", "palaestra_plain_weights.PlainWeights", *extra]
    log = scratch / "server.log"
    with open(log, "wb") as out:
        server = subprocess.Popen(command, env=env, cwd=scratch, stdout=out, stderr=out, start_new_session=True)
    try:
        url, limit = f"http://127.0.0.1:{port}", time.monotonic() + wait
        while True:
            if server.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"vLLM did not start: {log.read_text(errors='replace')[-3000:]}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            time.sleep(1)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
