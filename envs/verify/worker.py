"""The loop of one worker process: JSON lines in, JSON lines out. Started by `pool`, never imported."""

import importlib
import json
import resource
import signal
import sys
import types
from pathlib import Path
from typing import Any

LIFETIME = 12  # seconds of wall time after which a comparison kills its own worker, should the parent be gone
MEMORY = 2 << 30  # bytes of address space; an answer that wants more is too large


def main() -> None:
    """Answer ``[gold, answer, last_resort]`` lines with ``[ok, reason, gold_kind, pred_kind]`` until the input ends."""
    sys.path[:] = json.loads(sys.argv[1])
    # The verifier under a name of its own, so that nothing else of the package is imported.
    package = types.ModuleType("verifier")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["verifier"] = package
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard), hard))
    compare = importlib.import_module("verifier.compare")
    importlib.import_module("verifier.numeric")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        gold, answer, last_resort = json.loads(line)
        signal.alarm(LIFETIME)
        try:
            result = compare.compare_texts(gold, answer)
            if last_resort and compare.last_resort_helps(gold, result):
                result = ask_sympy(gold, answer) or result
        except MemoryError:
            result = compare.Result(False, "too_large")
        signal.alarm(0)
        sys.stdout.write(json.dumps([result.ok, result.reason, result.gold_kind, result.pred_kind]) + "\n")
        sys.stdout.flush()


def ask_sympy(gold: str, answer: str) -> Any:
    """The last resort, or None where sympy is not installed."""
    try:
        symbolic = importlib.import_module("verifier.symbolic")
    except ImportError:
        return None
    return symbolic.decide(gold, answer)


if __name__ == "__main__":
    main()
