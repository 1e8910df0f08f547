"""Ask a question about a file that is too long for any context window.

    python examples/rlm_long_file.py FILE "QUESTION" http://127.0.0.1:8000/v1 MODEL
    python examples/rlm_long_file.py                 # without arguments: a generated file and a scripted model

The model never sees the file. It writes code that looks at it, and asks sub-models about the parts that must be read.
"""

from __future__ import annotations

import sys
from pathlib import Path

from palaestra.lm import OpenAIModel
from palaestra.rlm import RLM, Limits, generate, score, write_html
from palaestra.rlm.tasks.leaf import OracleLM
from palaestra.rlm.testing import ScriptedLM, block


def ask_a_file(path: str, question: str, url: str, name: str) -> None:
    model = OpenAIModel(name, base_url=url)
    rlm = RLM(model, limits=Limits(max_turns=15, max_calls=100, wall_s=300))
    result = rlm.run_sync(Path(path).read_text(errors="replace"), question)
    print(result.status.value, "-", result.answer or result.partial)
    print(f"{result.usage.total.calls} requests, {result.usage.total.tokens} tokens")
    print("tree:", write_html(result.trace, "rlm-trace.html"))


def offline() -> None:
    """The same without a model: a script stands for the root, an oracle that reads one record at a time for the sub."""
    task = generate("linear", seed=7, length_chars=200_000, tier="T2")
    label = task.question.split("have the label ")[1].split("?")[0]
    root = ScriptedLM([
        block("records = context.splitlines()\nprint(len(records), records[0])"),
        block(
            "batches = ['\\n'.join(records[i:i + 40]) for i in range(0, len(records), 40)]\n"
            "replies = llm_batch(['Give the topic of each record, one a line:\\n' + b for b in batches])\n"
            f"count = sum(line == {label!r} for reply in replies for line in reply.splitlines())\ncount"
        ),
        block("submit(count)"),
    ])  # fmt: skip
    result = RLM(root, OracleLM(task)).run_sync(task.context, task.question)
    print("question:", task.question)
    print("answer:", result.answer, "- score", score(task.kind, task.gold, result.answer or "").value)
    calls, turns = result.usage.by_depth[1].calls, len(result.trace.root.turns)
    print(f"{len(task.context):,} characters, {calls} sub-calls, {turns} turns")
    print("tree:", write_html(result.trace, "rlm-trace.html"))


if __name__ == "__main__":
    if len(sys.argv) == 5:
        ask_a_file(*sys.argv[1:])
    elif len(sys.argv) == 1:
        offline()
    else:
        sys.exit(__doc__)
