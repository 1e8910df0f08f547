"""The process that forks guests: what it must not let them keep, and what its loss must not break."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.sandbox import Job, Limits
from palaestra.sandbox.guest import census, entry, large
from palaestra.sandbox.guest.launcher import memory_file
from palaestra.sandbox.selftest import processes_named


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def launcher_of(slot):
    """The launcher is the fork server's first child; at level I the server is itself a child of the slot's process."""
    server = slot.process.pid if slot.config["level"] == "C" else children(slot.process.pid)[0]
    return children(server)[0]


SIBLING = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
if libc.syscall(number, ctypes.c_ulong(0x8000 | 17), None, None, None, None) == 0:  # CLONE_PARENT
    libc.prctl(15, b"NAME", 0, 0, 0)
    os.closerange(0, 64)
    time.sleep(600)
time.sleep(0.05)
"""


def test_a_process_that_a_guest_makes_a_child_of_its_own_parent_is_ended(sandbox):
    name = f"sib{os.getpid() % 10**9}"
    result = sandbox.run_sync(Job(code=SIBLING.replace("NAME", name)))
    assert result.verdict == "ok" and result.leftovers_killed == 1
    assert not processes_named(name)
    assert sandbox.run_sync(Job(code="print(1)")).stdout == b"1\n"


def test_the_lines_of_a_program_are_known_to_it(sandbox):
    code = "import inspect, traceback\ndef f():\n    return 1 / 0  # here\ntry:\n    f()\nexcept ZeroDivisionError:\n"
    code += "    print('# here' in traceback.format_exc(), 'return 1 / 0' in inspect.getsource(f), __name__)"
    assert sandbox.run_sync(Job(code=code)).stdout_text == "True True __main__\n"


def test_nothing_of_the_rehearsal_is_left(sandbox):
    code = "import os, sys\nnames = sorted(name for name in globals() if name[0] != '_')\n"
    code += "print(names, sys.argv, sys.path[0] == os.getcwd())"
    assert sandbox.run_sync(Job(code=code)).stdout_text == "['os', 'sys'] ['main.py'] True\n"


FORKS = """
import os, time
for count in range(30):
    try:
        pid = os.fork()
    except BlockingIOError:
        break
    if pid == 0:
        time.sleep(60)
print(count)
"""


def test_what_else_runs_under_the_same_user_does_not_count(sandbox):
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(30)]
    for thread in threads:
        thread.start()
    try:
        result = sandbox.run_sync(Job(code=FORKS, limits=Limits(procs=8)))
    finally:
        stop.set()
    assert result.stdout == b"7\n", result


@pytest.mark.parametrize("size", [0, entry.INLINE // 2, 3 * entry.INLINE, 3_000_000])
def test_programs_of_any_size_arrive_whole(sandbox, size):
    code = f"# {'x' * size}\nprint('done')"
    assert sandbox.run_sync(Job(code=code)).stdout == b"done\n"


def test_a_job_that_nobody_took_is_not_run_by_the_next_guest(tmp_path):
    host, guest_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    null = os.open(os.devnull, os.O_RDWR)
    job = entry.pack_job(1, [0] * (2 * len(entry.LIMITS)), None, b"raise SystemExit(7)")

    class Unconfined:
        def applier(self):
            return lambda limits, fds: os.dup2(fds[3], 3)

    for mine, expected in ((1, 7), (2, 125)):
        socket.send_fds(host, [job], [null] * 4)
        pid = os.fork()
        if pid == 0:
            try:
                entry.guest(guest_end.fileno(), str(tmp_path), None, Unconfined())(mine)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == expected
    os.close(null)
    host.close()
    guest_end.close()


def test_a_lost_launcher_costs_no_result(sandbox):
    assert sandbox.run_sync(Job(code="print(1)")).ok
    os.kill(launcher_of(sandbox._runs._idle[-1]), signal.SIGKILL)  # the next to be used
    results = [sandbox.run_sync(Job(code="print(2)")) for _ in range(2)]
    assert [result.stdout for result in results] == [b"2\n", b"2\n"]
    assert sum(result.attempt for result in results) == 3  # a guest that had been forked before is as good as ever


def test_a_guest_dies_with_its_fork_server(confined):
    name = f"orphan{os.getpid() % 10**6}"

    async def scenario():
        session = await confined.session()
        await session.exec(f"import ctypes; ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)")
        assert processes_named(name)
        os.kill(session._hub.slot.process.pid, signal.SIGKILL)
        assert wait_until(lambda: not processes_named(name))
        await session.close()

    from palaestra.sandbox.base import run_sync

    run_sync(scenario())


@pytest.mark.skipif(os.geteuid() != 0, reason="a process that cannot be dumped hides its maps")
def test_large_pages_hold_the_interpreter_where_the_kernel_has_them(confined):
    with open("/sys/kernel/mm/transparent_hugepage/enabled") as file:
        if "[never]" in file.read():
            pytest.skip("the kernel is told to make no large pages")
    confined.run_sync(Job(code=""))
    slot = max(confined._runs._all, key=lambda slot: slot.runs)
    with open(f"/proc/{launcher_of(slot)}/maps") as file:
        lines = [line.split() for line in file]
    adopted = [line for line in lines if line[1] == "r-xp" and len(line) == 5]
    if not adopted:
        pytest.skip("no two megabytes in one piece were free, or the interpreter lies across their borders")
    first, last = (int(word, 16) for word in adopted[0][0].split("-"))
    assert first % large.LARGE == last % large.LARGE == 0


@given(right=st.integers(1, 5000), guess=st.integers(1, 5000), most=st.integers(1, 6000))
def test_the_least_number_that_fits_is_found_and_a_right_guess_costs_two_questions(right, guess, most):
    guess = min(guess, most)
    asked = []

    def fits(number):
        asked.append(number)
        assert 1 <= number <= most
        return number >= right

    assert census.least(fits, guess, most) == min(right, most)
    if guess == right:
        assert len(asked) <= 2


COUNT = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from palaestra.sandbox.guest.census import Census
census = Census()
before = census.count()
stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(25)]
for thread in threads:
    thread.start()
during = census.count()
stop.set()
for thread in threads:
    thread.join()
print(during - before, census.count() - before)
"""


@pytest.mark.skipif(os.geteuid() == 0, reason="the kernel counts, but does not limit, root's processes")
def test_the_kernel_is_asked_how_many_processes_it_counts():
    """In a user namespace, where nobody else's processes come and go."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(census.__file__))))
    done = subprocess.run(
        ["unshare", "--user", sys.executable, "-c", COUNT, os.path.dirname(package)], capture_output=True, text=True
    )
    if "unshare" in done.stderr:
        pytest.skip("no user namespaces here")
    assert done.stdout == "25 0\n", done.stderr


def test_a_file_in_memory_is_read_from_its_start():
    with open(memory_file(b"x" * 100_000), "rb") as file:
        assert len(file.read()) == 100_000
