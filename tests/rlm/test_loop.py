"""The loop and the REPL: how runs end, what a cell may do, what the model is shown."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time

import pytest

from palaestra.rlm import RLM, Limits, Reply, Status, Worker
from palaestra.rlm.testing import ScriptedLM, block


def shown(result, turn):
    """The observation after a turn (0-based)."""
    users = [m["content"] for m in result.trace.root.messages if m["role"] == "user"]
    return users[turn + 1]


def test_three_turns_to_an_answer(play):
    result = play(["n = len(context)\nn", "m = n * 2\nprint(m)", "submit(m)"], "x" * 21)
    assert (result.status, result.answer) == (Status.ANSWERED, "42")
    assert len(result.trace.root.turns) == 3
    assert "21" in shown(result, 0) and "42" in shown(result, 1)


def test_no_code_three_times(play):
    result = play(["!just words"])
    assert result.status is Status.NO_ANSWER and result.answer is None
    assert len(result.trace.root.turns) == 3
    assert "no ```repl block" in shown(result, 0)


def test_turn_limit_keeps_the_partial_answer(play):
    result = play(["answer['content'] = 'draft'"], limits=Limits(max_turns=2))
    assert (result.status, result.answer, result.partial) == (Status.TURN_LIMIT, None, "draft")
    assert "last turn" in shown(result, 0)


def test_blocks_after_a_submit_do_not_run(play):
    reply = block("submit(1)") + "\nand\n" + block("llm('never')")
    result = play([reply])
    assert result.answer == "1" and result.usage.total.calls == 1


def test_exception_keeps_what_was_done_before(play):
    result = play(["x = 5\nprint('before')\n1 / 0\ny = 6", "submit([x, 'y' in globals()])"])
    assert "before" in shown(result, 0) and "line 3" in shown(result, 0) and "ZeroDivisionError" in shown(result, 0)
    assert "palaestra" not in shown(result, 0)
    assert result.answer == "[5, false]"


def test_one_namespace(play):
    result = play(
        ["g = 1\n_x = 7\nk = 1\ndef f():\n    return g", "g = 2\ndel k", "submit([f(), _x, 'k' in globals()])"]
    )
    assert result.answer == "[2, 7, false]"


def test_last_expression_is_shown_none_is_not(play):
    result = play(["'sho' + 'wn'", "None", "z = 'hidden'", "submit(1)"])
    assert "'shown'" in shown(result, 0)
    assert "(no output)" in shown(result, 1) and "(no output)" in shown(result, 2)


def test_a_huge_print_costs_the_cap_only(play):
    code = "print('A' * 100 + 'x' * (10**8 - 200) + 'Z' * 100)"
    before = _rss()
    result = play([code, "submit(1)"], limits=Limits(output_chars=4_000))
    text = shown(result, 0)
    assert "A" * 100 in text and "Z" * 99 in text and len(text) < 5_000
    assert f"{10**8 + 1 - 4_000} characters left out" in text
    assert _rss() - before < 5_000


def _rss():
    """Resident memory of this process in KiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@pytest.mark.parametrize(
    "code,told",
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(1)", "variables are gone"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import ctypes; ctypes.string_at(0)", "variables are gone"),
    ],
)
def test_ways_to_die(play, code, told):
    result = play(["kept = 1", code, "submit([len(context), 'kept' in globals()])"])
    assert result.status is Status.ANSWERED and told in shown(result, 1)
    assert result.answer == f"[3, {str('gone' not in told).lower()}]"


def test_an_endless_cell_is_stopped(play):
    began = time.monotonic()
    result = play(["while True: pass", "submit(len(context))"], limits=Limits(cell_s=0.5))
    cell = result.trace.root.turns[0].cells[0]
    assert cell.status == "timeout" and cell.seconds < 5 and time.monotonic() - began < 15
    assert "longer than 0.5 s" in shown(result, 0)
    assert result.answer == "3"


def test_a_cell_that_ignores_signals_is_killed(play):
    code = "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: pass"
    result = play(["kept = 1", code, "submit('kept' in globals())"], limits=Limits(cell_s=0.5))
    assert result.trace.root.turns[1].cells[0].state_lost
    assert "variables are gone" in shown(result, 1)
    assert result.answer == "False" and result.trace.root.restarts == 1


def test_swallowing_the_interrupt_does_not_help(play):
    code = "import time\nwhile True:\n    try:\n        time.sleep(1)\n    except BaseException: pass"
    result = play([code, "submit(1)"], limits=Limits(cell_s=0.3))
    assert result.trace.root.turns[0].cells[0].state_lost and result.answer == "1"


def test_losing_the_repl_for_ever_ends_the_run(play):
    result = play(["import os; os._exit(1)"])
    assert result.status is Status.REPL_DEAD and "lost" in result.error


def test_grandchildren_are_gone_after_close(play):
    name = f"sleep 31{os.getpid() % 1000}"
    code = (
        "import os, subprocess\n"
        f"subprocess.Popen({name.split()!r})\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execvp('sleep', {name.split()!r})\n"
        "    os._exit(0)\n"
    )
    result = play([code, "submit(1)"], limits=Limits(procs=16))
    assert result.answer == "1"
    for _ in range(50):
        found = subprocess.run(["pgrep", "-f", name], capture_output=True, text=True).stdout.split()
        if not found:
            break
        time.sleep(0.1)
    assert not found


def test_a_late_thread_prints_nowhere(play, capfd):
    code = (
        "import threading, time\ndef late():\n    time.sleep(0.3)\n    print('LATE')\n"
        "threading.Thread(target=late, daemon=True).start()"
    )
    result = play([code, "import time; time.sleep(0.8); print('own')", "submit(1)"])
    assert "LATE" not in capfd.readouterr().out
    assert "LATE" not in shown(result, 0)
    assert "own" in shown(result, 1)


def test_what_is_printed_between_cells_is_set_apart(play, capfd):
    code = (
        "import subprocess, threading, time\ndef late():\n    time.sleep(0.2)\n    print('LATE')\n"
        "threading.Thread(target=late, daemon=True).start()\nx = subprocess.Popen('sleep 0.2; echo CHILD', shell=True)"
    )
    model = ScriptedLM(
        [block(code), block("print('own')"), block("print('next')"), block("submit(1)")],
        delay=lambda tags: 1.0 if tags["turn"] == 1 else 0.0,
    )
    result = play([], lm=model)
    late, own = shown(result, 1).split("[this cell]")
    assert "printed after the last cell had ended" in late and "LATE" in late and "CHILD" in late
    assert "own" in own and "LATE" not in own
    assert "LATE" not in shown(result, 2) and "set apart" not in shown(result, 2)
    assert "LATE" not in capfd.readouterr().out


def test_output_holds_no_mark(play):
    codes = ["print('a', flush=True)\nimport os; os._exit(1)", "print('b', flush=True)\nwhile True: pass", "submit(1)"]
    result = play(codes, limits=Limits(cell_s=0.3))
    for turn, text in enumerate("ab"):
        assert f"\n{text}\n" in shown(result, turn) and "cell " not in shown(result, turn).split("</output")[0]


def test_memory_limit_may_be_off(play):
    result = play(["import resource\nsubmit(resource.getrlimit(resource.RLIMIT_AS)[0])"], limits=Limits(mem_bytes=None))
    assert int(result.answer) == -1 or int(result.answer) > 1 << 38


def test_odd_contexts(play):
    assert play(["submit([type(context).__name__, len(context[1])])"], ["a", "b\ud800"]).answer == '["list", 2]'
    assert play(["submit(sorted(context.items()))"], {"p": "1", "q": "2"}).answer == '[["p", "1"], ["q", "2"]]'
    assert play(["submit(context['n'][0] + 1)"], {"n": [1, None]}).answer == "2"
    assert play(["submit(len(context))"], b"\x00\xff").answer == "2"
    assert play(["submit(len(context))"], "").answer == "0"
    assert play(["submit(ord(context))"], "\ud800").answer == str(0xD800)


def test_a_context_that_is_no_data_is_refused():
    with pytest.raises(TypeError, match="JSON"):
        RLM(ScriptedLM([]), repl="unsafe_inprocess").run_sync(object(), "q")


def test_root_model_failure_is_a_status(play):
    def broken(messages, tags):
        raise ConnectionError("server gone")

    result = play(broken)
    assert result.status is Status.LM_ERROR and "server gone" in result.error
    assert result.usage.total.failed == 1 and result.usage.total.calls == 0


def test_reply_that_is_no_reply(play):
    async def odd(messages, **options):
        return "text"

    assert play([], lm=odd).status is Status.LM_ERROR


def test_wall_limit(play):
    result = play(["import time; time.sleep(5)"], limits=Limits(wall_s=0.6))
    assert result.status is Status.TIMEOUT


def test_wall_limit_during_a_request(play):
    result = play([], lm=ScriptedLM(["x"], delay=30), limits=Limits(wall_s=0.3))
    assert result.status is Status.TIMEOUT and result.usage.total.failed == 1


def test_token_budget_refuses_before_sending(play):
    model = ScriptedLM([block("1")])
    result = play([], lm=model, limits=Limits(max_total_tokens=100, reply_tokens=50))
    assert result.status is Status.BUDGET and not model.requests


def test_cost_budget(play):
    replies = [Reply(block("1"), prompt_tokens=10, completion_tokens=10, cost=0.4)] * 9

    result = play(lambda messages, tags: replies[tags["turn"]], limits=Limits(max_cost=1.0))
    assert result.status is Status.BUDGET
    assert result.usage.total.cost <= 1.2


@pytest.mark.parametrize("backend", ["process", "unsafe_inprocess"])
def test_other_backends(play, backend):
    turns = ["x = llm('a')", "1/0", "print(x)", "submit(x + str(len(context)))"]
    result = play(turns, backend=backend)
    assert result.answer == "ok3" and "ZeroDivisionError" in shown(result, 1)


def test_inprocess_stops_an_endless_cell(play):
    result = play(["while True: pass", "submit(1)"], backend="unsafe_inprocess", limits=Limits(cell_s=0.3))
    assert result.answer == "1" and result.trace.root.turns[0].cells[0].status == "timeout"


def test_runs_of_one_context_share_one_process(sandbox):
    async def once():
        worker = Worker("fork", sandbox=sandbox)
        rlm = RLM(ScriptedLM([block("submit(context.count('a'))")]), repl=worker)
        context = "ab" * 300_000
        results = await rlm.run_many([(context, "q")] * 8)
        shared = len(worker._shared)
        await worker.close()
        return results, shared

    results, shared = asyncio.run(once())
    assert [r.answer for r in results] == ["300000"] * 8 and shared == 1


def test_context_cannot_change_under_another_run(sandbox):
    async def once():
        worker = Worker("fork", sandbox=sandbox)
        context = ["a"] * 100_000
        first = RLM(ScriptedLM([block("context.append('x'); submit(len(context))")]), repl=worker)
        answers = [(await first.run(context, "q")).answer for _ in range(2)]
        await worker.close()
        return answers

    assert asyncio.run(once()) == ["100001", "100001"]


def test_unknown_backend():
    with pytest.raises(ValueError, match="repl is 'vm'"):
        RLM(ScriptedLM([]), repl="vm")


def test_run_sync_leaves_no_process():
    before = _children()
    assert RLM(ScriptedLM([block("submit(1)")])).run_sync("a", "q").answer == "1"
    for _ in range(50):
        if _children() <= before:
            break
        time.sleep(0.1)
    assert _children() <= before


def _children():
    return set(subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True).stdout.split()[:-1])


@pytest.mark.parametrize("backend", ["fork", "process"])
def test_memory_of_one_repl_is_bounded(play, backend):
    result = play(["x = bytearray(2 << 30)", "submit('alive')"], backend=backend, limits=Limits(mem_bytes=256 << 20))
    assert result.trace.root.turns[0].cells[0].status in ("memory", "died") and result.answer == "alive"


@pytest.mark.parametrize("backend", ["fork", "unsafe_inprocess"])
def test_cell_time_may_include_sub_calls(play, backend):
    def model(seconds):
        return ScriptedLM([block("llm('x')"), block("submit(1)")], delay=lambda t: seconds * (t["kind"] == "llm"))

    def first(limits, seconds):
        result = play([], lm=model(seconds), backend=backend, limits=limits)
        assert result.answer == "1"
        return result.trace.root.turns[0].cells[0].status

    assert first(Limits(cell_s=0.3), 1.0) == "ok"
    if backend == "fork":
        assert first(Limits(cell_s=0.3, cell_s_includes_subcalls=True), 20.0) == "timeout"


def test_a_template_that_died_is_replaced(sandbox):
    async def once():
        worker = Worker("fork", sandbox=sandbox)
        rlm = RLM(ScriptedLM([block("submit(len(context))")]), repl=worker)
        first = await rlm.run("abc", "q")
        for template in worker._blank:
            await template.session._hub.send({"op": "close"})
        await asyncio.sleep(0.2)
        second = await rlm.run("abcd", "q")
        await worker.close()
        return first, second

    results = asyncio.run(once())
    assert [r.answer for r in results] == ["3", "4"], results[1].error


@pytest.mark.docker
def test_docker_backend():
    result = RLM(ScriptedLM([block("x = llm('a')"), block("submit(x)")]), repl="docker").run_sync("abc", "q")
    if "docker daemon" in result.error:
        pytest.skip(result.error)
    assert result.answer == "ok"


def test_contexts_are_kept_and_not_copied():
    from palaestra.rlm import Context

    text = "é\ud800x" * 700_000
    context = Context.of([text, "b"])
    assert context.parts[0] is text and context.size == len(context.blob) == context.ends[-1]
    assert context.ends[0] == len(text.encode("utf-8", "surrogatepass"))
    assert context.sha256 == Context.of([text, "b"]).sha256 != Context.of([text + "b"]).sha256


def test_doctests():
    import doctest
    from importlib import import_module

    names = ("engine", "fences", "tasks", "tasks.check")
    results = [doctest.testmod(import_module(f"palaestra.rlm.{name}")) for name in names]
    assert all(r.attempted and not r.failed for r in results)
