"""What a guest process goes through from its fork to the first line of code nobody trusts.

Before it knows its job it does what is the same for every job; the rest when the job comes. Everything it needs is
bound to local names beforehand: a forked copy pays for every page it touches, and each look-up touches some.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from . import cells, driver
from .cgroup import Group
from .confine import LIMITS, Confinement
from .frames import parse_json

STARTED, NO_EXEC = b"\x01", b"\x02"  # the first byte of a run's report: its code was reached; it cannot be executed
INLINE = 8 << 10  # a longer job crosses in a file in memory
_HEAD = struct.Struct(f"=I{2 * len(LIMITS)}qI")
_FDS = {count: struct.Struct(f"={count}i") for count in (4, 5)}


def pack_job(number: int, limits: list[int], options: dict[str, Any] | None, code: bytes) -> bytes:
    """A job as a guest expects it.

    Args:
        number: which guest of the launcher it is for.
        limits: soft and hard limit of every kind in ``confine.LIMITS``.
        options: ``env``, ``argv`` and, for a session, ``host_calls``; None for Python code without special wishes.
        code: Python source, unless the options say otherwise.
    """
    words = json.dumps(options).encode() if options else b""
    return _HEAD.pack(number, *limits, len(words)) + words + code


def guest(jobs: int, work: str, group: Group | None, confinement: Confinement) -> Callable[[int], None]:
    """Make the function that turns a forked copy of the launcher into a guest.

    It takes the guest's number; a job that an earlier one never took is not for this one. With the job come descriptors
    for stdin, stdout, stderr and 3: a run's report, a session's socket.

    Args:
        jobs: descriptor that jobs come from.
        work: the working directory.
        group: control group to join.
        confinement: how to confine.
    """
    receive, space = socket.socket(fileno=jobs).recvmsg, socket.CMSG_SPACE(5 * 4)
    join = group.join if group else None
    setsid, chdir, write, leave, path = os.setsid, os.chdir, os.write, os._exit, sys.path
    apply, head, size, layouts, run = confinement.applier(), _HEAD.unpack_from, _HEAD.size, _FDS, driver.run

    def become(mine: int) -> None:
        if join:
            join()
        setsid()
        data, ancillary, _, _ = receive(INLINE, space)
        if not data:
            leave(0)  # nobody needs this one any more
        payload = ancillary[0][2]
        fds = layouts[len(payload) // 4].unpack(payload)
        if len(fds) == 5:
            with open(fds[4], "rb") as file:
                data = file.read()
        number, *limits, length = head(data)
        if number != mine:
            leave(125)
        chdir(work)
        apply(limits, fds)
        code = data[size + length :]
        if length:
            _with_options(parse_json(data[size : size + length]), code)
        path.insert(0, work)  # not earlier: nothing privileged may import what guests can write
        write(3, STARTED)
        run(code.decode("utf-8", "surrogatepass"), 3)

    return become


def _with_options(options: dict[str, Any], code: bytes) -> None:
    """What is not plain Python code; returns when it is, after all."""
    os.environ.update(options["env"])
    if "host_calls" in options:
        sys.path.insert(0, os.getcwd())
        cells.main(3, options["host_calls"])
    argv = options["argv"]
    if argv is None:
        return
    os.write(3, STARTED)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(3, NO_EXEC + f"{argv[0]}: {error.strerror}".encode())
        os._exit(126)
