"""The maths verifier against Math-Verify: accuracy on the labelled cases and verifications per second.

    python -m benchmarks.math_verify                    # ours, on both files of labelled cases
    python -m benchmarks.math_verify --peer             # and Math-Verify, if `pip install palaestra[bench]` was run
    python -m benchmarks.math_verify --only accuracy --cases further --json out.json
    python -m benchmarks.math_verify --cases mine.txt   # your own cases; the format stands in benchmarks/math_cases.py

Math-Verify runs in a process of its own: it sets alarms, and some cases have to be killed.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing as mp
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .math_cases import FURTHER, REFERENCE, Case, load

FILES = {"reference": REFERENCE, "further": FURTHER}
KILL_AFTER = 25.0
FILLER = "We simplify the expression step by step and check each result. "

Verifier = Callable[[str, str], bool]


def ours(gold: str, response: str) -> bool:
    """Palaestra's verdict."""
    from palaestra.envs.verify import verify

    return verify(gold, response).ok


def inline(gold: str, response: str) -> bool:
    """Palaestra's verdict without worker processes, so that the processor time is all there is."""
    from palaestra.envs.verify.compare import compare_texts
    from palaestra.envs.verify.extract import extract

    text = extract(response).text
    return text is not None and compare_texts(gold, text.strip()).ok


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
VERIFIERS: dict[str, Verifier] = {"palaestra": ours, "inline": inline, "math-verify": math_verify}


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


def accuracy(name: str, cases: list[Case]) -> dict[str, Any]:
    """Right verdicts, wrongly accepted and wrongly rejected answers, and times, by group of cases."""
    judge = Judge(name)
    try:
        judged = [(case, *judge(case.gold, case.response)[:2]) for case in cases]
    finally:
        judge.close()
    groups = {
        "clear": [entry for entry in judged if not entry[0].policy],
        "judgement calls": [entry for entry in judged if entry[0].policy],
        "hostile": [entry for entry in judged if entry[0].category == "hostile"],
        "benign": [entry for entry in judged if entry[0].category != "hostile"],
    }
    for case in dict.fromkeys(case.category for case in cases):
        groups[f"[{case}]"] = [entry for entry in judged if entry[0].category == case]
    return {group: _summary(entries) for group, entries in groups.items() if entries}


def _summary(entries: list[tuple[Case, bool, float]]) -> dict[str, Any]:
    walls = sorted(wall for *_, wall in entries)
    return {
        "n": len(entries),
        "right": sum(verdict == case.expected for case, verdict, _ in entries),
        "false_positives": sum(verdict and not case.expected for case, verdict, _ in entries),
        "mean_ms": round(1e3 * statistics.mean(walls), 2),
        "p95_ms": round(1e3 * walls[int(0.95 * len(walls))], 2),
        "max_s": round(walls[-1], 3),
    }


def loads() -> dict[str, list[tuple[str, str]]]:
    """The loads of the throughput table: name -> (gold, response) pairs."""
    rows = list(load(REFERENCE))
    benign = [(case.gold, case.response) for case in rows if case.category != "hostile"]
    hostile = [(case.gold, case.response) for case in rows if case.category == "hostile"][:5]
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
        "benign cases": benign,
        "95 integers and 5 hostile": integers[:95] + hostile,
        "30,000 characters, one box": [(str(n), FILLER * 480 + f"\\boxed{{{n}}}") for n in range(200)],
    }


def throughput(name: str, loads: dict[str, list[tuple[str, str]]], quick: bool = False) -> dict[str, dict[str, float]]:
    """Verifications per CPU second of the judging process, without its workers, and per second."""
    table = {}
    judge = Judge(name)
    try:
        for load_name, pairs in loads.items():
            part = pairs[:: 10 if quick and load_name != "95 integers and 5 hostile" else 1]
            for gold, response in part[:5]:
                judge(gold, response)
            spent = [judge(gold, response)[1:] for gold, response in part]
            wall, cpu = (sum(column) for column in zip(*spent, strict=True))
            table[load_name] = {"per_cpu_s": round(len(part) / max(cpu, 1e-9), 1), "per_s": round(len(part) / wall, 1)}
    finally:
        judge.close()
    return table


def show(name: str, report: dict[str, Any]) -> None:
    """Print the tables of one verifier."""
    print(name)
    for file, groups in report.get("accuracy", {}).items():
        print(f"  {file:<28}{'n':>6}{'right':>8}{'FP':>5}{'mean ms':>10}{'p95 ms':>9}{'max s':>8}")
        for group, row in groups.items():
            counts = f"{row['n']:>6}{row['right']:>8}{row['false_positives']:>5}"
            print(f"  {group:<28}{counts}{row['mean_ms']:>10}{row['p95_ms']:>9}{row['max_s']:>8}")
    if "throughput" in report:
        print(f"  {'load':<28}{'per CPU s':>12}{'per s':>10}")
        for load_name, row in report["throughput"].items():
            print(f"  {load_name:<28}{row['per_cpu_s']:>12,.0f}{row['per_s']:>10,.0f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="store_true", help="also run Math-Verify")
    parser.add_argument("--only", choices=["accuracy", "throughput"], help="one of both tables")
    parser.add_argument("--cases", action="append", help="'reference', 'further' or a file; may be repeated")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    args = parser.parse_args()
    report: dict[str, Any] = {}
    for name in ["palaestra", "math-verify"] if args.peer else ["palaestra"]:
        report[name] = {}
        if args.only != "throughput":
            report[name]["accuracy"] = {
                file: accuracy(name, list(load(FILES.get(file) or Path(file)))) for file in args.cases or FILES
            }
        if args.only != "accuracy":
            report[name]["throughput"] = throughput(name, loads(), quick=name != "palaestra")
            if name == "palaestra":
                benign = {"benign cases, no workers": loads()["benign cases"]}
                report[name]["throughput"] |= throughput("inline", benign)
        show(name, report[name])
        if args.json:
            args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
