"""`make bench`: what can be measured, and how. Benchmarks run alone, on a quiet machine; so this only lists them."""

from pathlib import Path

for path in sorted(Path(__file__).parent.glob("*.py")):
    if not path.name.startswith("_"):
        summary = path.read_text(encoding="utf-8").split('"""')[1].strip().splitlines()[0]
        print(f"python -m benchmarks.{path.stem:<18} {summary}")
