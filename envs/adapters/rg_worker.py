"""reasoning-gym's scorers in a child process that lives on between calls and is killed when one takes too long."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from queue import Empty, Queue
from typing import Any

SECONDS = 10.0

# The child answers one line of JSON for each line it reads. Their prints go to stderr and thus nowhere.
_PROGRAM = """
import json, resource, sys
for what, most in ((resource.RLIMIT_AS, 4 << 30), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 1 << 20)):
    resource.setrlimit(what, (most, most))
out, sys.stdout = sys.stdout, sys.stderr
import reasoning_gym
print("ready", file=out, flush=True)
for line in sys.stdin:
    name, seed, config, answer = json.loads(line)
    try:
        data = reasoning_gym.create_dataset(name, seed=seed, size=1, **config)
        reply = {"score": float(data.score_answer(answer, data[0]))}
    except Exception as exc:
        reply = {"score": 0.0, "raised": type(exc).__name__}
    print(json.dumps(reply), file=out, flush=True)
"""


class ScorerBroken(RuntimeError):
    """The child process cannot be used; nothing was judged."""


class _Child:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.lines: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        if self.read(60.0) != "ready":
            self.kill()
            raise ScorerBroken("the scoring process did not start; is reasoning-gym installed?")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put("")

    def read(self, seconds: float) -> str | None:
        try:
            return self.lines.get(timeout=seconds) or None
        except Empty:
            return None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


_child: _Child | None = None
_lock = threading.Lock()


def score_in_child(name: str, seed: int, config: dict[str, Any], answer: str) -> float:
    """Their score of an answer to the item (name, seed, config); an answer on which they hang or crash is wrong.

    Raises:
        ScorerBroken: the process cannot be started.
    """
    global _child
    request = json.dumps([name, seed, config, answer[:20_000]], default=str)
    with _lock:
        for fresh in (False, True):
            if fresh or _child is None or _child.process.poll() is not None:
                _child = _Child()
            assert _child.process.stdin is not None
            try:
                _child.process.stdin.write(request + "\n")
                _child.process.stdin.flush()
                break
            except OSError:
                if fresh:
                    raise ScorerBroken("the scoring process died twice") from None
        assert _child is not None
        reply = _child.read(SECONDS)
        if reply is None:
            _child.kill()
            _child = None
            return 0.0
    return float(json.loads(reply)["score"])


@atexit.register
def _end() -> None:
    if _child is not None:
        _child.kill()
