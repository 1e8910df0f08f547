"""The attacks: 48 hostile programs, what may come of each, and what must hold besides the invariants of ``suite.py``.

A program finds the canaries in ``T``. It prints ``BREACH`` and what it achieved when something worked that must not.
"""

from __future__ import annotations

import asyncio
import json
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
STDIO = [StdioTest("out", "1", EXPECTED)]


async def session_attacks(sandbox: Any) -> list[str]:
    """A48: everything a cell can do to its session."""
    problems: list[str] = []

    def want(name: str, actual: Any, expected: Any) -> None:
        if actual != expected:
            problems.append(f"{name}: {actual!r} instead of {expected!r}")

    spec = SessionSpec(limits=limits(wall_s=20, cpu_s=60, procs=16), grace_s=0.3)
    async with await sandbox.session(spec) as session:
        want("never returns", (await session.exec("x = 7\nwhile True: pass", timeout_s=0.3)).verdict, "timeout_wall")
        want("state after interrupt", (await session.exec("x")).value_repr, "7")
        cell = await session.exec("'r' * 1_000_000")
        want("1 MB repr", cell.ok and len(cell.value_repr) < 20_000, True)
        cell = await session.exec("class R:\n  def __repr__(self): raise ValueError('r')\nR()")
        want("failing repr", cell.error_type, "ValueError")
        await session.exec("import builtins; builtins.exec = builtins.compile = builtins.eval = builtins.repr = None")
        want("monkeypatched", (await session.exec("3 + 4")).value_repr, "7")
        for number in range(1000):
            cell = await session.exec(str(number))
            if cell.value_repr != str(number):
                problems.append(f"cell {number}: {cell}")
                break
        want("kill", (await session.exec("import os; os.kill(os.getpid(), 9)")).state_lost, True)
        want("after the kill", (await session.exec("x")).state_lost, True)
    async with await sandbox.session(spec) as session:
        want("later session", (await session.exec("6 * 7")).value_repr, "42")
    sessions = [await sandbox.session(spec) for _ in range(3)]
    cells = await asyncio.gather(*(one.exec(f"{i} * 2") for i, one in enumerate(sessions)))
    want("sessions side by side", [cell.value_repr for cell in cells], ["0", "2", "4"])
    for one in sessions:
        await one.close()
    return problems


CASES = [
    Case("A01", "fork bomb", "while True: os.fork()", ("process_limit", *TIMEOUTS), limits(wall_s=2, cpu_s=2), "proc_count"),
    Case("A02", "fork bomb through the shell", "import subprocess\nfor _ in range(3): subprocess.Popen(['/bin/sh', '-c', 'f(){ f|f& };f; sleep 5'])\ntime.sleep(9)",
         ("process_limit", *TIMEOUTS), limits(wall_s=1.5, cpu_s=2), "proc_count"),
    Case("A03", "thread bomb", "import threading\nfor _ in range(10**5): threading.Thread(target=time.sleep, args=(9,)).start()",
         ("exception", "process_limit", "memory", *TIMEOUTS), limits(wall_s=3)),
    Case("A04", "memory bomb, MemoryError swallowed", "kept = []\nwhile True:\n  try: kept.append(bytearray(b'x') * (8 << 20))\n  except MemoryError: time.sleep(.01)",
         ("memory",), QUICK, "mem_process", peak_near_cap),
    Case("A05", "memory over eight children", "for _ in range(8):\n  if os.fork() == 0:\n    kept = bytearray(b'x') * (30 << 20); time.sleep(1.5); os._exit(0)\nfor _ in range(8): os.wait()",
         ("memory",), QUICK, "mem_tree"),
    Case("A06", "huge objects", "for f in (lambda: 'x' * 10**12, lambda: list(range(10**11))):\n  try: f()\n  except MemoryError: pass\n10 ** 10 ** 8",
         ("memory", "exception", *TIMEOUTS), limits(wall_s=3, cpu_s=2)),
    Case("A07", "endless stdout", "while True: print('spam' * 100)", ("output_limit",), limits(out_bytes=4096), "", capped),
    Case("A08", "endless stderr, both in turn", "while True:\n  os.write(1, b'o' * 4000); os.write(2, b'e' * 4000)", ("output_limit",), limits(out_bytes=4096), "", capped),
    Case("A09", "1 GiB in one write", "import mmap\nos.write(1, mmap.mmap(-1, 1 << 30))\nos.write(1, mmap.mmap(-1, 1 << 30))", ("output_limit",), limits(out_bytes=4096, mem_mb=512), "", capped),
    Case("A10", "sleep forever", "time.sleep(1e9)", ("timeout_wall",), limits(wall_s=0.6), "", idle),
    Case("A11", "spin", "while True: pass", ("timeout_cpu",), limits(cpu_s=1)),
    Case("A12", "ignore every signal, then spin", "for s in signal.valid_signals():\n  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): pass\nwhile True: pass", TIMEOUTS, limits(cpu_s=1)),
    Case("A13", "swallow every exception", "while True:\n  try:\n    while True: pass\n  except BaseException: continue", TIMEOUTS, limits(cpu_s=1)),
    Case("A14", "daemon", "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    libc.prctl(15, T['daemon'].encode(), 0, 0, 0)\n    os.closerange(0, 64)\n    time.sleep(60)\n  os._exit(0)\ntime.sleep(.1)",
         ("ok",), QUICK, "kill_tree", leftovers),
    Case("A15", "child holds stdout", "if os.fork() == 0: time.sleep(60)\nprint('parent')", ("ok",), QUICK, "", said(b"parent")),
    Case("A16", "kill the parent", "os.kill(os.getppid(), 9)", ("ok", "exception")),
    Case("A17", "signal every process", "me = os.getpid()\nfor pid in range(1, 32769):\n  if pid != me:\n    for s in (0, 15):\n      try: os.kill(pid, s)\n      except OSError: pass", ("ok", "signal")),
    Case("A18", "read secrets", "for p in ('/etc/shadow', '/root/.ssh', T['repo'], T['file'], '/root'):\n  never(p, lambda: os.listdir(p) if os.path.isdir(p) else open(p).read())\nopen('/etc/shadow')", ("exception",)),
    Case("A19", "read environments", "print(json.dumps(sorted(os.environ)))\nfor p in ('self', str(os.getppid()), str(T['host']), '1'):\n  try: print(open(f'/proc/{p}/environ').read())\n  except OSError: pass", ("ok",), QUICK, "", environment),
    Case("A20", "look at other processes", "for p in ('/proc/1/cmdline', '/proc/%d/maps' % T['host'], '/proc/%d/cmdline' % T['host']):\n  never(p, lambda: open(p).read() and None)\ntry: assert not [p for p in os.listdir('/proc') if p.isdigit()]\nexcept OSError: pass"),
    Case("A21", "write outside the scratch directory", "places = [d + '/left-behind' for d in ('/tmp', '/var/tmp', '/dev/shm', os.path.expanduser('~'), '..', '/', '/usr', '/etc', T['dir'])]\nfound = [p for p in places if os.path.exists(p)]\nfor p in places:\n  try: open(p, 'w').write('x')\n  except OSError: pass\nprint('BREACH' if found else 'clean', found)", ("ok",), QUICK, "", said(b"clean")),
    Case("A22", "change metadata", "f = T['file']\nfor w, a in {'chmod': lambda: os.chmod(f, 0o777), 'chown': lambda: os.chown(f, os.getuid(), -1), 'utime': lambda: os.utime(f, (1, 1)), 'touch': lambda: os.utime(f), 'xattr': lambda: os.setxattr(f, 'user.a', b'b'), 'rename': lambda: os.rename(f, f + '2'), 'unlink': lambda: os.unlink(f), 'truncate': lambda: os.truncate(f, 0)}.items(): never(w, a)"),
    Case("A23", "symbolic links and ..", "os.symlink('/etc', 'a'); os.symlink(T['dir'], 'b')\nnever('read', lambda: open('a/shadow').read())\nnever('write', lambda: open('b/new', 'w'))\nnever('walk', lambda: open('../' * 12 + T['file'][1:]).read())"),
    Case("A24", "hard link", "never('link', lambda: (os.link(T['file'], 'h'), open('h', 'a').write('x')))"),
    Case("A25", "TCP connect", "for h in ('127.0.0.1', T['address']):\n  never(h, lambda: socket.create_connection((h, T['tcp']), 2))\nsocket.create_connection(('127.0.0.1', T['tcp']), 2)", ("exception",)),
    Case("A26", "UDP, DNS, raw sockets", "never('udp', lambda: socket.socket(2, 2).sendto(b'x', ('127.0.0.1', T['udp'])))\nnever('dns', lambda: socket.getaddrinfo('example.org', 80))\nnever('raw', lambda: socket.socket(2, 3, 1))\nnever('packet', lambda: socket.socket(17, 3, 0))\nnever('netlink', lambda: socket.socket(16, 3, 0))\nsocket.socket(2, 2)", ("exception",)),
    Case("A27", "listen", "s = socket.socket()\ns.bind(('0.0.0.0', 0)); s.listen()", ("exception",)),
    Case("A28", "pathname unix sockets", "for p in ('/var/run/docker.sock', '/run/docker.sock', T['stream']):\n  s = None\n  never(p, lambda: socket.socket(1, 1).connect(p))\nnever('datagram', lambda: socket.socketpair(1, 2)[0].sendto(b'x', T['datagram']))\nsocket.socket(1, 1).connect(T['stream'])", ("exception",)),
    Case("A29", "abstract unix socket", "socket.socket(1, 1).connect('\\0' + T['abstract'])", ("exception",)),
    Case("A30", "trace other processes", "for p in {T['host'], os.getppid(), *T['servers'], *range(1, 200)} - {os.getpid()}:\n  if p == T.get('self'): continue\n  never('attach', lambda: call(libc.ptrace, 16, p, 0, 0))\n  b = ctypes.create_string_buffer(8)\n  never('readv', lambda: call(libc.process_vm_readv, p, b, 1, b, 1, 0))\n  try: fd = os.pidfd_open(p)\n  except OSError: continue\n  never('getfd', lambda: call(libc.syscall, 438, fd, 0, 0)); os.close(fd)"),
    Case("A31", "memory files", "for p in {T['host'], os.getppid(), *T['servers']} - {os.getpid()}:\n  never('mem', lambda: open(f'/proc/{p}/mem', 'rb'))\ntry:\n  with open('/proc/self/mem', 'r+b') as f: f.seek(id(T)); f.write(b'x')\nexcept OSError: pass", ("ok", "signal")),
    Case("A32", "raise limits", "import resource as r\nfor k in (r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE, r.RLIMIT_NPROC, r.RLIMIT_CORE):\n  try: r.setrlimit(k, (r.RLIM_INFINITY, r.RLIM_INFINITY)); print('BREACH', k)\n  except (OSError, ValueError): pass\n  r.setrlimit(k, (r.getrlimit(k)[1],) * 2)\nnever('others', lambda: r.prlimit(T['host'], r.RLIMIT_NOFILE, (3, 3)))\nopen('big', 'wb').write(b'x' * (17 << 20))", ("file_limit",)),
    Case("A33", "become root", "import subprocess\nnever('setuid', lambda: os.setuid(0))\nfor c in (['/usr/bin/su', '-c', 'id -u'], ['/usr/bin/sudo', '-n', 'id', '-u'], ['/usr/bin/passwd', '-S', 'root'], ['/usr/bin/ping', '-c1', '127.0.0.1']):\n  try: out = subprocess.run(c, capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL)\n  except (OSError, subprocess.SubprocessError): continue\n  if out.returncode == 0: print('BREACH', c, out.stdout)"),
    Case("A34", "namespaces and mounts", "for w, a in {'unshare': (libc.unshare, 0x10000000), 'mount ns': (libc.unshare, 0x20000), 'setns': (libc.setns, 0, 0), 'mount': (libc.mount, b'none', b'/tmp', b'tmpfs', 0, None), 'umount': (libc.umount2, b'/', 2), 'chroot': (libc.chroot, b'.'), 'pivot_root': (libc.syscall, 155, b'.', b'.'), 'clone': (libc.syscall, 56, 0x10000011, 0, 0, 0, 0), 'open_tree': (libc.syscall, 428, -100, b'/', 1)}.items(): never(w, lambda: call(*a))"),
    Case("A35", "a thousand zombies", "for _ in range(1000):\n  if os.fork() == 0: os._exit(0)", ("process_limit", "ok")),
    Case("A36", "huge, sparse, preallocated file", "for a in (lambda f: f.truncate(10 << 30), lambda f: (f.seek(10 << 30), f.write(b'x'), f.flush()), lambda f: os.posix_fallocate(f.fileno(), 0, 10 << 30)):\n  with open('f', 'wb') as f: never('big', lambda: a(f))\nwith open('g', 'wb') as f:\n  for _ in range(20): f.write(b'x' * (1 << 20))", ("file_limit",)),
    Case("A37", "fill the disk with small files", "try:\n  for n in range(200): open(f'z{n}', 'wb').write(b'x' * (1 << 20))\nexcept OSError: [os.unlink(p) for p in os.listdir('.') if p[0] == 'z']\nfor n in range(20000): open(f'i{n}', 'w')", ("file_limit",), limits(disk_mb=8), "disk"),
    Case("A38", "exhaust descriptors", "kept = [open('/dev/null') for _ in range(10**6)]", ("exception",)),
    Case("A39", "hostile bytes", "os.write(1, b'\\0\\xff\\xfe\\x1b[31m\\rz\\n')\nsys.stdout.write('y' * 10_000_000)", ("ok",), limits(out_bytes=32 << 20), "", bytes_exact),
    Case("A40", "empty stdin", "try: input()\nexcept EOFError: print('eof')", ("ok",), QUICK, "", said(b"eof")),
    Case("A41", "deep recursion", "sys.setrecursionlimit(10**9)\nclass R:\n  def __getattr__(self, n): return getattr(self, n + 'x')\n  def __repr__(self): return repr(self)\ntry: repr(R())\nexcept RecursionError: pass\ndef f(n): return f(n + 1)\nf(0)", ("exception", "signal", "memory", *TIMEOUTS), limits(wall_s=3, cpu_s=3)),
    Case("A42", "exit before the tests", "import os, sys\nprint('started', flush=True)\nos._exit(0)", ("exit",), QUICK, "", said(b"started"), CALLS, raw=True),
    Case("A43", "patch the tools of the judge", "import builtins, sys, time, unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None\ntime.time = time.monotonic = lambda: 0\nsys.stdout.write = lambda *a: None\nbuiltins.print = lambda *a, **k: None\nbuiltins.all = builtins.isinstance = lambda *a: True\ndef answer(x): return 'wrong'", ("ok", "exception", "protocol_error", "exit", "signal"), QUICK, "", lambda r: "", CALLS, raw=True),
    Case("A44", "equal to everything", "class E(str):\n  def __eq__(self, o): return True\n  def __ne__(self, o): return False\n  __hash__ = str.__hash__\ndef answer(x): return E('no')", ("ok",), QUICK, "", lambda r: "", CALLS, raw=True),
    Case("A45", "search for the expected outputs", "import gc, sys\ndef answer(x):\n  f, places = sys._getframe(), []\n  while f: places += [f.f_locals, f.f_globals]; f = f.f_back\n  places += [o for o in gc.get_objects() if type(o) in (dict, list, tuple)]\n  needle = ''.join(['expected', '-canary', '-'])\n  for p in places:\n    for o in list(p.values() if type(p) is dict else p):\n      if type(o) is str and o is not needle and o.startswith(needle): return o\n  return 'none'", ("ok",), QUICK, "", lambda r: "", CALLS, raw=True),
    Case("A46", "values that cannot or must not cross", "def g(): yield 1\nclass C: pass\ndef answer(x):\n  global n\n  n += 1\n  a = []; a.append(a)\n  d = []\n  for _ in range(10**4): d = [d]\n  return [b'x' * 10**8, d, a, g(), C(), float('nan'), {1, 2}, lambda: 0][n % 8]\nn = -1", ("ok", "exception"), limits(mem_mb=768, cpu_s=20), "", lambda r: "",
         [CallTest(str(i), "answer", [1], expected=EXPECTED) for i in range(8)], raw=True),
    Case("A47", "pickle and garbage on the result channel", "import pickle\nclass P:\n  def __reduce__(self): return os.system, ('touch ' + T['dir'] + '/pickled',)\nfor fd in range(3, 64):\n  try: os.write(fd, pickle.dumps(P()) + b'\\xff\\0{\"done\"')\n  except OSError: pass", ("protocol_error",)),
    Case("A48", "attacks on a session", scenario=session_attacks),
]  # fmt: skip
