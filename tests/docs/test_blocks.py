"""Every Python block of the manual and of the README runs, with stand-ins for what a page leaves to its reader."""

import ast
import asyncio
import contextlib
import inspect
import json
import re
from pathlib import Path

import pytest

import palaestra
from palaestra.judges import JudgeService, LLMJudge
from palaestra.judges.testing import FakeOpenAI, Oracle, judge_server
from palaestra.lm import OpenAIModel
from palaestra.schema import Group, Rollout, Task

ROOT = Path(palaestra.__file__).parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [p for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if BLOCK.search(p.read_text("utf-8"))]
GROUP = Group(
    id="g",
    task=Task(id="t", prompt="2+2?", answer="4"),
    rollouts=tuple(
        Rollout(id=str(i), task_id="t", group_id="g", messages=({"role": "assistant", "content": said},), reward=1.0)
        for i, said in enumerate(("It is 4.", "I count to 4.", "5"))
    ),
)
RUN = """
out = "runs/page"
[policy]
model = "tiny"
characters = "0123456789"
layers = 1
hidden = 16
[env]
id = "palaestra/Sort-v0"
args = { digits = 2 }
[warmup]
steps = 2
tasks = 4
[rollout]
group_size = 2
prompts_per_step = 2
max_new_tokens = 3
[train]
steps = 1
[eval]
tasks = 4
samples = 1
[log]
tensorboard = false
"""


def judged_by_a_model(stack, names, folder):
    model = stack.enter_context(FakeOpenAI(Oracle(quality=len, cluster=lambda text: text[:2])))
    judge = LLMJudge("scripted", OpenAIModel("any", base_url=model.url))
    names["judge_url"] = stack.enter_context(judge_server(JudgeService([judge])))
    names["group"] = GROUP


def a_run_file(stack, names, folder):
    pytest.importorskip("torch")
    (folder / "run.toml").write_text(RUN)


def a_sandbox(stack, names, folder):
    from palaestra.sandbox import Sandbox, SandboxUnavailable

    async def ask(prompt):
        return "yes"

    try:
        sandbox = Sandbox.open()
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox here: {error}")
    stack.callback(sandbox.close_sync)
    names.update(ask=ask, text="a long text", sandbox=sandbox)


def data_files(stack, names, folder):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"problem": f"{n}+1?", "answer": str(n + 1)} for n in range(3)]
    parquet.write_table(arrow.Table.from_pylist(rows), folder / "math500.parquet")
    mine = [
        json.dumps({"Frage": f"{n}+2?", "Antwort": str(n + 2), "question": f"{n}+2?", "answer": str(n + 2)})
        for n in range(3)
    ]
    (folder / "mine.jsonl").write_text("\n".join(mine))
    names.update(train=[Task(id="a", prompt="2+2?")], test=[Task(id="b", prompt="2+2?")])


ELSEWHERE = {"tutorial": "tests/docs/test_tutorial.py", "rlm": "tests/rlm/test_docs.py"}  # where their blocks are run
PREPARE = {
    "README": judged_by_a_model, "judges": judged_by_a_model, "training": a_run_file, "sandbox": a_sandbox,
    "environments": data_files,
}  # fmt: skip


def run(block, page, names):
    """Execute a block; `await` and `async with` may stand outside of functions, as in a notebook."""
    code = compile(block, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page, tmp_path, monkeypatch):
    if page.stem in ELSEWHERE:
        pytest.skip(f"run by {ELSEWHERE[page.stem]}")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page", "pl": palaestra}
    with contextlib.ExitStack() as stack:
        if page.stem in PREPARE:
            PREPARE[page.stem](stack, names, tmp_path)
        url = names.pop("judge_url", None) or stack.enter_context(judge_server())
        given = dict(names)
        for block in BLOCK.findall(page.read_text("utf-8")):
            names.update(given)
            run(block.replace("http://127.0.0.1:8400", url), page, names)
    if page.stem == "reward-group":
        assert names["rewards"] == {"a": 1.0, "b": 0.0, "c": 0.0}
        assert names["labels"]["a"] != names["labels"]["c"]
        assert names["advantages"]["a"] > 0 > names["advantages"]["b"]
