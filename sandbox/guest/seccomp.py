"""A seccomp-BPF filter: system calls guest code has no business with.

The third layer behind the user id and Landlock. It is a deny-list, which the kernel documents as no sandbox by itself;
here it closes what the other layers leave open: sockets of every family, tracing, mounts, namespaces, kernel
interfaces with a poor security record, and calls that act on other processes.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from . import kernel

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LD, _JEQ, _JGE, _JGT, _JSET, _AND, _RET = 0x20, 0x15, 0x35, 0x25, 0x45, 0x54, 0x06

# name: (x86_64, aarch64); None where the machine has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "mbind": (237, 235), "set_mempolicy": (238, 237),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    "open_tree_attr": (467, 467), "unshare": (272, 97), "setns": (308, 268),
    # sockets; socketpair is looked at below
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
    # System V and POSIX message objects would outlive the run
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
    "semtimedop": (220, 192), "semctl": (66, 191), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # kernel interfaces
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "personality": (135, 92), "syslog": (103, 116), "vhangup": (153, 58),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "lookup_dcookie": (212, 18), "uselib": (134, None),
    "nfsservctl": (180, 42), "memfd_secret": (447, 447),
}  # fmt: skip

# Landlock does not cover metadata. Where no private mount view makes the host read-only these are denied as well.
METADATA: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "file_setattr": (469, 469),
}  # fmt: skip

# Calls that may act on oneself only: name: (x86_64, aarch64, index of the argument that must be 0).
SELF_ONLY: dict[str, tuple[int, int, int]] = {
    "prlimit64": (302, 261, 0), "sched_setaffinity": (203, 122, 0), "sched_setscheduler": (144, 119, 0),
    "sched_setparam": (142, 118, 0), "sched_setattr": (314, 274, 0), "setpriority": (141, 140, 1),
    "ioprio_set": (251, 30, 1),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKETPAIR, _IOCTL = (56, 220), 435, (53, 199), (16, 29)
_NAMESPACE_FLAGS = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


class _Op(NamedTuple):
    code: int
    k: int
    yes: int = 0
    no: int = 0


class _Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Filter))]


def _argument(index: int) -> _Op:
    return _Op(_LD, 16 + 8 * index)  # low half; little-endian on both machines


def _search(calls: list[tuple[int, int]]) -> list[_Op]:
    """Binary search over sorted (number, action); every path ends in a return."""
    if len(calls) == 1:
        number, action = calls[0]
        return [_Op(_JEQ, number, 0, 1), _Op(_RET, action), _Op(_RET, ALLOW)]
    middle = len(calls) // 2
    left, right = _search(calls[:middle]), _search(calls[middle:])
    if len(left) > 255:  # a conditional jump reaches 255 instructions; an unconditional one any distance
        return [_Op(_JGE, calls[middle][0], 0, 1), _Op(0x05, len(left)), *left, *right]
    return [_Op(_JGE, calls[middle][0], len(left), 0), *left, *right]


def _special(number: int, block: list[_Op]) -> list[_Op]:
    return [_Op(_JEQ, number, 0, len(block)), *block]


ENTERING = frozenset({"unshare", "setns"})


def _head(machine: str) -> list[_Op]:
    """Refuse other machines' tables, then load the number of the call."""
    program = [_Op(_LD, 4), _Op(_JEQ, _AUDIT_ARCH[machine], 1, 0), _Op(_RET, EPERM), _Op(_LD, 0)]
    if machine == "x86_64":
        program += [_Op(_JGE, 0x40000000, 0, 1), _Op(_RET, EPERM)]  # the x32 table
    return program


def instructions(machine: str, deny_metadata: bool, kept: frozenset[str] = frozenset()) -> list[_Op]:
    """The filter as a list of BPF instructions; ``kept`` names denied calls that it lets pass all the same."""
    column = 0 if machine == "x86_64" else 1
    names = {**DENIED, **(METADATA if deny_metadata else {})}
    calls = {numbers[column]: EPERM for name, numbers in names.items() if name not in kept}
    calls[_CLONE3] = ENOSYS  # its flags are behind a pointer; callers fall back to clone
    plain = sorted((number, action) for number, action in calls.items() if number is not None)
    program = _head(machine)
    deny, allow = _Op(_RET, EPERM), _Op(_RET, ALLOW)
    program += _special(_CLONE[column], [_argument(0), _Op(_JSET, _NAMESPACE_FLAGS, 0, 1), deny, allow])
    program += _special(
        _IOCTL[column], [_argument(1), _Op(_JEQ, _TIOCSTI, 1, 0), _Op(_JEQ, _TIOCLINUX, 0, 1), deny, allow]
    )
    # A datagram socket can be sent to any path, so only connected stream pairs are allowed.
    stream = [_argument(1), _Op(_AND, 0xF), _Op(_JEQ, 1, 1, 0), _Op(_JEQ, 5, 0, 1), allow, deny]
    program += _special(_SOCKETPAIR[column], [_argument(0), _Op(_JEQ, 1, 1, 0), deny, *stream])
    for numbers in SELF_ONLY.values():
        program += _special(numbers[column], [_argument(numbers[2]), _Op(_JEQ, 0, 1, 0), deny, allow])
    return program + _search(plain)


class Filter:
    """A filter made ready beforehand, so that a process only has to install it.

    Attributes:
        install: filters the calling process, and all it will start, from now on. Needs no_new_privs.
    """

    def __init__(self, ops: list[_Op]) -> None:
        self._filters = (_Filter * len(ops))(*[_Filter(op.code, op.yes, op.no, op.k) for op in ops])
        self._program = _Program(len(ops), self._filters)
        words = (ctypes.c_long(kernel.number("seccomp")), ctypes.c_uint(1), ctypes.c_uint(0))
        self.install = kernel.prepared("syscall", *words, ctypes.byref(self._program), what="seccomp")


def filter_all(deny_metadata: bool, kept: frozenset[str]) -> Filter:
    """The filter of this machine, less the calls in ``kept``."""
    if kernel.MACHINE not in _AUDIT_ARCH:
        raise OSError(38, f"no seccomp table for machine {kernel.MACHINE!r}")
    return Filter(instructions(kernel.MACHINE, deny_metadata, kept))


def filter_only(names: frozenset[str]) -> Filter:
    """A short filter that denies just these calls."""
    column = 0 if kernel.MACHINE == "x86_64" else 1
    return Filter(_head(kernel.MACHINE) + _search(sorted((DENIED[name][column] or 0, EPERM) for name in names)))
