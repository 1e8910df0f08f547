"""The few kernel calls Python has no name for, through ctypes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]

_bare = ctypes.PyDLL(None)  # holds on to the interpreter's lock
_bare.syscall.restype = ctypes.c_long
_bare.__errno_location.restype = ctypes.POINTER(ctypes.c_int)

MACHINE = os.uname().machine
# Call numbers that differ between machines: (x86_64, aarch64). Newer calls have one number everywhere.
_NUMBERS = {"seccomp": (317, 277), "pivot_root": (155, 41), "capset": (126, 91), "clone": (56, 220)}
_COLUMN = {"x86_64": 0, "aarch64": 1}.get(MACHINE)

CLONE_VM, CLONE_VFORK, CLONE_PARENT, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x100, 0x4000, 0x8000, 1 << 21, 1 << 24
SIGCHLD = 17
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
PR_GET_TID_ADDRESS = 40
AT_FDCWD = -100


def check(result: int, what: str) -> int:
    """Raise ``OSError`` naming the call when it returned -1."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, *args: object) -> int:
    """A raw system call; returns -1 with errno set on failure."""
    return libc.syscall(ctypes.c_long(number), *args)


def prepared(name: str, *args: object, what: str = "") -> Callable[[], int]:
    """Make ready a call of the C library that touches as little memory as can be.

    Args:
        name: the function.
        *args: its arguments, as ctypes objects.
        what: what errors call it, if not by its name.

    Returns:
        A function that makes the call and returns its result, or raises ``OSError`` when that is negative.
    """
    call, errno = getattr(_bare, name), _bare.__errno_location

    def make() -> int:
        result = call(*args)
        if result < 0:
            code = errno()[0]
            raise OSError(code, f"{what or name}: {os.strerror(code)}")
        return result

    return make


def number(name: str) -> int:
    """The number of a call on this machine."""
    if _COLUMN is None:
        raise OSError(38, f"{name}: no system call table for machine {MACHINE!r}")
    return _NUMBERS[name][_COLUMN]


def prctl(option: int, value: int = 0) -> int:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    return check(libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl({option})")


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(libc.unshare(ctypes.c_int(flags)), f"unshare({flags:#x})")


def entering_pidns(own: int) -> tuple[Callable[[], int], Callable[[], int]]:
    """Make ready the two calls after which the next child is the first process of a new PID namespace.

    Args:
        own: descriptor of the caller's PID namespace, to which it returns first.
    """
    kind = ctypes.c_int(CLONE_NEWPID)
    return prepared("setns", ctypes.c_int(own), kind), prepared("unshare", kind)


def sibling() -> Callable[[], int]:
    """Make ready a fork, by a process with a single thread, whose child becomes a child of the caller's parent.

    ``os.fork`` makes new locks, walks the thread list and seeds ``random`` in the child, which touches, and thereby
    copies, more than a hundred pages: a third of what a short run costs. With one thread there is nothing to repair;
    the caller sees to ``random``. The C library only needs to find the thread's number where it keeps it.
    """
    tid = ctypes.c_void_p()
    known = libc.prctl(PR_GET_TID_ADDRESS, ctypes.byref(tid), 0, 0, 0) == 0
    flags = CLONE_PARENT | SIGCHLD | (CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID if known else 0)
    none = ctypes.c_void_p()
    last = (tid, none) if _COLUMN == 0 else (none, tid)  # aarch64 has the thread-local storage first
    words = (ctypes.c_long(number("clone")), ctypes.c_ulong(flags), none, none, *last)
    return prepared("syscall", *words, what="clone")


_STACK = ctypes.create_string_buffer(16384)


def _on_own_stack(function: str, flags: int) -> Callable[[], int]:
    """Make ready the start of a process that shares the caller's memory and runs a function of the C library in it.

    One at a time: they all use the same stack.
    """
    top = ctypes.c_void_p((ctypes.addressof(_STACK) + ctypes.sizeof(_STACK)) & ~63)
    words = (ctypes.cast(getattr(libc, function), ctypes.c_void_p), top, ctypes.c_int(flags | CLONE_VM | SIGCHLD))
    return prepared("clone", *words, ctypes.c_void_p())


def sibling_pause() -> Callable[[], int]:
    """Make ready the start of a process that does nothing but sleep in ``pause`` until it is killed.

    It is a child of the caller's parent, and must have no signal handlers.
    """
    return _on_own_stack("pause", CLONE_PARENT)


def stillborn() -> Callable[[], int]:
    """Make ready the start of a process that has ended when the call returns; it is to be waited for."""
    return _on_own_stack("_exit", CLONE_VFORK)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    encoded = [text.encode() or None for text in (source, target, kind, data)]
    check(libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]), f"mount {source} on {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    check(libc.umount2(target.encode(), flags), f"umount {target}")


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def restrict_mount(target: str, recursive: bool = True) -> None:
    """Make a mount read-only, nosuid and nodev (with everything mounted below it)."""
    attr = _MountAttr(attr_set=1 | 2 | 4)
    flags = 0x8000 if recursive else 0  # AT_RECURSIVE
    args = (ctypes.c_int(AT_FDCWD), ctypes.c_char_p(target.encode()), ctypes.c_uint(flags), ctypes.byref(attr))
    check(syscall(442, *args, ctypes.c_size_t(ctypes.sizeof(attr))), f"mount_setattr {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    check(syscall(number("pivot_root"), ctypes.c_char_p(new.encode()), ctypes.c_char_p(old.encode())), "pivot_root")


def drop_capabilities() -> None:
    """Clear the effective, permitted and inheritable sets of this process."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    check(syscall(number("capset"), ctypes.byref(header), ctypes.byref(data)), "capset")


class _OpenHow(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


def open_beneath(directory: int, path: str) -> int:
    """Open a file for reading below a directory, refusing every symbolic link and every way out."""
    how = _OpenHow(flags=os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, resolve=0x08 | 0x04 | 0x02)
    args = (ctypes.c_int(directory), ctypes.c_char_p(os.fsencode(path)), ctypes.byref(how))
    return check(syscall(437, *args, ctypes.c_size_t(ctypes.sizeof(how))), f"open {path}")
