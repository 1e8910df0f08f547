"""Memory that a training step frees is kept for the next one.

glibc gives large blocks back to the kernel as soon as they are freed, and every step of CPU training then pays for
clearing the same pages again: a tenth of the CPU time of a small model. Peak memory stays what it was; between steps
the process holds on to it.
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # numbers of <malloc.h>


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks; whether this C library is one that listens."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
