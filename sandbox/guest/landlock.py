"""Landlock: which files a process may touch, which TCP ports, and whom it may signal. Works without root.

See ``Documentation/userspace-api/landlock.rst`` of the kernel. A ruleset is built once by the fork server; each guest
process only has to enter it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable

from . import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_BLOCK, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
_FILE_ONLY = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}  # number of file-system access bits each ABI knows; 16 from ABI 5


class _RulesetAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("fs", "net", "scoped")]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def abi() -> int:
    """The Landlock version of this kernel; 0 where there is none."""
    return max(0, kernel.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint(1)))


def build(read: Iterable[str], write: Iterable[str], devices: Iterable[str]) -> int:
    """Make a ruleset and return its file descriptor.

    Args:
        read: paths whose trees may be read and executed.
        write: directories in which everything is allowed except device files.
        devices: single files that may be read and written.

    Raises:
        OSError: the kernel has no Landlock, or refused.
    """
    version = abi()
    if not version:
        raise OSError(38, "this kernel has no Landlock")
    every = (1 << _FS_BITS.get(version, 16)) - 1
    attr = _RulesetAttr(fs=every, net=3 if version >= 4 else 0, scoped=3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    args = (ctypes.byref(attr), ctypes.c_size_t(size), ctypes.c_uint(0))
    fd = kernel.check(kernel.syscall(444, *args), "landlock_create_ruleset")
    for path in read:
        _allow(fd, path, READ & every)
    for path in write:
        _allow(fd, path, every & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV))
    for path in devices:
        _allow(fd, path, (READ_FILE | WRITE_FILE) & every)
    return fd


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what does not exist needs no permission
    try:
        if not os.path.isdir(path):
            access &= _FILE_ONLY
        rule = _PathBeneath(allowed=access, parent=fd)
        args = (ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint(0))
        kernel.check(kernel.syscall(445, *args), f"landlock_add_rule {path}")
    finally:
        os.close(fd)


def entrance(ruleset: int) -> Callable[[], int]:
    """Make the function that confines a process (and all it will start) to the ruleset, for good.

    It needs no_new_privs.
    """
    words = (ctypes.c_long(446), ctypes.c_int(ruleset), ctypes.c_uint(0))
    return kernel.prepared("syscall", *words, what="landlock_restrict_self")
