"""Runs: verdicts, output, files, limits, bad input."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from palaestra.sandbox import Job, Limits, LocalSandbox, SandboxError, SessionSpec

SHORT = Limits(wall_s=20, cpu_s=5)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("print(1)", "ok"),
        ("import sys; sys.exit(0)", "ok"),
        ("1/0", "exception"),
        ("x = ", "exception"),
        ("import sys; sys.exit(3)", "exit"),
        ("import os; os._exit(7)", "exit"),
        ("import os; os.kill(os.getpid(), 11)", "signal"),
        ("'x' * 10**12", "memory"),
        ("open('big', 'wb').write(b'x' * (17 << 20))", "file_limit"),
        ("import sys; sys.exit('bye')", "exit"),
        ("\0", "exception"),
        ("s = '\ud800'", "exception"),
    ],
)
def test_verdicts(sandbox, code, verdict):
    result = sandbox.run_sync(Job(code=code, limits=SHORT))
    assert result.verdict == verdict, result
    assert result.isolation is sandbox.isolation


def test_output_exit_code_and_traceback(sandbox):
    result = sandbox.run_sync(
        Job(code="import sys\nprint('out')\nprint('err', file=sys.stderr)\nraise ValueError('no')")
    )
    assert (result.stdout, result.exit_code, result.signal) == (b"out\n", 1, None)
    assert result.stderr_text.startswith("err\nTraceback")
    assert 'File "main.py", line 4' in result.traceback and result.traceback.endswith("ValueError: no\n")
    assert "guest" not in result.traceback  # none of our own frames


def test_threads_and_exit_functions_run(sandbox):
    code = (
        "import atexit, threading, time\natexit.register(print, 'last')\n"
        "threading.Thread(target=lambda: (time.sleep(.05), print('thread'))).start()\nprint('main')"
    )
    assert sandbox.run_sync(Job(code=code)).stdout == b"main\nthread\nlast\n"


def test_threads_signals_forks_and_event_loops_work_in_a_guest(sandbox):
    code = """
import asyncio, os, signal, sys, threading
main = threading.main_thread()
print(main is threading.current_thread(), main.native_id == threading.get_native_id() == os.getpid())
signal.signal(signal.SIGUSR1, lambda *_: print('signal'))
signal.raise_signal(signal.SIGUSR1)
threads = [threading.Thread(target=print, args=(n,)) for n in range(2)]
for thread in threads:
    thread.start()
    thread.join()
sys.stdout.flush()
if os.fork() == 0:
    thread = threading.Thread(target=print, args=('thread of a child',))
    thread.start()
    thread.join()
    raise SystemExit
os.wait()
async def nap():
    await asyncio.sleep(.01)
    return 'slept'
print(asyncio.run(nap()))
"""
    result = sandbox.run_sync(Job(code=code))
    lines = ["True True", "signal", "0", "1", "thread of a child", "slept"]
    assert sorted(result.stdout_text.splitlines()) == sorted(lines), result.stderr_text


def test_wall_limit_returns_partial_output(sandbox):
    began = time.monotonic()
    result = sandbox.run_sync(
        Job(code="print('x', flush=True)\nimport time; time.sleep(99)", limits=Limits(wall_s=0.5))
    )
    assert (result.verdict, result.stdout) == ("timeout_wall", b"x\n")
    assert result.cpu_s < 0.4 and time.monotonic() - began < 20


def test_processor_limit(sandbox):
    result = sandbox.run_sync(Job(code="while True: pass", limits=Limits(wall_s=60, cpu_s=1)))
    assert result.verdict == "timeout_cpu" and 0.8 < result.cpu_s < 3


def test_long_output_keeps_head_and_tail(sandbox):
    code = "print('a' * 3000 + 'm' * 5000 + 'z' * 2000, end='')"
    result = sandbox.run_sync(Job(code=code, limits=Limits(out_bytes=4000)))
    assert result.verdict == "ok" and result.stdout_truncated and result.stdout_dropped == 6000
    assert result.stdout == b"a" * 3000 + b"z" * 1000
    assert "[... 6000 bytes cut ...]" in result.stdout_text


def test_files_in_and_out(sandbox):
    code = (
        "import os, helper\nopen('out/b.bin', 'wb').write(open('in.bin', 'rb').read()[::-1])\n"
        "os.symlink('/etc/passwd', 'link')\n"
        "os.mkfifo('pipe')\nos.mkdir('dir')"
    )
    files = {"in.bin": b"\0\1\2", "out/keep": "", "helper.py": "x = 1"}
    result = sandbox.run_sync(Job(code=code, files=files, fetch=["out/b.bin", "link", "pipe", "dir", "missing"]))
    assert result.verdict == "ok", result.stderr_text
    assert result.files == {"out/b.bin": b"\2\1\0"}


def test_nothing_survives_into_the_next_run(sandbox):
    name = f"survivor-{os.getpid()}"  # at level C a guest sees which names exist in the host's /tmp
    places = f"('{name}', '/tmp/{name}', '../{name}', os.environ['TMPDIR'] + '/{name}')"
    code = f"import os\nfor p in {places}:\n try: open(p, 'w').write('1')\n except OSError: pass"
    sandbox.run_sync(Job(code=code))
    code = f"import os\nprint([p for p in {places} if os.path.exists(p)])"
    for _ in range(3):
        assert sandbox.run_sync(Job(code=code)).stdout == b"[]\n"


def test_stdin_larger_than_a_pipe(sandbox):
    result = sandbox.run_sync(Job(code="import sys; print(len(sys.stdin.read()))", stdin="x" * 1_000_000))
    assert result.stdout == b"1000000\n"


def test_hash_order_is_reproducible(sandbox):
    outputs = {sandbox.run_sync(Job(code="print(hash('palaestra'))")).stdout for _ in range(3)}
    assert len(outputs) == 1


def test_random_numbers_differ_between_runs(sandbox):
    outputs = {sandbox.run_sync(Job(code="import random; print(random.random())")).stdout for _ in range(4)}
    assert len(outputs) == 4


def test_environment_is_clean(sandbox, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "canary-env")
    result = sandbox.run_sync(Job(code="import os; print(dict(os.environ))", env={"GIVEN": "yes"}))
    assert b"canary-env" not in result.stdout and b"'GIVEN': 'yes'" in result.stdout


def test_batch_keeps_order_and_gives_one_result_each(sandbox):
    jobs = [Job(code=f"print({i})") for i in range(12)] + [Job(code="1/0"), Job(argv=["/no/such/interpreter"])]
    results = sandbox.run_batch_sync(jobs)
    assert [r.stdout for r in results[:12]] == [f"{i}\n".encode() for i in range(12)]
    assert [r.verdict for r in results[12:]] == ["exception", "sandbox_error"]


def test_missing_interpreter_is_an_error_not_a_verdict(sandbox):
    with pytest.raises(SandboxError, match="missing interpreter"):
        sandbox.run_sync(Job(argv=["/no/such/interpreter"]))


def test_cancelling_ends_the_run_and_the_slot_lives_on(sandbox):
    async def scenario():
        task = asyncio.create_task(sandbox.run(Job(code="import time; time.sleep(99)", limits=Limits(wall_s=90))))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began, await sandbox.run(Job(code="print(2)"))

    took, result = asyncio.run(scenario())
    assert took < 20 and result.stdout == b"2\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"wall_s": 0},
        {"wall_s": float("nan")},
        {"cpu_s": -1},
        {"mem_mb": 10**9},
        {"mem_mb": 1.5},
        {"procs": 0},
        {"procs": True},
        {"out_bytes": 1},
        {"fds": 10**9},
        {"net": True},
        {"wall_s": "10"},
    ],
)
def test_absurd_limits_are_named(fields):
    with pytest.raises(ValueError, match=f"Limits.{next(iter(fields))} is"):
        Limits(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either code or argv"),
        ({"code": "1", "argv": ["ls"]}, "either code or argv"),
        ({"code": b"print(1)"}, "Job.code is bytes"),
        ({"argv": "ls"}, "list of words"),
        ({"code": "", "files": {"../x": ""}}, "relative path"),
        ({"code": "", "files": {"/etc/x": ""}}, "relative path"),
        ({"code": "", "files": {"x": 3}}, "give bytes or text"),
        ({"code": "", "fetch": ["a//b"]}, "relative path"),
        ({"code": "", "files": {"n" * 300: ""}}, "relative path"),
        ({"code": "", "files": {"\ud800": ""}}, "relative path"),
        ({"code": "", "files": {"tmp": ""}}, "'tmp' cannot be a file"),
        ({"code": "", "files": {"a": "", "a/b/c": ""}}, "'a' cannot be a file"),
        ({"code": "", "files": {"x": b"x" * (3 << 20)}, "limits": Limits(disk_mb=2)}, "raise limits.disk_mb"),
        ({"code": "", "env": {"A B": "x"}}, "identifier"),
        ({"code": "", "env": {"A": "\ud800"}}, "without NUL and lone surrogates"),
        ({"argv": ["echo", "\ud800"]}, "without NUL and lone surrogates"),
        ({"code": "", "limits": {"wall_s": 1}}, "Job.limits is dict"),
        ({"code": "", "stdin": 5}, "Job.stdin is int"),
    ],
)
def test_bad_jobs_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Job(**fields)


def test_what_does_not_fit_a_frame_is_named_and_the_slot_lives_on(confined):
    with pytest.raises(ValueError, match="bytes of arguments"):
        confined.run_sync(Job(argv=["/bin/true", "x" * 2_000_000]))
    large = bytes(513 << 20)
    with pytest.raises(ValueError, match="give a Job"):
        confined.run_sync("print(1)")
    for _ in range(confined.slots + 1):  # each would hold a slot for ever
        with pytest.raises(ValueError, match="MiB of data"):
            confined.run_sync(Job(code="", stdin=large))
    assert confined.run_sync(Job(code="print(1)")).ok


def test_files_that_find_no_room_are_an_error_and_leave_nothing_for_the_next_run():
    files = {f"secret{number}": "x" for number in range(600)}  # a page each
    with LocalSandbox(slots=1, self_test="never", require=()) as sandbox:
        if not sandbox.level.startswith("I"):
            pytest.skip("the scratch directory has no size limit here")
        with pytest.raises(SandboxError, match=r"raise limits\.disk_mb"):
            sandbox.run_sync(Job(code="", files=files, limits=Limits(disk_mb=1)))
        seen = sandbox.run_sync(Job(code="import os; print(sorted(os.listdir('.')))", limits=Limits(disk_mb=1)))
        assert seen.stdout == b"['shm', 'tmp']\n"

        async def scenario():
            with pytest.raises(SandboxError, match=r"raise limits\.disk_mb"):
                await sandbox.session(SessionSpec(files=files, limits=Limits(disk_mb=1)))
            async with await sandbox.session(SessionSpec(limits=Limits(disk_mb=1))) as session:
                return (await session.exec("import os; sorted(os.listdir('.'))")).value_repr

        assert asyncio.run(scenario()) == "['shm', 'tmp']"


def test_unknown_language_and_profile(confined):
    with pytest.raises(ValueError, match=r"Job\.lang is 'cobol'"):
        confined.run_sync(Job(code="", lang="cobol"))
    with pytest.raises(ValueError, match=r"Job\.profile is 'torch'"):
        confined.run_sync(Job(code="", profile="torch"))
    assert confined.run_sync(Job(code="print(1)")).ok
