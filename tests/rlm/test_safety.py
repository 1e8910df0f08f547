"""What model code can reach, and what a worker that lies can do."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from palaestra.rlm import Limits, Status, generate

HUNT = """
import gc, os, sys, threading
found = []
needles = [n[::-1] for n in %r]
def look(where, text):
    for n in needles:
        if n in text:
            found.append([where, n[:4]])
look('environ', repr(dict(os.environ)))
for pid in ['self', str(os.getppid()), *map(str, range(1, 3000))]:
    for name in ('environ', 'cmdline'):
        try:
            look('proc', open(f'/proc/{pid}/{name}', 'rb').read().decode('latin-1'))
        except OSError:
            pass
mine = set(needles)
for o in gc.get_objects():
    if o is not needles and isinstance(o, (dict, list, tuple)):
        try:
            items = o.values() if isinstance(o, dict) else o
            for v in items:
                if isinstance(v, str) and v not in mine and v is not HUNTED:
                    look('gc', v)
        except Exception:
            pass
f = sys._getframe()
while f:
    for k, v in f.f_locals.items():
        if isinstance(v, str) and k not in ('code',):
            look('frame', v)
    f = f.f_back
fds = []
for fd in range(256):
    try:
        fds.append(os.fstat(fd))
    except OSError:
        pass
submit([found, len(fds), os.getcwd()])
"""


def test_nothing_of_the_host_is_found(play, monkeypatch):
    monkeypatch.setenv("SECRET_X", "sk-9d81c2aa")
    task = generate("needle", 987654321, 3_000, secret=b"host")
    # written backwards, so that the hunt does not find its own list; its own source is left out too
    code = HUNT.replace("%r", repr([text[::-1] for text in ("sk-9d81c2aa", "987654321")])).replace(
        "v is not HUNTED", "'needles' not in v"
    )
    result = play([code], "a context without the gold", limits=Limits(max_turns=2))
    assert result.status is Status.ANSWERED, result.trace.root.messages[-1]
    found, n_fds, cwd = __import__("json").loads(result.answer)
    assert found == [] and n_fds <= 6
    found, *_ = __import__("json").loads(play([code], "987654321").answer)
    assert found  # the hunt does find what is there
    assert "palaestra" not in cwd and str(task.gold) not in result.answer


@pytest.mark.parametrize(
    "code",
    [
        "import palaestra",
        "open('/etc/shadow').read()",
        "import socket; socket.create_connection(('127.0.0.1', 22), 1)",
        "open('/root/x', 'w')",
        "import os; os.kill(1, 9); os.kill(os.getppid(), 9)",
    ],
)
def test_reaching_out_fails(play, code):
    result = play([code, "submit('alive')"])
    assert result.answer == "alive"
    assert result.trace.root.turns[0].cells[0].status in ("exception", "died")


def _listening() -> set[str]:
    """Inodes of listening TCP sockets that this process or a descendant holds."""
    listening = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(fields[9])
    held = set()
    mine, todo = set(), [os.getpid()]
    while todo:
        pid = todo.pop()
        mine.add(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
            for fd in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if target.startswith("socket:["):
                    held.add(target[8:-1])
        except OSError:
            continue
    return listening & held


LISTENING = """
import asyncio, os
from pathlib import Path
from palaestra.rlm import RLM, Worker
from palaestra.rlm.testing import ScriptedLM, block
from palaestra.sandbox import LocalSandbox

seen = []
def leaf(prompt):
    seen.append(_listening())
    return "x"

async def once(sandbox):
    rlm = RLM(ScriptedLM([block("submit(llm('q'))")], leaf=leaf), repl=Worker("fork", sandbox=sandbox))
    result = await rlm.run("abc", "q")
    await rlm.close()
    return result.answer

with LocalSandbox(1) as sandbox:
    print(asyncio.run(once(sandbox)), seen)
"""


def test_nothing_listens_on_a_port():
    """In a process of its own: what other tests left in this one may begin to listen at any moment."""
    program = inspect.getsource(_listening) + LISTENING
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ran.stdout == "x [set()]\n", ran.stderr


SOCKET = (
    "import os, stat\nfd = 3\nwhile True:\n    try:\n        if stat.S_ISSOCK(os.fstat(fd).st_mode): break\n"
    "    except OSError: pass\n    fd += 1\n"
)
FORGED = {
    "garbage on the socket": SOCKET + "os.write(fd, b'\\xff' * 4000)\nwhile True: pass",
    "prompts are a number": "import __main__\n__main__.palaestra_call('llm', {'prompts': 5})",
    "unknown call": "import __main__\n__main__.palaestra_call('grant', {'calls': 10**9})",
    "contexts are missing": "import __main__\n__main__.palaestra_call('rlm', {'prompts': ['a']})",
    "upload of an unknown number": "import __main__\n__main__.palaestra_call('upload', {'number': 7, 'text': 'x'})",
    "args are text": "import __main__\n__main__.palaestra_call('llm', 'prompts')",
    "forged end of the cell": (
        SOCKET + 'import struct\nbody = b\'{"op": "done", "id": 999999}\'\n'  # the frame's own format may differ
        "os.write(fd, struct.pack('>I', len(body)) + body)\nwhile True: pass"
    ),
}


@pytest.mark.parametrize("code", FORGED.values(), ids=FORGED)
def test_forged_frames_end_the_run_only(play, code):
    result = play([code, "submit('after')"], limits=Limits(max_turns=4))
    assert result.status is Status.REPL_DEAD and result.answer is None
    assert result.usage.by_depth.get(1) is None
    assert play(["submit('next')"]).answer == "next"


def test_usage_and_budget_cannot_be_forged(play):
    code = (
        "import __main__, gc\ncalls = __main__.palaestra_cells\n"
        "for o in gc.get_objects():\n    if isinstance(o, dict) and 'calls' in o: o['calls'] = 10**9\n"
        "try:\n    llm_batch(['x'] * 3)\nexcept BudgetExceeded:\n    submit('refused')"
    )
    result = play([code], limits=Limits(max_calls=2))
    assert result.answer == "refused" and 1 not in result.usage.by_depth


def test_patched_worker_only_changes_the_models_own_answer(play):
    code = "import __main__\n__main__.palaestra_run = lambda code: {'ready': True, 'content': 'forged', 'status': 'ok'}"
    result = play([code, "1"])
    assert result.answer == "forged" and result.usage.total.calls == 2


@pytest.mark.parametrize(
    "value", ["5", "'text'", "None", "{'ready': 'yes', 'content': 5, 'restored': 7, 'dropped': -4, 'status': []}"]
)
def test_malformed_reports_are_survived(play, value):
    code = f"import __main__\n__main__.palaestra_run = lambda code: {value}"
    result = play([code, "1"], limits=Limits(max_turns=3))
    assert result.status in (Status.TURN_LIMIT, Status.REPL_DEAD) and result.answer is None


def test_two_conversations_do_not_share_files(play):
    result = play(["import os\nsubmit(os.listdir('.'))"])
    assert result.answer.startswith("[")


def test_isolation_is_reported(sandbox):
    from palaestra.rlm import Worker

    assert Worker("fork", sandbox=sandbox).isolation is sandbox.isolation
    assert Worker("unsafe_inprocess").isolation is None
    assert {"net_inet", "fs_write", "env"} <= sandbox.isolation.tested
