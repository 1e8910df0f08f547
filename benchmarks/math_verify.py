"""The maths verifier against Math-Verify: accuracy on the labelled cases and verifications per second.

    python -m benchmarks.math_verify                    # ours
    python -m benchmarks.math_verify --peer             # and Math-Verify, if `pip install palaestra[bench]` was run
    python -m benchmarks.math_verify --json out.json

Math-Verify runs in a process of its own: it sets alarms, and some cases have to be killed.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import multiprocessing as mp
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CASES = Path(__file__).resolve().parents[1] / "tests" / "data" / "math_cases.csv"
KILL_AFTER = 25.0
FILLER = "We simplify the expression step by step and check each result. "

Verifier = Callable[[str, str], bool]


def ours(gold: str, response: str) -> bool:
    """Palaestra's verdict."""
    from palaestra.envs.verify import verify

    return verify(gold, response).ok


def math_verify(gold: str, response: str) -> bool:
    """Math-Verify's verdict in the configuration of verl: gold boxed, prediction LaTeX or plain."""
    from math_verify.metric import math_metric
    from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig

    global _metric
    if _metric is None:
        _metric = math_metric(
            gold_extraction_target=(LatexExtractionConfig(),),
            pred_extraction_target=(ExprExtractionConfig(), LatexExtractionConfig()),
        )
    return _metric([f"\\boxed{{{gold}}}"], [response])[0] > 0.5


_metric: Any = None
VERIFIERS: dict[str, Verifier] = {"palaestra": ours, "math-verify": math_verify}


# ---- a worker that can be killed -------------------------------------------------------------------------------------


def _serve(name: str, pipe: Any) -> None:
    logging.disable(logging.CRITICAL)  # the peer logs whole responses
    verify = VERIFIERS[name]
    verify("\\sqrt{2}", "\\boxed{2^{1/2}}")
    pipe.send("ready")
    while True:
        gold, response = pipe.recv()
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            verdict = bool(verify(gold, response))
        except BaseException:  # an alarm may raise anything
            verdict = False
        pipe.send((verdict, time.perf_counter() - wall, time.process_time() - cpu))


class Judge:
    """One verifier in a process of its own, replaced when a case has to be killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: Any = None

    def __call__(self, gold: str, response: str) -> tuple[bool, float, float]:
        """Verdict, wall seconds and CPU seconds of the judging process."""
        if self.process is None:
            context = mp.get_context("spawn")
            self.pipe, other = context.Pipe()
            self.process = context.Process(target=_serve, args=(self.name, other), daemon=True)
            self.process.start()
            other.close()
            self.pipe.recv()
        self.pipe.send((gold, response))
        if self.pipe.poll(KILL_AFTER):
            return self.pipe.recv()
        self.close()
        return False, KILL_AFTER, KILL_AFTER

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def cases() -> Iterator[dict[str, str]]:
    """Rows of the labelled file with predictions written out."""
    with open(CASES, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["encoding"] == "rle":
                row["prediction"] = "".join(piece * count for piece, count in json.loads(row["prediction"]))
            yield row


def accuracy(name: str) -> dict[str, Any]:
    """Right verdicts, wrongly accepted and wrongly rejected answers, and times, by group of cases."""
    judge = Judge(name)
    groups: dict[str, list[tuple[bool, bool, float]]] = {"clear": [], "judgement calls": [], "hostile": []}
    try:
        for row in cases():
            verdict, wall, _ = judge(row["gold"], row["prediction"])
            entry = (verdict, row["expected"] == "1", wall)
            groups["judgement calls" if row["policy"] == "1" else "clear"].append(entry)
            if row["category"] == "hostile":
                groups["hostile"].append(entry)
    finally:
        judge.close()
    return {
        group: {
            "n": len(entries),
            "right": sum(verdict == expected for verdict, expected, _ in entries),
            "false_positives": sum(verdict and not expected for verdict, expected, _ in entries),
            "mean_ms": round(1e3 * statistics.mean(wall for *_, wall in entries), 2),
            "max_s": round(max(wall for *_, wall in entries), 3),
        }
        for group, entries in groups.items()
    }


def loads() -> dict[str, list[tuple[str, str]]]:
    """The loads of the throughput table: name -> (gold, response) pairs."""
    rows = [row for row in cases() if row["category"] != "hostile"]
    hostile = [row for row in cases() if row["category"] == "hostile"][:5]
    integers = [(str(n), f"So the answer is \\boxed{{{n + n % 2}}}.") for n in range(500)]
    return {
        "integers, short response": integers,
        "integers, 700 characters": [(gold, FILLER * 11 + response) for gold, response in integers],
        "fractions": [
            (f"\\frac{{{n}}}{{{n + 7}}}", f"\\boxed{{\\frac{{{2 * n}}}{{{2 * n + 14}}}}}") for n in range(1, 300)
        ],
        "quadratic and its factors": [
            (f"x^2-{2 * n + 1}x+{n * n + n}", f"\\boxed{{(x-{n})(x-{n + 1})}}") for n in range(1, 150)
        ],
        "benign cases": [(row["gold"], row["prediction"]) for row in rows],
        "95 integers and 5 hostile": integers[:95] + [(row["gold"], row["prediction"]) for row in hostile],
        "30,000 characters, one box": [(str(n), FILLER * 480 + f"\\boxed{{{n}}}") for n in range(200)],
    }


def throughput(name: str, quick: bool) -> dict[str, dict[str, float]]:
    """Verifications per CPU second of the judging process, and per second."""
    table = {}
    judge = Judge(name)
    try:
        for load, pairs in loads().items():
            part = pairs[:: 10 if quick and load != "95 integers and 5 hostile" else 1]
            for gold, response in part[:5]:
                judge(gold, response)
            spent = [judge(gold, response)[1:] for gold, response in part]
            wall, cpu = (sum(column) for column in zip(*spent, strict=True))
            table[load] = {"per_cpu_s": round(len(part) / max(cpu, 1e-9), 1), "per_s": round(len(part) / wall, 1)}
    finally:
        judge.close()
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="store_true", help="also run Math-Verify")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    report: dict[str, Any] = {}
    for name in ["palaestra", "math-verify"] if args.peer else ["palaestra"]:
        report[name] = {"accuracy": accuracy(name), "throughput": throughput(name, quick=name != "palaestra")}
        print(f"{name}\n  {'cases':<28}{'n':>6}{'right':>8}{'FP':>5}{'mean ms':>10}{'max s':>8}")
        for group, row in report[name]["accuracy"].items():
            counts = f"{row['n']:>6}{row['right']:>8}{row['false_positives']:>5}"
            print(f"  {group:<28}{counts}{row['mean_ms']:>10}{row['max_s']:>8}")
        print(f"  {'load':<28}{'per CPU s':>12}{'per s':>10}")
        for load, row in report[name]["throughput"].items():
            print(f"  {load:<28}{row['per_cpu_s']:>12,.0f}{row['per_s']:>10,.0f}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
