"""The interpreter's code in large pages.

A forked process maps a file's pages again as it comes across them, a few at a time: some fifty page faults in a short
run, a tenth of its cost. Two large pages of ordinary memory it simply inherits.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

LARGE = 2 << 20
_PRIVATE, _READ, _WRITE, _EXEC = 0x22, 1, 2, 4  # MAP_PRIVATE | MAP_ANONYMOUS, PROT_*
_MOVE_THERE, _WANT_LARGE = 3, 14  # MREMAP_MAYMOVE | MREMAP_FIXED, MADV_HUGEPAGE


def adopt(proc: int) -> int:
    """Replace the interpreter's code in memory by a copy of itself in large pages.

    Only what nobody writes to is replaced, so the copy is the same at any moment; where the kernel gives no large pages
    everything stays as it is.

    Args:
        proc: descriptor of ``/proc``.

    Returns:
        The number of bytes replaced.
    """
    libc = ctypes.PyDLL(None, use_errno=True)
    libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    total = 0
    for first, last in _stretches(proc):
        length = last - first
        area = libc.mmap(None, size(length + LARGE), _READ | _WRITE, _PRIVATE, -1, size(0))
        if area == pointer(-1).value:
            break
        copy = -(-area // LARGE) * LARGE
        libc.madvise(pointer(copy), size(length), _WANT_LARGE)
        ctypes.memmove(copy, first, length)
        if _is_large(proc, copy, length) and libc.mprotect(pointer(copy), size(length), _READ | _EXEC) == 0:
            moved = libc.mremap(pointer(copy), size(length), size(length), _MOVE_THERE, pointer(first))
            total += length if moved == first else 0
        libc.munmap(pointer(area), size(length + LARGE))
    return total


def _stretches(proc: int) -> list[tuple[int, int]]:
    """Where the file that holds the interpreter's code lies in memory read-only, in whole large pages."""
    inside = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value or 0
    found: list[list[int]] = []
    with open(os.open("self/maps", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)) as file:
        for words in map(str.split, file):
            if "w" in words[1] or len(words) < 6 or not words[5].startswith("/"):
                continue
            first, last = (int(word, 16) for word in words[0].split("-"))
            if found and found[-1][1] == first:
                found[-1][1] = last
            else:
                found.append([first, last])
    whole = [(-(-first // LARGE) * LARGE, last // LARGE * LARGE) for first, last in found if first <= inside < last]
    return [(first, last) for first, last in whole if first < last]


def _is_large(proc: int, address: int, length: int) -> bool:
    """Whether memory lies in large pages throughout."""
    large, within = 0, False
    with contextlib.suppress(OSError), open(os.open("self/smaps", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)) as file:
        for words in map(str.split, file):
            if not words[0].endswith(":"):
                first, last = (int(word, 16) for word in words[0].split("-"))
                within = first < address + length and address < last
            elif within and words[0] == "AnonHugePages:":
                large += int(words[1]) << 10
    return large >= length
