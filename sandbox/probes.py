"""The canary attacks of the self-test: programs that try what a guest must not be able to do, and say how it went."""

TOUCH = r"""
import ctypes, json, os, socket, sys
t = json.loads(sys.stdin.read())
said = {"environ": sorted(os.environ)}
libc = ctypes.CDLL(None, use_errno=True)

def attempt(prop, what, action):
    try:
        action()
        outcome = "done"
    except BaseException as error:
        outcome = type(error).__name__
    said.setdefault(prop, {})[what] = outcome

def call(function, *args):
    ctypes.set_errno(0)
    if function(*args) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def connect(family, kind, address):
    with socket.socket(family, kind) as sock:
        sock.settimeout(2)
        sock.connect(address)
        sock.send(b"x")

def datagram(path):
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.sendto(b"x", path)

f = t["file"]
attempt("fs_read", "canary", lambda: open(f).read())
attempt("fs_read", "shadow", lambda: open("/etc/shadow").read(1))
attempt("fs_read", "host environ", lambda: open("/proc/%d/environ" % t["host"]).read())
attempt("fs_write", "canary", lambda: open(f, "a").write("x"))
attempt("fs_write", "new file", lambda: open(t["dir"] + "/new", "w"))
attempt("fs_write", "rename", lambda: os.rename(f, f + "2"))
attempt("fs_write", "link", lambda: os.link(f, "hard"))
attempt("fs_meta", "chmod", lambda: os.chmod(f, 0o777))
attempt("fs_meta", "utime", lambda: os.utime(f))
attempt("fs_meta", "setxattr", lambda: os.setxattr(f, "user.x", b"x"))
attempt("net_inet", "tcp", lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", t["tcp"])))
attempt("net_inet", "udp", lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", t["udp"])))
attempt("net_unix", "abstract", lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + t["abstract"]))
attempt("net_unix", "path", lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, t["stream"]))
attempt("net_unix", "datagram", lambda: datagram(t["datagram"]))
if t["victim"] != os.getpid():
    attempt("signal_host", "kill", lambda: os.kill(t["victim"], 15))
    attempt("ptrace", "attach", lambda: call(libc.ptrace, 16, t["victim"], 0, 0))
attempt("ptrace", "memory", lambda: open("/proc/%d/mem" % t["host"], "rb"))
attempt("syscalls", "unshare", lambda: call(libc.unshare, 0x10000000))
attempt("syscalls", "mount", lambda: call(libc.mount, b"none", b"/tmp", b"tmpfs", 0, None))
attempt("syscalls", "keyctl", lambda: call(libc.syscall, 250, 0, -3, 0))
attempt("uid", "setuid", lambda: os.setuid(0))
attempt("uid", "is root", lambda: os.getuid() and 1 / 0)
print(json.dumps(said))
"""

FORKS = r"""
import os, time
count = 0
for _ in range(40):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    except OSError:
        break
    count += 1
print(count)
"""

DAEMON = r"""
import ctypes, json, os, sys, time
name = json.loads(sys.stdin.read())["daemon"]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
        os.closerange(0, 64)
        time.sleep(600)
    os._exit(0)
time.sleep(0.05)
"""

BOMB_MAIN = r"""
kept = []
try:
    while len(kept) < 48:
        kept.append(bytearray(b"x") * (4 << 20))
except MemoryError:
    pass
import time
time.sleep(0.2)
"""

BOMB_CHILDREN = r"""
import os, time
ready, write = os.pipe()
os.set_blocking(ready, False)
for _ in range(4):
    if os.fork() == 0:
        kept = bytearray(b"x") * (48 << 20)
        os.write(write, b"r")
        time.sleep(60)
        os._exit(0)
got, died = 0, 0
for _ in range(1500):
    try:
        got += len(os.read(ready, 4))
    except BlockingIOError:
        pass
    died = died or os.waitpid(-1, os.WNOHANG)[0]
    if got == 4 or died:
        break
    time.sleep(0.01)
"""

BURN_CHILDREN = r"""
import os, time
for _ in range(2):
    if os.fork() == 0:
        while time.process_time() < 0.22:
            pass
        os._exit(0)
for _ in range(2):
    os.wait()
"""

FILL = r"""
for number in range(100):
    with open("file%d" % number, "wb") as file:
        file.write(b"x" * (1 << 20))
"""
