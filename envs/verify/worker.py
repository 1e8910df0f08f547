"""The loop of one worker process: JSON lines in, JSON lines out. Started by `pool`, never imported."""

import importlib
import json
import signal
import sys
import types
from pathlib import Path

LIFETIME = 5  # seconds of wall time after which a comparison kills its own worker, should the parent be gone


def main() -> None:
    """Answer ``[gold, answer]`` lines with ``[ok, reason, gold_kind, pred_kind]`` until the input ends."""
    sys.path[:] = json.loads(sys.argv[1])
    # The verifier under a name of its own, so that nothing else of the package is imported.
    package = types.ModuleType("verifier")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["verifier"] = package
    compare = importlib.import_module("verifier.compare")
    importlib.import_module("verifier.numeric")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        gold, answer = json.loads(line)
        signal.alarm(LIFETIME)
        result = compare.compare_texts(gold, answer)
        signal.alarm(0)
        sys.stdout.write(json.dumps([result.ok, result.reason, result.gold_kind, result.pred_kind]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
