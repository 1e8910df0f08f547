"""Sessions: state, output, limits, host calls, branches."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from palaestra.sandbox import Limits, SandboxError, SessionSpec

SPEC = SessionSpec(limits=Limits(wall_s=30, cpu_s=30))


def test_state_output_and_values(sandbox):
    async def scenario():
        async with await sandbox.session(SPEC) as session:
            assert (await session.exec("x = 40\nprint('hi')")).stdout == b"hi\n"
            cell = await session.exec("x + 2")
            assert (cell.value_repr, cell.verdict, cell.stdout) == ("42", "ok", b"")
            cell = await session.exec("import subprocess; _ = subprocess.run(['/bin/echo', 'child'])")
            assert cell.stdout == b"child\n"
            cell = await session.exec("1/0")
            assert (cell.verdict, cell.error_type) == ("exception", "ZeroDivisionError")
            assert 'File "<cell 4>", line 1' in cell.traceback and "guest" not in cell.traceback
            assert (await session.exec("import sys; sys.exit(2)")).verdict == "exit"
            assert (await session.get("x")).value == 40
            await session.set("y", {"a": (1, {2}), 3: b"z"})
            assert (await session.get("y")).value == {"a": (1, {2}), 3: b"z"}
            await session.exec("def f(a, b=1): return [a, b]\nclass S:\n  def go(self, n): return n * 2")
            assert (await session.call("f", [1], {"b": 2})).value == [1, 2]
            assert (await session.call("S.go", ["ab"])).value == "abab"
            assert (await session.call("nope")).error_type == "NameError"
            assert (await session.call("f", [1], {"c": 2})).error_type == "TypeError"
            await session.exec("def g(): return (i for i in [])")
            assert (await session.call("g")).problem == "unsupported_type"
            assert (await session.names()).value["x"] == "int"

    asyncio.run(scenario())


def test_large_text_crosses_once_and_branches_share_it(sandbox):
    async def scenario():
        async with await sandbox.session(SPEC) as session:
            text = "é" * 2_000_000
            assert (await session.set("context", text)).ok
            assert (await session.exec("len(context)")).value_repr == "2000000"
            branches = [await session.fork() for _ in range(3)]
            cells = await asyncio.gather(*(b.exec(f"n = {i}; print(n, len(context))") for i, b in enumerate(branches)))
            assert [cell.stdout for cell in cells] == [b"0 2000000\n", b"1 2000000\n", b"2 2000000\n"]
            assert (await session.exec("n")).error_type == "NameError"
            twig = await branches[1].fork()
            assert (await twig.exec("n")).value_repr == "1"
            await branches[1].close()
            assert (await branches[1].exec("n")).state_lost
            assert (await twig.exec("n")).value_repr == "1"

    asyncio.run(scenario())


def test_host_calls(sandbox):
    async def ask(prompt, times=1):
        await asyncio.sleep(0.01)
        return [prompt] * times

    def fail():
        raise LookupError("nothing there")

    async def scenario():
        async with await sandbox.session(SPEC, ask=ask, fail=fail) as session:
            cell = await session.exec("ask('a', times=2)")
            assert (cell.value_repr, cell.host_calls) == ("['a', 'a']", 1)
            cell = await session.exec("fail()")
            assert cell.error_type == "HostCallError" and "LookupError: nothing there" in cell.error_message
            code = (
                "from concurrent.futures import ThreadPoolExecutor\n"
                "with ThreadPoolExecutor(8) as pool: r = list(pool.map(ask, range(20)))\nr == [[i] for i in range(20)]"
            )
            assert (await session.exec(code)).value_repr == "True"
            branch = await session.fork()
            assert (await branch.exec("ask(1)")).value_repr == "[1]"
            assert (await session.exec("ask(object())")).problem == "unsupported_type"

    asyncio.run(scenario())


def test_the_clock_stands_still_while_the_host_answers(sandbox):
    async def slow():
        await asyncio.sleep(1.5)
        return 1

    async def scenario():
        async with await sandbox.session(SPEC, slow=slow) as session:
            assert (await session.exec("slow()", timeout_s=1)).verdict == "ok"
            assert (await session.exec("slow()\nimport time\ntime.sleep(60)", timeout_s=1)).verdict == "timeout_wall"

    asyncio.run(scenario())


def test_the_clock_runs_between_host_calls(confined):
    async def scenario():
        code = "import time\nwhile True:\n  time.sleep(.05); ask()"
        async with await confined.session(SPEC, ask=lambda: 1) as session:
            cell = await session.exec(code, timeout_s=0.5)
            assert cell.verdict == "timeout_wall" and cell.host_calls < 15

    asyncio.run(scenario())


def test_a_cell_over_its_limit_is_interrupted_and_keeps_its_state(sandbox):
    async def scenario():
        async with await sandbox.session(SPEC) as session:
            cell = await session.exec("x = 1\nprint('partial', flush=True)\nwhile True: pass", timeout_s=0.5)
            assert (cell.verdict, cell.state_lost, cell.stdout) == ("timeout_wall", False, b"partial\n")
            assert (await session.exec("x")).value_repr == "1"

    asyncio.run(scenario())


def test_a_cell_that_ignores_the_interrupt_is_killed(sandbox):
    async def scenario():
        async with await sandbox.session(SessionSpec(limits=SPEC.limits, grace_s=0.3)) as session:
            code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
            cell = await session.exec(code, timeout_s=0.3)
            assert (cell.verdict, cell.state_lost) == ("timeout_wall", True)
            assert (await session.exec("1")).state_lost and not session.alive
        async with await sandbox.session(SPEC) as session:
            assert (await session.exec("1")).value_repr == "1"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("import os; os._exit(3)", "exit"),
        ("import os; os.kill(os.getpid(), 9)", "signal"),
        ("x = []\nwhile True: x.append(bytearray(b'x') * 4_000_000)", "memory"),
        ("import os; os.write(3, b'garbage' * 9)", "protocol_error"),
    ],
)
def test_a_cell_that_ends_the_process(sandbox, code, verdict):
    async def scenario():
        spec = SessionSpec(limits=Limits(wall_s=30, mem_mb=96))
        async with await sandbox.session(spec) as session:
            cell = await session.exec(code)
            assert cell.verdict == verdict
            if cell.state_lost:
                assert (await session.exec("1")).state_lost
            else:  # a MemoryError that Python could raise in time
                assert cell.error_type == "MemoryError"

    asyncio.run(scenario())


def test_endless_output_is_cut_and_interrupted(sandbox):
    async def scenario():
        async with await sandbox.session(SessionSpec(limits=Limits(wall_s=30, out_bytes=2000))) as session:
            cell = await session.exec("while True: print('y' * 1000)")
            assert cell.verdict == "output_limit" and len(cell.stdout) <= 2000 and cell.stdout_dropped > 10_000
            assert (await session.exec("print(1)")).stdout == b"1\n"

    asyncio.run(scenario())


def test_bounded_and_failing_repr(sandbox):
    async def scenario():
        async with await sandbox.session(SPEC) as session:
            cell = await session.exec("'x' * 1_000_000")
            assert cell.ok and len(cell.value_repr) < 20_000 and "characters cut" in cell.value_repr
            cell = await session.exec("class B:\n  def __repr__(self): raise OSError('no')\nB()")
            assert (cell.verdict, cell.error_type) == ("exception", "OSError")

    asyncio.run(scenario())


def test_one_command_at_a_time_and_cancelling(sandbox):
    async def scenario():
        async with await sandbox.session(SPEC) as session:
            task = asyncio.create_task(session.exec("import time; time.sleep(50)"))
            await asyncio.sleep(0.2)
            with pytest.raises(SandboxError, match="busy"):
                await session.exec("1")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await session.exec("1")).state_lost
        async with await sandbox.session(SPEC) as session:
            assert (await session.exec("2")).value_repr == "2"

    asyncio.run(scenario())


def test_cells_and_idle_time_are_bounded(confined):
    async def scenario():
        async with await confined.session(SessionSpec(max_cells=2)) as session:
            assert [(await session.exec("1")).verdict for _ in range(3)] == ["ok", "ok", "exit"]
        async with await confined.session(SessionSpec(idle_s=0.2)) as session:
            await session.exec("1")
            await asyncio.sleep(1.5)
            assert (await session.exec("1")).state_lost

    asyncio.run(scenario())


def test_a_branch_that_begins_while_another_ends_is_not_taken_for_it(confined):
    """Both words in one read: the new branch gets the descriptors of the old one, which had something to read."""

    async def scenario():
        async with await confined.session(SPEC) as session:
            server = session._hub.slot.process.pid
            old = await session.fork()
            code = "import os, threading, time\ndef spam():\n  while True: os.write(1, b'y'); time.sleep(.001)\n"
            assert (await old.exec(code + "threading.Thread(target=spam, daemon=True).start()")).ok
            os.kill(server, signal.SIGSTOP)
            try:
                await asyncio.sleep(0.05)
                await old.close()
                forking = asyncio.create_task(session.fork())
                await asyncio.sleep(0.05)
            finally:
                os.kill(server, signal.SIGCONT)
            assert (await (await forking).exec("print('new')")).stdout == b"new\n"

    asyncio.run(scenario())


def test_interrupts_never_break_the_stream_of_host_calls(sandbox):
    """Limits that pass anywhere in a storm of host calls: the cell ends, its state and the channel survive."""

    async def scenario():
        async with await sandbox.session(SessionSpec(limits=SPEC.limits, grace_s=20), echo=lambda x: x) as session:
            await session.exec("n = 0\ndef storm():\n  global n\n  while True: n += echo(1)")
            for step in range(60):  # the first limits pass before the cell has begun
                cell = await session.exec("storm()", timeout_s=0.0005 * step)
                assert (cell.verdict, cell.state_lost) == ("timeout_wall", False), (step, cell)
            cell = await session.exec("echo('still ' + type(n).__name__)")
            assert cell.value_repr == "'still int'"

    asyncio.run(scenario())


def test_a_thread_that_outlives_its_cell_gets_no_answer_and_disturbs_none(sandbox):
    async def scenario():
        async with await sandbox.session(SPEC, ask=lambda: 1) as session:
            await session.exec(
                "import threading, time\nerrors = []\n"
                "def late():\n  time.sleep(.3)\n  try: ask()\n  except Exception as e: errors.append(str(e))\n"
                "threads = [threading.Thread(target=late) for _ in range(4)]\n[t.start() for t in threads]; None"
            )
            await asyncio.sleep(0.6)
            cell = await session.exec("[t.join() for t in threads]; sorted(set(errors))")
            assert cell.value_repr == "['no cell is running']"

    asyncio.run(scenario())


def test_a_refused_fork_leaves_no_descriptor_behind(confined):
    async def scenario():
        fds = "import os\ndef fds():\n  r = []\n  for i in range(64):\n    try: os.fstat(i); r.append(i)\n"
        async with await confined.session(SessionSpec(limits=Limits(wall_s=30, procs=2))) as session:
            await session.exec(fds + "    except OSError: pass\n  return r\n")
            branch = await session.fork()
            before = (await session.exec("len(fds())")).value_repr
            for _ in range(3):
                with pytest.raises(SandboxError, match="could not be forked"):
                    await session.fork()
            assert (await session.exec("len(fds())")).value_repr == before
            await branch.close()
            assert (await (await session.fork()).exec("6 * 7")).value_repr == "42"

    asyncio.run(scenario())


def test_the_branch_used_longest_ago_makes_room(confined):
    async def scenario():
        async with await confined.session(SessionSpec(limits=SPEC.limits, max_branches=2)) as session:
            first, second = await session.fork(), await session.fork()
            assert (await first.exec("1")).ok
            third = await session.fork()
            assert first.alive and third.alive and not second.alive
            cell = await second.exec("1")
            assert cell.state_lost and "max_branches is 2" in cell.reason
            busy = [asyncio.create_task(one.exec("import time; time.sleep(1)")) for one in (first, third)]
            await asyncio.sleep(0.1)
            with pytest.raises(SandboxError, match="branches are busy"):
                await session.fork()
            assert all(cell.ok for cell in await asyncio.gather(*busy))
            assert (await (await session.fork()).exec("2")).value_repr == "2"

    asyncio.run(scenario())


@pytest.mark.slow
def test_mutated_frames_from_a_guest_are_protocol_errors_and_no_more(confined):
    """Whatever a guest writes to its channel: a verdict, and the next session works."""
    code = """
import random
r = random.Random(SEED)
one = b'{"op":"done","id":%d}' % r.choice((1, 2, 3, 10**6))
two = b'{"op":"host_call","n":1,"name":"ask","parts":[["args",12]]}'
def frame(h, b=b''): return len(h).to_bytes(4, 'big') + len(b).to_bytes(4, 'big') + h + b
frames = [frame(one), frame(two, b'[[],{}]     ')]
data = bytearray(b''.join(r.choices(frames, k=r.randrange(1, 6))))
for _ in range(r.randrange(8)):
    how, at = r.randrange(4), r.randrange(len(data))
    if how == 0: data[at] = r.randrange(256)
    elif how == 1: del data[at:at + r.randrange(1, 9)]
    elif how == 2: data[at:at] = r.randbytes(r.randrange(1, 9))
    else: data[at:at] = data[at // 2:at]
    if not data: data = bytearray(1)
os.write(3, data)
"""
    allowed = {"ok", "exception", "protocol_error", "exit", "signal", "timeout_wall"}

    async def scenario():
        spec = SessionSpec(limits=Limits(wall_s=3), grace_s=0.5)
        for seed in range(12):
            async with await confined.session(spec, ask=lambda: 1) as session:
                cell = await session.exec(f"import os\nSEED = {seed}" + code, timeout_s=0.5)
                assert cell.verdict in allowed, (seed, cell)
                if not cell.state_lost and session.alive:
                    assert (await session.exec("1", timeout_s=0.5)).verdict in allowed
        async with await confined.session(SPEC) as session:
            assert (await session.exec("6 * 7")).value_repr == "42"

    asyncio.run(scenario())


def test_a_branch_that_died_between_commands_says_why(confined):
    async def scenario():
        async with await confined.session(SPEC) as session:
            branch = await session.fork()
            await branch.exec("import os, threading\nthreading.Timer(.1, os._exit, [0]).start()")
            await asyncio.sleep(0.5)
            assert (await session.exec("1")).ok  # its end is read here
            cell = await branch.exec("1")
            assert cell.state_lost and "the process ended" in cell.reason

    asyncio.run(scenario())


def test_bad_commands_are_named_and_the_session_lives_on(confined):
    async def scenario():
        async with await confined.session(SPEC) as session:
            for limit in (float("nan"), -1, "5"):
                with pytest.raises(ValueError, match="timeout_s is"):
                    await session.exec("1", timeout_s=limit)
            with pytest.raises(ValueError, match="MiB of data"):
                await session.set("x", bytes(513 << 20))
            with pytest.raises(ValueError, match="cannot leave the process"):
                await session.set("x", object())
            with pytest.raises(ValueError, match="code is bytes"):
                await session.exec(b"1")
            assert (await session.exec("1")).ok

    asyncio.run(scenario())


def test_bad_specs():
    with pytest.raises(ValueError, match="idle_s"):
        SessionSpec(idle_s=0)
    with pytest.raises(ValueError, match="max_branches"):
        SessionSpec(max_branches=0)
    with pytest.raises(ValueError, match="not a function name"):
        SessionSpec(host_calls=["a b"])
