"""The attacks: 48 hostile programs, what may come of each, and what must hold besides the invariants of ``suite.py``.

A program finds the canaries in ``T``. It prints ``BREACH`` and what it achieved when something worked that must not.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from palaestra.sandbox import AssertTest, CallTest, Limits, RunResult, SessionSpec, StdioTest

PRELUDE = """
import ctypes, json, os, signal, socket, sys, time
T = json.loads(sys.stdin.read())
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *args):
    ctypes.set_errno(0)
    if function(*args) < 0:
        raise OSError(ctypes.get_errno(), "refused")
def never(what, action):
    try:
        action()
    except (OSError, ImportError) as error:
        return error
    print("BREACH", what, flush=True)
"""
QUICK = Limits(wall_s=20, cpu_s=5, mem_mb=128, procs=12)
TIMEOUTS = ("timeout_wall", "timeout_cpu")
EXPECTED = "expected-canary-58d1"


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        id: A01 to A48.
        title: what it tries.
        code: the program, after ``PRELUDE``.
        verdicts: those allowed.
        limits: of the run.
        needs: the property without which the verdict and ``check`` do not apply; it must then be absent in the report.
        check: returns what is wrong with a result.
        tests: for graded cases; none may pass.
        scenario: an asynchronous attack on a session, instead of a run.
        raw: the code without the prelude.
    """

    id: str
    title: str
    code: str = ""
    verdicts: tuple[str, ...] = ("ok",)
    limits: Limits = QUICK
    needs: str = ""
    check: Callable[[RunResult], str] = lambda result: ""
    tests: Any = None
    scenario: Any = None
    raw: bool = False
    files: dict[str, Any] = field(default_factory=dict)


def limits(**changes: Any) -> Limits:
    return Limits(**{"wall_s": 20, "cpu_s": 5, "mem_mb": 128, "procs": 12, **changes})


SHORT = limits(wall_s=1, cpu_s=1)


def idle(result: RunResult) -> str:
    return f"cpu_s is {result.cpu_s}" if result.cpu_s > 0.6 else ""


def capped(result: RunResult) -> str:
    kept = len(result.stdout) + len(result.stderr)
    return "" if kept <= 2 * 4096 + 65536 and result.stdout_dropped + result.stderr_dropped else f"{kept} bytes kept"


def peak_near_cap(result: RunResult) -> str:
    return "" if 60 <= result.peak_mem_mb <= 200 else f"peak_mem_mb is {result.peak_mem_mb}"


def said(text: bytes) -> Callable[[RunResult], str]:
    return lambda result: "" if text in result.stdout else f"expected {text!r} in {result.stdout[:200]!r}"


def leftovers(result: RunResult) -> str:
    return "" if result.leftovers_killed >= 1 else "the daemon was not counted"


def bytes_exact(result: RunResult) -> str:
    head = b"\0\xff\xfe\x1b[31m\rz\n"
    whole = head + b"y" * 10_000_000
    if result.stdout != whole:
        return f"{len(result.stdout)} bytes instead of {len(whole)}"
    return "" if result.stdout_text.startswith("\0��\x1b[31m") else "text was not replaced"


def environment(result: RunResult) -> str:
    allowed = {"PATH", "HOME", "TMPDIR", "LANG", "PYTHONHASHSEED", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
               "MALLOC_ARENA_MAX", "LC_CTYPE"}  # fmt: skip
    found = set(json.loads(result.stdout.splitlines()[0]))
    return f"foreign variables {found - allowed}" if found - allowed else ""


CALLS = [CallTest("value", "answer", [1], expected=EXPECTED), AssertTest("assert", f"assert answer(1) == {EXPECTED!r}")]
GRADED = [StdioTest("out", "1", EXPECTED), *CALLS]


async def session_attacks(sandbox: Any, copies: int) -> list[str]:
    """A48: everything a cell can do to its session."""
    if copies > 1:
        found = await asyncio.gather(*(_attack_session(sandbox, 250) for _ in range(copies)))
        return [problem for problems in found for problem in problems]
    problems = await _attack_session(sandbox, 10_000 if os.environ.get("PALAESTRA_ATTACKS") == "full" else 1_000)
    sessions = [await sandbox.session() for _ in range(3)]
    cells = await asyncio.gather(*(one.exec(f"{i} * 2") for i, one in enumerate(sessions)))
    if [cell.value_repr for cell in cells] != ["0", "2", "4"]:
        problems.append(f"sessions side by side: {cells}")
    for one in sessions:
        await one.close()
    return problems


async def _attack_session(sandbox: Any, count: int) -> list[str]:
    problems: list[str] = []

    def want(name: str, actual: Any, expected: Any) -> None:
        if actual != expected:
            problems.append(f"{name}: {actual!r} instead of {expected!r}")

    spec = SessionSpec(limits=limits(wall_s=20, cpu_s=60, procs=16), grace_s=10)
    async with await sandbox.session(spec) as session:
        want("never returns", (await session.exec("x = 7\nwhile True: pass", timeout_s=0.3)).verdict, "timeout_wall")
        want("state after interrupt", (await session.exec("x")).value_repr, "7")
        cell = await session.exec("'r' * 1_000_000")
        want("1 MB repr", cell.ok and len(cell.value_repr) < 20_000, True)
        cell = await session.exec("class R:\n  def __repr__(self): raise ValueError('r')\nR()")
        want("failing repr", cell.error_type, "ValueError")
        await session.exec("import builtins; builtins.exec = builtins.compile = builtins.eval = builtins.repr = None")
        want("monkeypatched", (await session.exec("3 + 4")).value_repr, "7")
        for number in range(count):
            cell = await session.exec(str(number))
            if cell.value_repr != str(number):
                problems.append(f"cell {number}: {cell}")
                break
        want("kill", (await session.exec("import os; os.kill(os.getpid(), 9)")).state_lost, True)
        want("after the kill", (await session.exec("x")).state_lost, True)
    async with await sandbox.session(spec) as session:
        want("later session", (await session.exec("6 * 7")).value_repr, "42")
    return problems


CASES = [
    Case("A01", "fork bomb", "while True: os.fork()", ("process_limit", *TIMEOUTS),
         limits(wall_s=1, cpu_s=1), "proc_count"),
    Case("A02", "fork bomb through the shell", r'''
import subprocess
for _ in range(3): subprocess.Popen(['/bin/sh', '-c', 'f(){ f|f& };f; sleep 5'])
time.sleep(9)
''',
         ("process_limit", *TIMEOUTS), limits(wall_s=1, cpu_s=1), "proc_count"),
    Case("A03", "thread bomb", r'''
import threading
for _ in range(10**5): threading.Thread(target=time.sleep, args=(9,)).start()
''',
         ("exception", "process_limit", "memory", *TIMEOUTS), limits(wall_s=1)),
    Case("A04", "memory bomb, MemoryError swallowed", r'''
kept = []
while True:
  try: kept.append(bytearray(b'x') * (8 << 20))
  except MemoryError: time.sleep(.01)
''',
         ("memory",), QUICK, "mem_process", peak_near_cap),
    Case("A05", "memory over eight children", r'''
for _ in range(8):
  if os.fork() == 0:
    kept = bytearray(b'x') * (30 << 20); time.sleep(.8); os._exit(0)
for _ in range(8): os.wait()
''',
         ("memory",), QUICK, "mem_tree"),
    Case("A06", "huge objects", r'''
for f in (lambda: 'x' * 10**12, lambda: list(range(10**11))):
  try: f()
  except MemoryError: pass
10 ** 10 ** 8
''',
         ("memory", "exception", *TIMEOUTS), limits(wall_s=1.5, cpu_s=1)),
    Case("A07", "endless stdout", "while True: print('spam' * 100)", ("output_limit",), limits(out_bytes=4096),
         "", capped),
    Case("A08", "endless stderr, both in turn", r'''
while True:
  os.write(1, b'o' * 4000); os.write(2, b'e' * 4000)
''', ("output_limit",), limits(out_bytes=4096), "", capped),
    Case("A09", "1 GiB in one write", r'''
import mmap
os.write(1, mmap.mmap(-1, 1 << 30))
os.write(1, mmap.mmap(-1, 1 << 30))
''', ("output_limit",), limits(out_bytes=4096, mem_mb=512), "", capped),
    Case("A10", "sleep forever", "time.sleep(1e9)", ("timeout_wall",), limits(wall_s=0.6), "", idle),
    Case("A11", "spin", "while True: pass", ("timeout_cpu",), limits(cpu_s=0.3)),
    Case("A12", "ignore every signal, then spin", r'''
for s in signal.valid_signals():
  try: signal.signal(s, signal.SIG_IGN)
  except (OSError, ValueError): pass
while True: pass
''', TIMEOUTS, limits(cpu_s=0.3)),
    Case("A13", "swallow every exception", r'''
while True:
  try:
    while True: pass
  except BaseException: continue
''', TIMEOUTS, limits(cpu_s=0.3)),
    Case("A14", "daemon", r'''
if os.fork() == 0:
  os.setsid()
  if os.fork() == 0:
    libc.prctl(15, T['daemon'].encode(), 0, 0, 0)
    os.closerange(0, 64)
    time.sleep(60)
  os._exit(0)
time.sleep(.1)
''',
         ("ok",), QUICK, "kill_tree", leftovers),
    Case("A15", "child holds stdout", r'''
if os.fork() == 0: time.sleep(60)
print('parent')
''', ("ok",), QUICK, "", said(b"parent")),
    # In a PID namespace of its own the parent's number is 0, which means the caller's own group.
    Case("A16", "kill the parent", "os.kill(os.getppid(), 9)", ("ok", "exception", "signal")),
    Case("A17", "signal every process", r'''
me = os.getpid()
for pid in range(1, 32769):
  if pid != me:
    for s in (0, 15):
      try: os.kill(pid, s)
      except OSError: pass
''', ("ok", "signal")),
    Case("A18", "read secrets", r'''
for p in ('/etc/shadow', '/root/.ssh', T['repo'], T['file'], '/root'):
  never(p, lambda: os.listdir(p) if os.path.isdir(p) else open(p).read())
open('/etc/shadow')
''', ("exception",)),
    Case("A19", "read environments", r'''
print(json.dumps(sorted(os.environ)))
for p in ('self', str(os.getppid()), str(T['host']), '1'):
  try: print(open(f'/proc/{p}/environ').read())
  except OSError: pass
''', ("ok",), QUICK, "", environment),
    Case("A20", "look at other processes", r'''
for p in ('/proc/1/cmdline', '/proc/%d/maps' % T['host'], '/proc/%d/cmdline' % T['host']):
  never(p, lambda: open(p).read() and None)
try: assert not [p for p in os.listdir('/proc') if p.isdigit()]
except OSError: pass
'''),
    Case("A21", "write outside the scratch directory", r'''
directories = ('/tmp', '/var/tmp', '/dev/shm', os.path.expanduser('~'), '..', '/', '/usr', '/etc', T['dir'])
places = [d + '/left-behind' for d in directories]
found = [p for p in places if os.path.exists(p)]
for p in places:
  try: open(p, 'w').write('x')
  except OSError: pass
print('BREACH' if found else 'clean', found)
''', ("ok",), QUICK, "", said(b"clean")),
    Case("A22", "change metadata", r'''
f = T['file']
never('chmod', lambda: os.chmod(f, 0o777))
never('chown', lambda: os.chown(f, os.getuid(), -1))
never('utime', lambda: os.utime(f, (1, 1)))
never('touch', lambda: os.utime(f))
never('xattr', lambda: os.setxattr(f, 'user.a', b'b'))
never('rename', lambda: os.rename(f, f + '2'))
never('unlink', lambda: os.unlink(f))
never('truncate', lambda: os.truncate(f, 0))
'''),
    Case("A23", "symbolic links and ..", r'''
os.symlink('/etc', 'a'); os.symlink(T['dir'], 'b')
never('read', lambda: open('a/shadow').read())
never('write', lambda: open('b/new', 'w'))
never('walk', lambda: open('../' * 12 + T['file'][1:]).read())
'''),
    Case("A24", "hard link", r'''
never('link', lambda: (os.link(T['file'], 'h'), open('h', 'a').write('x')))
'''),
    Case("A25", "TCP connect", r'''
for h in ('127.0.0.1', T['address']):
  never(h, lambda: socket.create_connection((h, T['tcp']), 2))
socket.create_connection(('127.0.0.1', T['tcp']), 2)
''', ("exception",)),
    Case("A26", "UDP, DNS, raw sockets", r'''
never('udp', lambda: socket.socket(2, 2).sendto(b'x', ('127.0.0.1', T['udp'])))
never('dns', lambda: socket.getaddrinfo('example.org', 80))
never('raw', lambda: socket.socket(2, 3, 1))
never('packet', lambda: socket.socket(17, 3, 0))
never('netlink', lambda: socket.socket(16, 3, 0))
socket.socket(2, 2)
''', ("exception",)),
    Case("A27", "listen", r'''
s = socket.socket()
s.bind(('0.0.0.0', 0)); s.listen()
''', ("exception",)),
    Case("A28", "pathname unix sockets", r'''
for p in ('/var/run/docker.sock', '/run/docker.sock', T['stream']):
  s = None
  never(p, lambda: socket.socket(1, 1).connect(p))
never('datagram', lambda: socket.socketpair(1, 2)[0].sendto(b'x', T['datagram']))
socket.socket(1, 1).connect(T['stream'])
''', ("exception",)),
    Case("A29", "abstract unix socket", "socket.socket(1, 1).connect('\\0' + T['abstract'])", ("exception",)),
    Case("A30", "trace other processes", r'''
for p in {T['host'], os.getppid(), *T['servers'], *range(1, 200)} - {os.getpid()}:
  if p == T.get('self'): continue
  never('attach', lambda: call(libc.ptrace, 16, p, 0, 0))
  b = ctypes.create_string_buffer(8)
  never('readv', lambda: call(libc.process_vm_readv, p, b, 1, b, 1, 0))
  try: fd = os.pidfd_open(p)
  except OSError: continue
  never('getfd', lambda: call(libc.syscall, 438, fd, 0, 0)); os.close(fd)
'''),
    Case("A31", "memory files", r'''
for p in {T['host'], os.getppid(), *T['servers']} - {os.getpid()}:
  never('mem', lambda: open(f'/proc/{p}/mem', 'rb'))
try:
  with open('/proc/self/mem', 'r+b') as f: f.seek(id(T)); f.write(b'x')
except OSError: pass
''', ("ok", "signal")),
    Case("A32", "raise limits", r'''
import resource as r
for k in (r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE, r.RLIMIT_NPROC, r.RLIMIT_CORE):
  try: r.setrlimit(k, (r.RLIM_INFINITY, r.RLIM_INFINITY)); print('BREACH', k)
  except (OSError, ValueError): pass
  r.setrlimit(k, (r.getrlimit(k)[1],) * 2)
never('others', lambda: r.prlimit(T['host'], r.RLIMIT_NOFILE, (3, 3)))
open('big', 'wb').write(b'x' * (17 << 20))
''', ("file_limit",)),
    Case("A33", "become root", r'''
import subprocess
never('setuid', lambda: os.setuid(0))
for c in ('/usr/bin/su -c id', '/usr/bin/sudo -n id', '/usr/bin/passwd -S root', '/usr/bin/ping -c1 127.0.0.1'):
  try: out = subprocess.run(c.split(), capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL)
  except (OSError, subprocess.SubprocessError): continue
  if out.returncode == 0: print('BREACH', c, out.stdout)
'''),
    Case("A34", "namespaces and mounts", r'''
never('unshare', lambda: call(libc.unshare, 0x10000000))
never('mount namespace', lambda: call(libc.unshare, 0x20000))
never('setns', lambda: call(libc.setns, 0, 0))
never('mount', lambda: call(libc.mount, b'none', b'/tmp', b'tmpfs', 0, None))
never('umount', lambda: call(libc.umount2, b'/', 2))
never('chroot', lambda: call(libc.chroot, b'.'))
never('pivot_root', lambda: call(libc.syscall, 155, b'.', b'.'))
never('clone', lambda: call(libc.syscall, 56, 0x10000011, 0, 0, 0, 0))
never('open_tree', lambda: call(libc.syscall, 428, -100, b'/', 1))
'''),
    Case("A35", "a thousand zombies", r'''
for _ in range(1000):
  if os.fork() == 0: os._exit(0)
''', ("process_limit", "ok")),
    Case("A36", "huge, sparse, preallocated file", r'''
def attempt(action):
  with open('f', 'wb') as f:
    never('big', lambda: action(f))
    f.raw.seek(0)
attempt(lambda f: f.truncate(10 << 30))
attempt(lambda f: os.pwrite(f.fileno(), b'x', 10 << 30))
attempt(lambda f: os.posix_fallocate(f.fileno(), 0, 10 << 30))
with open('g', 'wb') as f:
  for _ in range(20): f.write(b'x' * (1 << 20))
''', ("file_limit",)),
    Case("A37", "fill the disk with small files", r'''
def fill():
  for n in range(200): open(f'z{n}', 'wb').write(b'x' * (1 << 20))
never('bytes', fill)
for p in os.listdir('.'):
  if p[0] == 'z': os.unlink(p)
for n in range(20_000 if 'disk' in T['tested'] else 2_000): open(f'i{n}', 'w')
''', ("file_limit", "ok"), limits(disk_mb=8), "disk"),
    Case("A38", "exhaust descriptors", "kept = [open('/dev/null') for _ in range(10**6)]", ("exception",)),
    Case("A39", "hostile bytes", r'''
os.write(1, b'\0\xff\xfe\x1b[31m\rz\n')
sys.stdout.write('y' * 10_000_000)
''', ("ok",), limits(out_bytes=32 << 20), "", bytes_exact),
    Case("A40", "empty stdin", r'''
try: input()
except EOFError: print('eof')
''', ("ok",), QUICK, "", said(b"eof")),
    Case("A41", "deep recursion", r'''
sys.setrecursionlimit(10**9)
class R:
  def __getattr__(self, n): return getattr(self, n + 'x')
  def __repr__(self): return repr(self)
try: repr(R())
except RecursionError: pass
def f(n): return f(n + 1)
f(0)
''', ("exception", "signal", "memory", *TIMEOUTS), limits(wall_s=2, cpu_s=1)),
    Case("A42", "exit before the tests", r'''
import os, sys
print('started', flush=True)
os._exit(0)
''', ("exit",), QUICK, "", said(b"started"), GRADED, raw=True),
    Case("A43", "patch the tools of the judge", r'''
import builtins, sys, time, unittest
unittest.TestCase.assertEqual = lambda *a, **k: None
time.time = time.monotonic = lambda: 0
sys.stdout.write = lambda *a: None
builtins.print = lambda *a, **k: None
builtins.all = builtins.isinstance = lambda *a: True
def answer(x): return 'wrong'
''', ("ok", "exception", "protocol_error", "exit", "signal"), QUICK, "", lambda r: "", GRADED, raw=True),
    Case("A44", "equal to everything", r'''
class E(str):
  def __eq__(self, o): return True
  def __ne__(self, o): return False
  __hash__ = str.__hash__
def answer(x): return E('no')
''', ("ok",), QUICK, "", lambda r: "", GRADED, raw=True),
    Case("A45", "search for the expected outputs", r'''
import gc, sys
def answer(x):
  f, places = sys._getframe(), []
  while f: places += [f.f_locals, f.f_globals]; f = f.f_back
  places += [o for o in gc.get_objects() if type(o) in (dict, list, tuple)]
  needle = ''.join(['expected', '-canary', '-'])
  for p in places:
    for o in list(p.values() if type(p) is dict else p):
      if type(o) is str and o is not needle and o.startswith(needle): return o
  return 'none'
''', ("ok",), QUICK, "", lambda r: "", GRADED, raw=True),
    Case("A46", "values that cannot or must not cross", r'''
def g(): yield 1
class C: pass
def answer(x):
  global n
  n += 1
  a = []; a.append(a)
  d = []
  for _ in range(10**4): d = [d]
  return [b'x' * 10**8, d, a, g(), C(), float('nan'), {1, 2}, lambda: 0][n % 8]
n = -1
''', ("ok", "exception"), limits(mem_mb=768, cpu_s=20), "", lambda r: "",
         [CallTest(str(i), "answer", [1], expected=EXPECTED) for i in range(8)], raw=True),
    Case("A47", "pickle and garbage on the result channel", r'''
import pickle
class P:
  def __reduce__(self): return os.system, ('touch ' + T['dir'] + '/pickled',)
for fd in range(3, 64):
  try: os.write(fd, pickle.dumps(P()) + b'\xff\0{"done"')
  except OSError: pass
''', ("protocol_error",)),
    Case("A48", "attacks on a session", scenario=session_attacks),
]  # fmt: skip
